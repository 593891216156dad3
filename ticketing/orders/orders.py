"""Orders that carry their payment: once their places are held the money is taken, without anybody asking again.

Note [Who takes the payment of an order]
Allocation writes the means with the hold, in its transaction, and rings the payment workers after it. Should nobody hear that, the
order is a hold with means and without an attempt: `sweep` finds it, in the relay and by beat. Two who find it are harmless: the
attempt is begun under the reservation's lock, and then the hold is none any more.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

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

SWEPT = 100  # of one sweep
LEFT_AFTER = dt.timedelta(seconds=3)  # longer than a doorbell takes to be heard

log = structlog.get_logger(__name__)


def pay(orders: Sequence[tuple[uuid.UUID, str]]) -> int:
    """Take what these held orders carry, each with whom to tell the outcome; how many were begun. Again is harmless."""
    waiters = dict(orders)
    begun = starting.start_orders(list(_waiting().filter(pk__in=waiters).order_by("changed_at", "arrival")))
    order_of = {payment.pk: payment.reservation_id for payment in begun}
    done = steps.finish_together(begun)
    _reply({order_of[payment]: waiters[order_of[payment]] for payment in done})
    left = [payment for payment in order_of if payment not in done]
    steps.finish_side_by_side(left, then=lambda payment: _reply({order_of[payment]: waiters[order_of[payment]]}))
    return len(begun)


def sweep(*, limit: int = SWEPT) -> int:
    """Orders that nobody began to take the money for; how many were begun. See Note [Who takes the payment of an order]."""
    left = _waiting().held(Now()).filter(changed_at__lt=Now() - LEFT_AFTER).order_by("changed_at")
    found = list(left.filter(session__payment_rate__isnull=True).values_list("pk", flat=True)[:limit])
    if found:
        log.warning("orders.swept", orders=len(found))
    found += _due()
    if not found:
        return 0
    return pay([(order, "") for order in found])


def _due() -> list[uuid.UUID]:
    """Of each session with a rate as many as may be begun now, first come first; nobody else is rung for those that were put off."""
    paced = Session.objects.filter(payment_rate__isnull=False).filter(Exists(_waiting().filter(session=OuterRef("pk"))))
    now, found = db_now(), list[uuid.UUID]()
    for session in paced:
        waiting = _waiting().held(Now()).filter(session=session).order_by("changed_at", "arrival")
        found += waiting.values_list("pk", flat=True)[: pace.due(session, now, "payment_rate")]
    return found


def _waiting() -> ReservationQuerySet:
    return Reservation.objects.filter(status=Status.HELD, payment__isnull=False)


def _reply(waiters: Mapping[uuid.UUID, str]) -> None:
    """Tell each who waits for its order, and has one that came to its end."""
    waited_for = [order for order, address in waiters.items() if address]
    if not waited_for:
        return
    told: dict[str, list[tuple[uuid.UUID, dict[str, Any]]]] = defaultdict(list)
    for reservation in Reservation.objects.select_related("session").filter(pk__in=waited_for, status__in=FINAL):
        told[waiters[reservation.pk]].append((reservation.pk, reservation_body(reservation)))
    try:
        replies.send(told)
    except NoClaims as error:
        log.info("order.reply_lost", error=repr(error.__cause__))


def why_declined(order: uuid.UUID) -> str:
    """What the gateway said of the order's payment."""
    said = Payment.objects.filter(reservation=order).order_by("-id").values_list("reason", flat=True).first()
    return said or ""
