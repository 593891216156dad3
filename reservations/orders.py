"""Show reservations as orders, which may carry their payment, and wake the payment workers.

An order is the reservation's row, with the same id.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import structlog
from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from reservations import refusals
from reservations.bodies import OrderBody, OrderMessage, ReservationBody
from reservations.hold_request import HoldRequest
from reservations.models import Reservation, Status
from reservations.queueing.queues import courier, jobs_queue

TOGETHER = 100  # orders in a message: one payment worker takes them at once, and the next one gets its own

STANDINGS = {
    Status.QUEUED: "PENDING",
    Status.HELD: "PROCESSING",
    Status.PAYING: "PROCESSING",
    Status.CONFIRMED: "COMPLETED",
}
FAILED = "FAILED"
STATUS_NAMES = {
    "PENDING": _("In the queue"),
    "PROCESSING": _("Under way"),
    "COMPLETED": _("Complete"),
    "FAILED": _("Failed"),
}
MESSAGES = {
    Status.QUEUED: _("Your order is in the queue."),
    Status.HELD: _("Your places are held until they are paid for."),
    Status.PAYING: _("Your places are held, and your payment is under way."),
    Status.CONFIRMED: _("Your order is complete: the tickets are yours."),
}
STANDS_BY = _("You are on standby, number %(number)d.")
REASONS = tuple(refusals.ENDINGS)
FAILED_OTHERWISE = _("The order could not be fulfilled; nothing was charged.")

OrderBell = Callable[[Sequence[tuple[uuid.UUID, str]]], object]
pay_in_process: OrderBell | None = None  # set by the app that takes payments; for QUEUE=in_process, which has no worker

log = structlog.get_logger(__name__)


def standing(status: str) -> str:
    return STANDINGS.get(Status(status), FAILED)


def said_of(status: str, reason: str | None, *, standby: int | None = None) -> str:
    """Return a sentence for the buyer, in the current language; `standby` is the order's place on standby."""
    if standby is not None:
        return str(STANDS_BY) % {"number": standby}
    if standing(status) == FAILED:
        return str(refusals.ENDINGS[reason].ended if reason in refusals.ENDINGS else FAILED_OTHERWISE)
    return str(MESSAGES[Status(status)])


def body(reservation: ReservationBody) -> OrderBody:
    """Return a reservation's body in the shape of an order; `sale` is the sale's id here."""
    status, reason = reservation["status"], reservation["reason"]
    return {
        "id": reservation["id"],
        "status": standing(status),
        "message": said_of(status, reason, standby=reservation["standby"]),
        "reason": reason,
        "place_in_line": None,
        "session": reservation["session"],
        "ticket_type": reservation["ticket_type"],
        "seats": reservation["seats"],
        "quantity": reservation["quantity"],
        "arrival": reservation["arrival"],
        "lines": reservation["lines"],
        "total": reservation["total"],
        "voucher": reservation["voucher"],
        "lane": reservation["lane"],
        "standby": reservation["standby"],
        "expires_at": reservation["expires_at"],
        "conflicts": reservation["conflicts"],
        "sale": reservation["sale"],
    }


def message(reservation: Reservation) -> OrderMessage:
    """Return the message for the buyer's sockets. Its `session` is loaded."""
    language = (reservation.payment or reservation.receipt or {}).get("language") or settings.LANGUAGE_CODE
    told = _update(
        reservation.pk, reservation.status, reservation.reason, language, standby=reservation.place_on_standby
    )
    if reservation.total or standing(reservation.status) != FAILED:
        told["total"] = {"amount": reservation.total, "currency": reservation.currency}
    return told


def message_in_queue(request: HoldRequest) -> OrderMessage:
    return _update(request.id, Status.QUEUED, "", _language_of(request))


def message_of_the_lost(request: HoldRequest, reason: str) -> OrderMessage:
    return _update(request.id, Status.REJECTED, reason, _language_of(request))


def _language_of(request: HoldRequest) -> str:
    means = request.payment or request.receipt
    return means.language if means else settings.LANGUAGE_CODE


def _update(order: uuid.UUID, status: str, reason: str, language: str, *, standby: int | None = None) -> OrderMessage:
    with translation.override(language):
        said = said_of(status, reason, standby=standby)
    return {"type": "order:update", "id": str(order), "status": standing(status), "message": said}


def ring(orders: Sequence[tuple[uuid.UUID, str]]) -> None:
    """Tell the payment workers which orders are held, with the addresses that wait for their outcomes.

    Never raises: a sweep finds orders that no worker heard of.
    """
    for start in range(0, len(orders), TOGETHER):
        _ring(orders[start : start + TOGETHER])


def _ring(some: Sequence[tuple[uuid.UUID, str]]) -> None:
    if settings.QUEUE == "in_process":
        if pay_in_process is not None:
            pay_in_process(some)
        return
    try:
        courier().send("ticketing.tasks.pay_orders", jobs_queue("payments"), orders=some)
    except Exception as error:  # noqa: BLE001 whatever the error is, the orders are held
        log.warning("orders.left_to_the_sweep", orders=len(some), error=repr(error))
