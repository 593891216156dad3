"""Pay for a hold, from the start of the payment to its outcome. API, the pages' forms and the counter all use this."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast
from uuid import UUID

from django.utils.translation import get_language

from reservations.hold_request import Means
from reservations.queueing import replies
from reservations.refusals import PaymentDeclined
from ticketing.bodies import PaymentOutcome, SaleBody
from ticketing.models import OPEN, Payment
from ticketing.payments import steps
from ticketing.payments.bells import ring_payment
from ticketing.payments.starting import start_payment


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Describe a payment that began. `sale` is the body of its sale; None while the payment is under way."""

    payment: Payment
    sale: SaleBody | None


def pay(
    *,
    reservation_id: UUID,
    buyer: UUID | None,
    means: Means,
    on_start: Callable[[Payment], object],
    wait: float = 0.0,
    at_the_counter: bool = False,
) -> Progress:
    """Start a payment, let a worker finish it, and wait up to `wait` seconds for that; at the counter, finish it here.

    `on_start` is called once the payment is stored. Raises: PaymentDeclined, and what `start_payment` raises.
    """
    asked = {**means.to_json(), "language": get_language() or "en"}
    payment = start_payment(reservation_id=reservation_id, buyer=buyer, at_the_counter=at_the_counter, **asked)
    on_start(payment)
    outcome = _finish_here(payment) if at_the_counter else _ring_and_wait(payment, wait=wait)
    return Progress(payment=payment, sale=_sale_in(outcome))


def _finish_here(payment: Payment) -> PaymentOutcome:
    steps.finish_payment(payment_id=payment.pk)
    return steps.payment_outcome(payment.pk)


def _ring_and_wait(payment: Payment, *, wait: float) -> PaymentOutcome | None:
    """Return the outcome, as far as it is known after `wait` seconds; None if it was not waited for."""
    if not wait:
        ring_payment(payment.pk)
        return None
    with replies.desk().expect(payment.pk, of="payments") as future:
        ring_payment(payment.pk, reply_to=replies.desk().address if future else "")
        outcome = replies.wait(future, seconds=wait) if future else None
    told = cast(PaymentOutcome | None, outcome)
    return told or steps.payment_outcome(payment.pk)  # the reply may have been lost on its way


def _sale_in(outcome: PaymentOutcome | None) -> SaleBody | None:
    """Return the body of the sale; None while the payment is under way. Raises: PaymentDeclined."""
    if outcome is None or (outcome["status"] in OPEN and not outcome["sale"]):
        return None
    if outcome["sale"] is None:
        raise PaymentDeclined(outcome["reason"])
    return outcome["sale"]
