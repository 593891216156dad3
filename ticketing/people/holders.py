"""Tell all people with tickets of a session, buyers and receivers, and the buyers of orders on standby."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping

from realtime import events
from realtime.events import NewEvent
from reservations.models import Reservation, Status
from sessions_app.models import Session
from ticketing import sale_locks
from ticketing.models import Sale


def tell(session: Session, what: str, facts: Mapping[str, object] | None = None) -> int:
    """Record, in the transaction of the change, that each holder gets a letter, and return how many.

    It records one event per sale (`sale.<what>`), and one per receiver with all their tickets (`ticket.<what>`). So the
    relay publishes each event once, and each letter is sent once, whichever process dies on the way.
    """
    live = sale_locks.lock_live_tickets(session.pk)
    bought = Sale.objects.filter(pk__in={ticket.sale_id for ticket in live}).order_by("pk")
    told = [
        NewEvent(event=f"sale.{what}", session=session.pk, buyer=buyer, facts={**(facts or {}), "sale": str(sale)})
        for sale, buyer in bought.values_list("pk", "buyer")
    ]
    received: dict[uuid.UUID, list[str]] = defaultdict(list)
    for ticket in live:
        if ticket.holder is not None:
            received[ticket.holder].append(str(ticket.pk))
    told += [
        NewEvent(event=f"ticket.{what}", session=session.pk, buyer=holder, facts={**(facts or {}), "tickets": tickets})
        for holder, tickets in received.items()
    ]
    return len(events.record_many(told))


def tell_who_stands_by(session: Session, what: str, facts: Mapping[str, object]) -> int:
    """Record a letter for each waiting order of a locked session (`order.<what>`), and return how many."""
    waiting = Reservation.objects.filter(session=session, status=Status.QUEUED).order_by("pk")
    told = [
        NewEvent(event=f"order.{what}", session=session.pk, buyer=buyer, facts={**facts, "reservation": str(order)})
        for order, buyer in waiting.values_list("pk", "buyer")
    ]
    return len(events.record_many(told)) if told else 0
