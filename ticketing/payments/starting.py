"""Start to pay: the reservation is `paying` and its places are pinned.

See Note [The steps of a payment] in `steps.py`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Sequence

import structlog
from django.db import transaction

from base import causes
from base.causes import Cause
from reservations import metrics
from reservations.allocation import changes, locks
from reservations.allocation.decision import FREE
from reservations.claims import pace
from reservations.models import Reservation
from reservations.operations import holding, joining
from reservations.operations.queued import announce
from reservations.refusals import PaymentInProgress
from ticketing.models import Payment
from ticketing.payments import gateways, steps
from ticketing.payments.together import Together

log = structlog.get_logger(__name__)

PIN = dt.timedelta(minutes=10)  # how long a payment may keep seats beyond their hold; the sweep finishes it long before


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    reservation: uuid.UUID
    buyer: uuid.UUID | None
    method: str
    token: str
    email: str
    language: str
    may_wait: bool = False  # waits for the session's rate: an order, which no person pays by hand
    why: Cause = dataclasses.field(default_factory=causes.current)


class _NotDue(Exception):
    """Report that the session's rate allows no further payment of its orders now."""


class NotFree(Exception):
    """Refuse to start without a means of payment, because there is something to pay."""


def start_payment(
    *,
    reservation_id: uuid.UUID,
    buyer: uuid.UUID | None,
    method: str = FREE.method,
    token: str = "",
    email: str = "",
    language: str = "en",
    at_the_counter: bool = False,
) -> Payment:
    """Pin the hold and open an attempt; `finish_payment` must follow. A free reservation needs no method.

    Raises: NotFree, UnknownMethod, UnknownToken, LimitPassed, ReservationExpired, NotHeld, PaymentInProgress,
    AlreadyPaid, Reservation.DoesNotExist, NotYetKnown.
    """
    if method != FREE.method:
        (gateways.at_the_counter if at_the_counter else gateways.chosen)(method).check(token)
    ask = _Start(reservation=reservation_id, buyer=buyer, method=method, token=token, email=email, language=language)
    try:
        return _start(ask)
    except steps.NotFinished:
        raise holding.not_allocated(reservation_id, buyer=buyer) from None


def start_orders(orders: Sequence[Reservation]) -> list[Payment]:
    """Start payments of orders that have none, by the means they carry, as many as their sessions' rates allow."""
    asks = [
        _Start(reservation=order.pk, buyer=None, may_wait=True, why=order.why, **order.payment)
        for order in orders
        if order.payment
    ]
    made = _start.all(asks)
    for ask, outcome in zip(asks, made, strict=True):
        if isinstance(outcome, Exception):
            log.info("order.not_begun", order=str(ask.reservation), error=repr(outcome))
    return [outcome for outcome in made if isinstance(outcome, Payment)]


@transaction.atomic(durable=True)
def _start_all(asks: Sequence[_Start]) -> list[Payment | Exception]:
    """Start a batch of payments. See Note [Together]."""
    found = locks.lock_reservations([ask.reservation for ask in asks])
    were_guests = joining.were_guests({locked.reservation.buyer for locked in found.values()})
    pinned: dict[uuid.UUID, locks.Locked] = {}
    outcomes: list[Payment | Exception] = []
    for ask in asks:
        locked = found.get(ask.reservation)
        try:
            _require_payable(locked, ask, pinned)
            assert locked is not None
            if locked.reservation.buyer in were_guests:
                joining.require_room(locked.reservation, besides=[one.reservation for one in pinned.values()])
            _require_due(locked, ask)
        except Exception as error:  # noqa: BLE001 it is this one's outcome; the others are not to blame
            outcomes.append(error)
            continue
        pinned[ask.reservation] = locked
        outcomes.append(_attempt(locked.reservation, ask))
    Payment.objects.bulk_create([made for made in outcomes if isinstance(made, Payment)])
    for locked in list(pinned.values())[:1]:
        changes.pin(list(pinned.values()), until=locked.now + PIN)
        announce(locked.news)
    return outcomes


_start = Together(_start_all)


def _require_payable(locked: locks.Locked | None, ask: _Start, pinned: dict[uuid.UUID, locks.Locked]) -> None:
    if locked is None or (ask.buyer is not None and locked.reservation.buyer != ask.buyer):
        raise steps.NotFinished
    if ask.reservation in pinned:
        raise PaymentInProgress
    holding.require_held(locked)
    if ask.method == FREE.method and locked.reservation.total:
        raise NotFree


def _require_due(locked: locks.Locked, ask: _Start) -> None:
    """Take a turn of the session's rate, which this advances. Raises: _NotDue."""
    if ask.may_wait and pace.due(locked.session, locked.now, "payment_rate") == 0:
        metrics.put_off.labels("payment").inc()
        raise _NotDue
    pace.pass_on(locked.session, 1, locked.now, "payment_rate")


def _attempt(reservation: Reservation, ask: _Start) -> Payment:
    return Payment(
        reservation=reservation,
        method=ask.method,
        token=ask.token,
        amount=reservation.total,
        currency=reservation.currency,
        email=ask.email or (reservation.receipt or {}).get("email", ""),
        language=ask.language,
        cause=ask.why.id,
    )
