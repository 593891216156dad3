"""Take the money of orders that carry their payment, as soon as their places are held and without another request.

Note [Who takes the payment of an order]
Allocation writes the means of payment with the hold, in its transaction, and then sends a message to the payment
workers. If the message is lost, the order stays a hold with means and without an attempt. `sweep` finds it, in the
relay and by beat. If two processes find it, no harm is done: the attempt starts under the reservation's lock, and then
the order is no longer a hold.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence

import structlog
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from base.clock import db_now
from reservations.claims import pace
from reservations.claims.claims import NoClaims
from reservations.models import FINAL, Reservation, ReservationQuerySet, Status
from reservations.queries import reservation_body
from reservations.queueing import replies
from sessions_app.models import Session
from ticketing.models import Payment
from ticketing.payments import starting, steps

SWEPT = 100  # orders per sweep
LEFT_AFTER = dt.timedelta(seconds=3)  # longer than a message to the workers takes

log = structlog.get_logger(__name__)


def pay(orders: Sequence[tuple[uuid.UUID, str]]) -> int:
    """Start the payments of these held orders, each with its reply address. Return how many. Safe to repeat."""
    waiters = dict(orders)
    begun = starting.start_orders(list(_waiting().filter(pk__in=waiters).order_by("changed_at", "arrival")))
    order_of = {payment.pk: payment.reservation_id for payment in begun}
    done = steps.finish_together(begun)
    _reply({order_of[payment]: waiters[order_of[payment]] for payment in done})
    left = [payment for payment in order_of if payment not in done]
    steps.finish_side_by_side(left, then=lambda payment: _reply({order_of[payment]: waiters[order_of[payment]]}))
    return len(begun)


def sweep(*, limit: int = SWEPT) -> int:
    """Pay orders whose payment no worker started, and return how many. See Note [Who takes the payment of an order]."""
    left = _waiting().held(Now()).filter(changed_at__lt=Now() - LEFT_AFTER).order_by("changed_at")
    found = list(left.filter(session__payment_rate__isnull=True).values_list("pk", flat=True)[:limit])
    if found:
        log.warning("orders.swept", orders=len(found))
    found += _due()
    if not found:
        return 0
    return pay([(order, "") for order in found])


def _due() -> list[uuid.UUID]:
    """Return which orders of sessions with a rate may start now. Delayed orders get no other message."""
    paced = Session.objects.filter(payment_rate__isnull=False).filter(Exists(_waiting().filter(session=OuterRef("pk"))))
    now, found = db_now(), list[uuid.UUID]()
    for session in paced:
        waiting = _waiting().held(Now()).filter(session=session).order_by("changed_at", "arrival")
        found += waiting.values_list("pk", flat=True)[: pace.due(session, now, "payment_rate")]
    return found


def _waiting() -> ReservationQuerySet:
    return Reservation.objects.filter(status=Status.HELD, payment__isnull=False)


def _reply(waiters: Mapping[uuid.UUID, str]) -> None:
    """Reply to each request that waits for an order with a final state."""
    waited_for = [order for order, address in waiters.items() if address]
    if not waited_for:
        return
    told: dict[str, list[tuple[uuid.UUID, Mapping[str, object]]]] = defaultdict(list)
    for reservation in Reservation.objects.select_related("session").filter(pk__in=waited_for, status__in=FINAL):
        told[waiters[reservation.pk]].append((reservation.pk, reservation_body(reservation)))
    try:
        replies.send(told)
    except NoClaims as error:
        log.info("order.reply_lost", error=repr(error.__cause__))


def why_declined(order: uuid.UUID) -> str:
    """Return what the gateway said about the order's payment."""
    said = Payment.objects.filter(reservation=order).order_by("-id").values_list("reason", flat=True).first()
    return said or ""
