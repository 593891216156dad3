"""Repair orders that went wrong, for the box office. Each repair uses the same operation as a buyer's request.

Note [Placing an order again]
An order can be placed again only if nothing but the gateway failed and its money surely cannot come any more. So the
attempt must be closed, neither as declined (that was the buyer's bank) nor as silent. After silence, money may still
come and then buys the places; take the order up first, which asks the gateway. Also, the same places must cost the
same, by the means that the buyer gave for this order, within an hour. The new order's key is the old one's id, so a
repetition gives the same new order.
"""

from __future__ import annotations

import datetime as dt
import uuid

from base.clock import db_now
from reservations import orders, refusals
from reservations.admission import front_door
from reservations.allocation import pricing
from reservations.hold_request import ORDER_SCOPE, Ask, Means
from reservations.models import Reservation, Status
from reservations.operations import holding
from reservations.refusals import PaymentInProgress
from sessions_app.models import TicketType
from ticketing.models import UNFINISHED, Payment, PaymentStatus, Refund
from ticketing.payments import refunds
from ticketing.payments.bells import ring_payment, ring_refund
from ticketing.payments.steps import SILENT

PLACED_AGAIN_FOR = dt.timedelta(hours=1)  # much less than keys are kept


class NothingToTakeUp(Exception):
    """Report that nothing is left to do for this order."""


class CannotPlaceAgain(Exception):
    """Refuse to place an order again. See Note [Placing an order again]."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NothingToCancel(Exception):
    """Report that the order ended without its places."""


def last_payment(order: Reservation) -> Payment | None:
    return Payment.objects.filter(reservation=order).order_by("-id").first()


def is_left_open(order: Reservation, payment: Payment | None) -> bool:
    """Tell whether taking the order up may change something."""
    if order.waits_for_its_payment:
        return True
    return payment is not None and (payment.status in UNFINISHED or _is_silent(payment))


def take_up(*, order_id: uuid.UUID) -> None:
    """Do now what the sweeps would do later: start or finish its payment, or ask the gateway once more.

    It is safe to repeat. Raises: NothingToTakeUp, Reservation.DoesNotExist.
    """
    order = Reservation.objects.get(pk=order_id)
    payment = last_payment(order)
    if not is_left_open(order, payment):
        raise NothingToTakeUp
    if order.waits_for_its_payment:
        orders.ring([(order.pk, "")])
    elif payment is not None:
        ring_payment(payment.pk)


def obstacle_to_placing_again(order: Reservation, payment: Payment | None) -> str:
    """Return why the order cannot be placed again; empty if it can."""
    if order.status != Status.CANCELLED or payment is None or order.payment is None:
        return "not_failed"
    if payment.status != PaymentStatus.FAILED or _is_silent(payment):
        return "money"
    if db_now() - order.accepted_at > PLACED_AGAIN_FOR:
        return "too_old"
    return "" if _price_now(order) == order.total else "price"


def place_again(*, order_id: uuid.UUID) -> uuid.UUID:
    """Place the order again for the same buyer and means of payment, and return the id of the new one.

    Raises: CannotPlaceAgain, Reservation.DoesNotExist, and every refusal of the front door.
    """
    order = Reservation.objects.select_related("session").get(pk=order_id)
    if obstacle := obstacle_to_placing_again(order, last_payment(order)):
        raise CannotPlaceAgain(obstacle)
    assert order.payment is not None
    ask = Ask(
        session=order.session_id,
        seats=tuple(order.seats),
        ticket_type=None if order.seats else order.ticket_type_id,
        quantity=0 if order.seats else order.quantity,
        key=f"again {order.pk}",
        scope=ORDER_SCOPE,
        payment=Means(**order.payment),
    )
    return front_door.admit(ask, buyer=order.buyer).id


def _price_now(order: Reservation) -> int:
    """Return the present price of its places without concession or voucher."""
    kinds = TicketType.objects.in_bulk([uuid.UUID(line["ticket_type"]) for line in order.lines])
    bases = [kinds[uuid.UUID(line["ticket_type"])].price for line in order.lines]
    found = pricing.prices(bases, session=order.session, concessions=[None] * len(bases))
    return sum(price.amount for price in found)


def cancel(*, order_id: uuid.UUID, reason: str, by: uuid.UUID) -> Refund | None:
    """Cancel a held or waiting order. For a sale, refund all that is left, and return the refund.

    Raises: NothingToCancel, PaymentInProgress, AlreadyPaid (paid at this moment: repeat), NothingToRefund,
    Reservation.DoesNotExist.
    """
    order = Reservation.objects.get(pk=order_id)
    match order.status:
        case Status.QUEUED | Status.HELD:
            holding.release(reservation_id=order_id, buyer=None, reason=refusals.BoxOffice.reason)
        case Status.PAYING:
            raise PaymentInProgress
        case Status.CONFIRMED if order.sale_id:
            refund = refunds.ask_refund(sale_id=order.sale_id, buyer=None, reason=reason, asked_by=by)
            ring_refund(refund.pk)
            return refund
        case _:
            raise NothingToCancel
    return None


def _is_silent(payment: Payment) -> bool:
    return payment.status == PaymentStatus.FAILED and payment.reason == SILENT
