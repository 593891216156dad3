"""Serve orders that wait for places to come back, where their session allows it: first come, first served.

Note [Who stands by]
An order for unnumbered places that finds none left waits with its means of payment: its reservation is `queued`, and
owns nothing. A transaction that gives places back holds the session's lock, and passes them on by arrival before it
commits (`serve`). An order that doesn't fit blocks all orders behind it that draw on the same levels, and no new
request gets past those that wait. So no place is free while an order that fits it stands by.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from base.rows import as_array, as_json, execute
from reservations import refusals, rules
from reservations.allocation.announcements import Announcements
from reservations.allocation.statements import Draws
from reservations.allocation.stock import Stock
from reservations.hold_request import AT_THE_DOOR, HoldRequest
from reservations.models import Reservation, Status
from sessions_app.models import Session, TicketType

TOGETHER = 500  # orders of one ticket type in one transaction; a sweep goes on
ENDED_TOGETHER = 200
WAITING_FOR = """
SELECT kind.id FROM sessions_app_tickettype AS kind WHERE session_id = ANY(%s::uuid[]) AND EXISTS (
    SELECT FROM reservations_reservation AS waiting WHERE waiting.ticket_type_id = kind.id AND waiting.status = 'queued'
)
"""
HEADS = """
SELECT head.id FROM unnest(%s::uuid[], %s::int[]) AS asked (kind, most) CROSS JOIN LATERAL (
    SELECT id FROM reservations_reservation WHERE ticket_type_id = asked.kind AND status = 'queued' ORDER BY arrival
    LIMIT asked.most
) AS head
"""
HOLD = """
UPDATE reservations_reservation AS row
SET status = 'held', lines = new.lines, total = new.total, payment = new.payment, held_at = %s, settled_at = %s,
    changed_at = %s,
    expires_at = new.expires_at
FROM jsonb_to_recordset(%s) AS new (id uuid, lines jsonb, total bigint, payment jsonb, expires_at timestamptz)
WHERE row.id = new.id
"""
# The first order of each type, where the type's own and its pools' places are enough for it and no order of another
# type comes before it.
NEXT = """
SELECT head.session_id, head.id, head.quantity, kind.starts_at <= clock_timestamp() OR kind.cancelled_at IS NOT NULL
    OR kind.sells_until <= clock_timestamp() AS is_over,
    kind.available >= head.quantity AND NOT EXISTS (
        SELECT FROM sessions_app_tickettype_pools AS drawn JOIN sessions_app_pool AS pool ON pool.id = drawn.pool_id
        WHERE drawn.tickettype_id = kind.id AND pool.available < head.quantity
    ) AND NOT EXISTS (
        SELECT FROM sessions_app_tickettype_pools AS drawn JOIN sessions_app_tickettype_pools AS theirs USING (pool_id)
        JOIN reservations_reservation AS earlier ON earlier.ticket_type_id = theirs.tickettype_id
        WHERE drawn.tickettype_id = kind.id AND earlier.status = 'queued' AND earlier.arrival < head.arrival
    ) AS fits
FROM (
    SELECT kind.id, kind.available, kind.sells_until, session.starts_at, session.cancelled_at
    FROM sessions_app_tickettype AS kind JOIN sessions_app_session AS session ON session.id = kind.session_id
    WHERE kind.capacity IS NOT NULL
) AS kind CROSS JOIN LATERAL (
    SELECT id, session_id, quantity, arrival FROM reservations_reservation
    WHERE ticket_type_id = kind.id AND status = 'queued' ORDER BY arrival LIMIT 1
) AS head
"""
LOOK_AFTER = f"SELECT DISTINCT session_id FROM ({NEXT}) AS next WHERE is_over OR fits"  # noqa: S608 our own constant

Hold = Callable[[Reservation, TicketType, dt.datetime], None]


def waited_for(sessions: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Return the ticket types of these sessions that have orders on standby."""
    return {kind for (kind,) in execute(WAITING_FOR, as_array(sessions))}


@dataclasses.dataclass(slots=True)
class Wanted:
    """The levels that orders on standby draw on; new requests take nothing from them."""

    draws: Draws
    levels: set[uuid.UUID] = dataclasses.field(default_factory=set)

    @classmethod
    def of(cls, kinds: Iterable[uuid.UUID], draws: Draws) -> Wanted:
        wanted = cls(draws)
        for kind in kinds:
            wanted.add(kind)
        return wanted

    def add(self, kind: uuid.UUID) -> None:
        self.levels |= self._levels_of(kind)

    def has(self, kind: uuid.UUID) -> bool:
        return not self.levels.isdisjoint(self._levels_of(kind))

    def _levels_of(self, kind: uuid.UUID) -> set[uuid.UUID]:
        return {kind, *self.draws.get(kind, ())}


def may_stand_by(request: HoldRequest, session: Session, kind: TicketType) -> bool:
    """Tell whether the order can stand by: it must carry its payment or cost nothing.

    So its buyer need not be asked again when places come back.
    """
    pays = request.payment is not None or kind.is_free
    return session.standby and request.is_order and pays and not request.names_terms


def _pays_at_door(order: Reservation) -> bool:
    return order.payment is not None and order.payment["method"] == AT_THE_DOOR


def serve(session: Session, stock: Stock, news: Announcements, hold: Hold) -> None:
    """Pass free places on to orders on standby; `hold` makes a hold of an order that gets its places.

    The session and the stock are locked.
    """
    kinds = [kind for kind in waited_for([session.pk]) if kind in stock.draws]
    if not kinds or session.is_closed_at(news.now):
        return
    most = [min(max(stock.left(stock.types[kind]), 0) + 1, TOGETHER) for kind in kinds]
    heads = [row for (row,) in execute(HEADS, as_array(kinds), most)]
    waiting = list(Reservation.objects.filter(pk__in=heads).order_by("arrival"))
    has = _places_of(session, {order.buyer for order in waiting}, news.now)
    blocked, served, refused = Wanted(stock.draws), list[Reservation](), list[Reservation]()
    too_late = list[Reservation]()  # to pay at the door
    for order in waiting:
        assert order.ticket_type_id is not None
        kind = stock.types[order.ticket_type_id]
        if blocked.has(kind.pk):
            continue
        if _is_over_the_limit(order, session, kind, has):
            refused.append(order)
            continue
        if _pays_at_door(order) and not kind.is_paid_at_door(session, now=news.now, asked_at=order.accepted_at):
            too_late.append(order)
            continue
        if kind.is_closed_at(news.now) or not stock.take(kind, order.quantity):
            blocked.add(kind.pk)
            continue
        order.session = session
        hold(order, kind, news.now)
        has[None, order.buyer] += order.quantity
        has[kind.pk, order.buyer] += order.quantity
        served.append(order)
    _write(served, stock, news)
    if refused:
        end(refused, session, news, reason=refusals.LimitReached.reason)
    if too_late:
        end(too_late, session, news, reason=refusals.PaymentNeeded.reason)
    if refused or too_late:
        serve(session, stock, news, hold)


def _places_of(
    session: Session, buyers: Collection[uuid.UUID], now: dt.datetime
) -> Counter[tuple[uuid.UUID | None, uuid.UUID]]:
    """Count what these buyers hold or bought, of the session (None) and of each ticket type without numbers."""
    owned = Reservation.objects.live(now).filter(session=session, buyer__in=buyers)
    has = Counter[tuple[uuid.UUID | None, uuid.UUID]]()
    for kind, buyer, seats, places in owned.values_list("ticket_type", "buyer", "seats", "quantity"):
        has[None, buyer] += places
        if kind and not seats:
            has[kind, buyer] += places
    return has


def _is_over_the_limit(
    order: Reservation,
    session: Session,
    kind: TicketType,
    has: Mapping[tuple[uuid.UUID | None, uuid.UUID], int],
) -> bool:
    passed = rules.limit_passed(
        order.quantity,
        has=has[None, order.buyer],
        most=session.max_per_buyer,
        has_of_kind=has[kind.pk, order.buyer],
        most_of_kind=kind.max_per_buyer,
    )
    return passed is not None


def limits_of(session: Session, kind: TicketType | None) -> dict[str, int | None]:
    """Return how many places of the session and of its ticket type a buyer may have."""
    return {"most": session.max_per_buyer, "most_of_type": kind.max_per_buyer if kind else None}


def _write(served: Sequence[Reservation], stock: Stock, news: Announcements) -> None:
    if not served:
        return
    columns = ("id", "lines", "total", "payment", "expires_at")
    rows = as_json([{name: getattr(order, name) for name in columns} for order in served])
    execute(HOLD, news.now, news.now, news.now, rows)
    for order in served:
        limits = limits_of(order.session, stock.of(order.ticket_type_id))
        news.reservation(order, "reservation.held", **limits)
        news.to_pay(order, reply_to="")


def end(
    orders: Sequence[Reservation],
    session: Session,
    news: Announcements,
    *,
    reason: str,
    status: Status = Status.REJECTED,
) -> None:
    """End the wait of these orders. Their session is locked."""
    if not orders:
        return
    changed = {"status": status, "reason": reason, "changed_at": news.now, "settled_at": news.now}
    Reservation.objects.filter(pk__in=[order.pk for order in orders]).update(**changed)
    for order in orders:
        order.session = session
        for name, value in changed.items():
            setattr(order, name, value)
        news.reservation(order, f"reservation.{status}")


def end_some(session: Session, news: Announcements) -> int:
    """End a chunk of the orders on standby whose sale is over; return how many. The session is locked."""
    waiting = Reservation.objects.filter(session=session, status=Status.QUEUED).order_by("arrival")
    if not session.is_closed_at(news.now):
        waiting = waiting.filter(ticket_type__sells_until__lte=news.now)
    over = list(waiting[:ENDED_TOGETHER])
    end(over, session, news, reason=refusals.SoldOut.reason)
    return len(over)


def sessions_to_look_after() -> list[uuid.UUID]:
    """Return the sessions where a sale is over with orders on standby, or where places are free for the next order."""
    return [session for (session,) in execute(LOOK_AFTER)]
