"""Change seats and stock for the house; each operation is one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection

from django.db import transaction

from base.clock import db_now
from realtime import events
from reservations.allocation import house, locks
from reservations.allocation.announcements import Announcements
from reservations.operations import queued
from sessions_app.models import Pool, Session, TicketType


@transaction.atomic(durable=True)
def block_seats(*, session: uuid.UUID, labels: Collection[str]) -> list[str]:
    """Take free seats off sale; return the labels of those that were free. Raises: Session.DoesNotExist."""
    return _staff(session, labels, house.block)


@transaction.atomic(durable=True)
def unblock_seats(*, session: uuid.UUID, labels: Collection[str]) -> list[str]:
    """Put blocked seats back on sale; return the labels of those that were blocked. Raises: Session.DoesNotExist."""
    return _staff(session, labels, house.unblock)


@transaction.atomic
def change_stock(*, ticket_type: uuid.UUID, capacity: int, pools: Collection[uuid.UUID]) -> None:
    """Set how many unnumbered places a type has, never fewer than are taken, and which pools it draws on.

    Raises: stock.FewerThanTaken, TicketType.DoesNotExist.
    """
    owner = TicketType.objects.values_list("session_id", flat=True).get(pk=ticket_type, capacity__isnull=False)
    session = locks.lock_sessions([owner])[owner]
    news = Announcements(now=db_now())
    house.change_stock(session, news, kind=ticket_type, capacity=capacity, pools=pools)
    queued.announce(news)
    facts = {"ticket_type": str(ticket_type), "capacity": capacity, "pools": sorted(map(str, pools))}
    events.record(event="stock.changed", session=owner, facts=facts)


@transaction.atomic
def change_pool(*, pool: uuid.UUID, capacity: int) -> None:
    """Set how many places a pool has, never fewer than are taken. Raises: stock.FewerThanTaken, Pool.DoesNotExist."""
    owner = Pool.objects.values_list("session_id", flat=True).get(pk=pool)
    session = locks.lock_sessions([owner])[owner]
    news = Announcements(now=db_now())
    house.change_pool(session, news, pool=pool, capacity=capacity)
    queued.announce(news)
    events.record(event="stock.changed", session=owner, facts={"pool": str(pool), "capacity": capacity})


def _staff(
    session_id: uuid.UUID,
    labels: Collection[str],
    change: Callable[[Session, Collection[str], Announcements], list[str]],
) -> list[str]:
    session = locks.lock_sessions([session_id]).get(session_id)
    if session is None:
        raise Session.DoesNotExist
    news = Announcements(now=db_now())
    changed = change(session, labels, news)
    queued.announce(news)
    return changed
