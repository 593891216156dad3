"""Put places back on sale that were not paid at the door by the deadline of their ticket type.

Note [Collected or given back]
The gate that collects the money and this sweep both lock the sale, then the ticket. Under these locks the sweep judges
the amount due, and the deadline by the database's clock. If a ticket is paid at the same moment, the first of the two
decides, and the other finds its result.
"""

from __future__ import annotations

import datetime as dt
import threading

import structlog
from django.db import transaction
from django.db.models import F, Q
from prometheus_client import Counter

from base import causes
from base.clock import db_now
from sessions_app.models import Session, TicketType
from ticketing.models import Refund, Sale, Ticket, TicketStatus
from ticketing.payments import refunds
from ticketing.voiding import VoidReason

log = structlog.get_logger(__name__)
given_back = Counter(
    "frontrow_uncollected_places_total",
    "Places that went back on sale because they were not paid for at the door in time.",
)

AT_ONCE = 200  # sales per sweep
NOT_COLLECTED = VoidReason.NOT_COLLECTED.value  # the reason of these refunds

_sweeping = threading.Lock()


@causes.working_for(causes.job("give_uncollected_back"))
def give_uncollected_back(*, limit: int = AT_ONCE) -> int:
    """Free the places whose deadline has passed, sale by sale, and return of how many sales.

    It may stop at any moment: the next sweep reads from the tables what is left. It does nothing while this process
    still sweeps.
    """
    if not _sweeping.acquire(blocking=False):
        return 0
    try:
        return sum(_end(sale) for sale in _overdue(limit))
    finally:
        _sweeping.release()


def _overdue(limit: int) -> list[Sale]:
    """Return sales with overdue tickets.

    Skip past sessions: nothing of them is sold any more, so their tickets stay.
    """
    now = db_now()
    with_deadline = TicketType.objects.filter(
        collect_minutes__isnull=False, session__ends_at__gt=now, session__cancelled_at=None
    ).select_related("session")
    kinds = [kind for kind in with_deadline if _is_over(kind, kind.session, asked_at=None, now=now)]
    if not kinds:
        return []
    on_notice = [
        kind.pk for kind in kinds if not _is_over(kind, kind.session, asked_at=kind.session.moved_earlier_at, now=now)
    ]
    asked_since = Q(sale__reservation__accepted_at__gt=F("session__moved_earlier_at"))
    uncollected = Ticket.objects.filter(
        ~Q(ticket_type__in=on_notice) | asked_since,
        ticket_type__in=[kind.pk for kind in kinds],
        status=TicketStatus.VALID,
        due__gt=0,
    )
    return list(Sale.objects.filter(pk__in=uncollected.order_by().values("sale")).order_by("pk")[:limit])


def _end(sale: Sale) -> bool:
    refund = _give_back(sale)
    if refund is None:
        return False
    refunds.pay_back(refund_id=refund.pk)  # the amount is zero, so it asks no gateway
    places = refund.tickets.count()
    given_back.inc(places)
    log.info("places.not_collected", sale=str(sale.pk), places=places)
    return True


@transaction.atomic(durable=True)
def _give_back(found: Sale) -> Refund | None:
    """Free the overdue places of the sale under its locks. Return None if none are left."""
    locked, sale, tickets = refunds.lock_all_of(found)
    now = db_now()
    kinds = TicketType.objects.in_bulk({ticket.ticket_type_id for ticket in tickets})
    overdue = [
        ticket
        for ticket in tickets
        if ticket.status == TicketStatus.VALID
        and ticket.due
        and _is_over(kinds[ticket.ticket_type_id], locked.session, asked_at=locked.reservation.accepted_at, now=now)
    ]
    return refunds.promise(locked, sale, overdue, reason=NOT_COLLECTED) if overdue else None


def _is_over(kind: TicketType, session: Session, *, asked_at: dt.datetime | None, now: dt.datetime) -> bool:
    until = kind.collect_until(session, asked_at=asked_at)
    return until is not None and until <= now
