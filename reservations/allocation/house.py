"""Change stock and seats for the house: capacities, pools, seats off sale and on sale."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from reservations.allocation import endings, locks, standby
from reservations.allocation.announcements import Announcements
from sessions_app.models import Seat, SeatStatus, Session


def change_stock(
    session: Session,
    news: Announcements,
    *,
    kind: uuid.UUID,
    capacity: int,
    pools: Collection[uuid.UUID],
) -> None:
    """Give a ticket type this capacity and these pools. The session is locked. Raises: FewerThanTaken."""
    stock = locks.lock_stock([session.pk], all_pools=True)
    row = stock.types[kind]
    stock.resize(row, capacity)
    row.save(update_fields=["capacity", "available", "stock_version"])
    stock.redraw(row, pools)
    row.pools.set(stock.pools[pool] for pool in pools)
    standby.serve(session, stock, news, endings.hold_for)
    stock.write(news)


def change_pool(session: Session, news: Announcements, *, pool: uuid.UUID, capacity: int) -> None:
    """Give a pool this capacity. The session is locked. Raises: FewerThanTaken."""
    stock = locks.lock_stock([session.pk], all_pools=True)
    row = stock.pools[pool]
    stock.resize(row, capacity)
    row.save(update_fields=["capacity", "available", "version"])
    standby.serve(session, stock, news, endings.hold_for)
    stock.write(news)


def block(session: Session, labels: Collection[str], news: Announcements) -> list[str]:
    """Take free seats off sale; return the labels of those that were free."""
    free_now = [seat for seat in locks.lock_seats(session.pk, labels).values() if seat.status == SeatStatus.FREE]
    return _mark(session, free_now, SeatStatus.BLOCKED, "seat.blocked", news)


def unblock(session: Session, labels: Collection[str], news: Announcements) -> list[str]:
    blocked = [seat for seat in locks.lock_seats(session.pk, labels).values() if seat.status == SeatStatus.BLOCKED]
    return _mark(session, blocked, SeatStatus.FREE, "seat.unblocked", news)


def _mark(session: Session, seats: Sequence[Seat], status: SeatStatus, event: str, news: Announcements) -> list[str]:
    Seat.objects.filter(pk__in=[seat.pk for seat in seats]).update(status=status)
    news.seats(session, event, dict.fromkeys([seat.label for seat in seats], status))
    return [seat.label for seat in seats]
