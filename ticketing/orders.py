"""Orders that carry their payment: once their places are held the money is taken, without anybody asking again.

Note [Who takes the payment of an order]
The settling writes the means with the hold, in its transaction, and rings the payment workers after it. Should nobody hear that, the
order is a hold with means and without an attempt: `sweep` finds it, in the relay and by beat. Two who find it are harmless: the
attempt is begun under the reservation's lock, and then the hold is none any more.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from reservations import replies
from reservations.claims import NoClaims
from reservations.models import FINAL, Reservation, Status
from reservations.queries import reservation_body
from ticketing import operations
from ticketing.models import Payment

AT_ONCE = 128  # orders that a process pays side by side; they wait for a gateway
SWEPT = 100  # of one sweep
LEFT_AFTER = dt.timedelta(seconds=3)  # longer than a doorbell takes to be heard

log = structlog.get_logger(__name__)


def pay(orders: Sequence[tuple[uuid.UUID, str]]) -> int:
    """Take what these held orders carry, each with whom to tell the outcome; how many were begun. Again is harmless."""
    waiters = dict(orders)
    begun = operations.start_orders(list(_waiting().filter(pk__in=waiters)))
    connection.close()  # back to the pool: those who pay need what there is of it
    work = functools.partial(_settle, waiters=waiters)
    list(_threads(os.getpid()).map(work, begun) if len(begun) > 1 else map(work, begun))
    return len(begun)


def sweep(*, limit: int = SWEPT) -> int:
    """Orders that nobody began to take the money for; how many were begun. See Note [Who takes the payment of an order]."""
    left = _waiting().filter(changed_at__lt=Now() - LEFT_AFTER, expires_at__gt=Now()).order_by("changed_at")
    found = list(left.values_list("pk", flat=True)[:limit])
    if not found:
        return 0
    log.warning("orders.swept", orders=len(found))
    return pay([(order, "") for order in found])


def _waiting() -> QuerySet[Reservation]:
    return Reservation.objects.filter(status=Status.HELD, payment__isnull=False)


@functools.cache
def _threads(_pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="orders")


def _settle(payment: Payment, *, waiters: dict[uuid.UUID, str]) -> None:
    """One that fails is left to the sweep of payments; the others go on."""
    try:
        operations.settle_payment(payment_id=payment.pk)
        _reply(payment.reservation_id, waiters[payment.reservation_id])
    except Exception:
        log.exception("payment.left_to_the_sweep", payment=str(payment.pk))
    finally:
        connection.close()  # back to the pool


def _reply(order: uuid.UUID, address: str) -> None:
    if not address:
        return
    reservation = Reservation.objects.select_related("session").get(pk=order)
    if reservation.status not in FINAL:
        return
    try:
        replies.send({address: [(order, reservation_body(reservation))]})
    except NoClaims as error:
        log.info("order.reply_lost", error=repr(error.__cause__))


def why_declined(order: uuid.UUID) -> str:
    """What the gateway said of the order's payment."""
    said = Payment.objects.filter(reservation=order).order_by("-id").values_list("reason", flat=True).first()
    return said or ""
