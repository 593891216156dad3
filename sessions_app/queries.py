"""Read what is on sale, and how much of it is left.

A hold past its end counts as free at that instant, swept or not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

from django.db import connection
from django.db.models import (
    Count,
    DateTimeField,
    Exists,
    Func,
    IntegerField,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Least, Now

from realtime.models import Event
from sessions_app import rules
from sessions_app.bodies import CompactMap, SeatBody, SeatMap
from sessions_app.models import Hall, Lane, Pool, Seat, SeatStatus, Session, Show, TicketType, Venue

COUNT_NAMES = {
    SeatStatus.FREE.value: "free",
    SeatStatus.HELD.value: "held",
    SeatStatus.SOLD.value: "sold",
    SeatStatus.BLOCKED.value: "blocked",
}


def venues() -> QuerySet[Venue]:
    return Venue.objects.all()


def halls() -> QuerySet[Hall]:
    return Hall.objects.select_related("venue").annotate(seat_count=Count("seats"))


def shows() -> QuerySet[Show]:
    return Show.objects.all()


def number_of(rows: QuerySet[Any], total: Count | Sum | Min, *, of: str) -> Coalesce:
    """Return one number a row of the outer query: `total` over the `rows` whose `of` is its key, or 0."""
    one = rows.filter(**{of: OuterRef("pk")}).order_by().values(of).annotate(total=total).values("total")
    return Coalesce(Subquery(one), Value(0), output_field=IntegerField())


def with_places(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Annotate sessions with `available`, `capacity` and `from_price` (minor units, None where nothing is for sale)."""
    seated = Seat.objects.filter(ticket_type=OuterRef("pk"))
    sellable = TicketType.objects.filter(Q(capacity__isnull=False) | Exists(seated))
    cheapest = sellable.filter(session=OuterRef("pk")).order_by("price").values("price")[:1]
    return sessions.select_related("show", "hall__venue").annotate(
        available=number_of(Seat.objects.claimable(), Count("*"), of="session") + unnumbered("available"),
        capacity=number_of(Seat.objects.all(), Count("*"), of="session") + unnumbered("capacity"),
        from_price=Subquery(cheapest),
    )


def least(number: str) -> Least:
    """Return the least `number` (capacity, available) of a ticket type's stock and its pools.

    PostgreSQL leaves out NULL.
    """
    scarcest = Pool.objects.filter(ticket_types=OuterRef("pk")).order_by(number).values(number)[:1]
    return Least(number, Subquery(scarcest))


def unnumbered(number: str) -> CombinedExpression:
    """Return the number of a session's unnumbered places.

    Types that share pools have no more places together than the pools have.
    """
    draws = TicketType.pools.through.objects
    stock = TicketType.objects.filter(capacity__isnull=False).annotate(least=least(number))
    shares = Exists(draws.filter(tickettype=OuterRef("pk")))
    pools = Pool.objects.filter(Exists(draws.filter(pool=OuterRef("pk"))))
    shared = Least(
        number_of(stock.filter(shares), Sum("least"), of="session"), number_of(pools, Sum(number), of="session")
    )
    return number_of(stock.filter(~shares), Sum("least"), of="session") + shared


def on_sale() -> QuerySet[Session]:
    """Return the sessions that buyers can still visit, soonest first, with their places."""
    return with_places(Session.objects.upcoming()).order_by("starts_at", "id")


def matching(sessions: QuerySet[Session], text: str) -> QuerySet[Session]:
    """Return sessions where each word is part of the show's title, the venue, its city or the room."""
    for word in text.split():
        sessions = sessions.filter(
            Q(show__title__icontains=word)
            | Q(hall__venue__name__icontains=word)
            | Q(hall__venue__city__icontains=word)
            | Q(room__icontains=word)
        )
    return sessions


def find(session_id: UUID) -> Session:
    """Return one session with its places, also a past or cancelled one. Raises: Session.DoesNotExist."""
    return with_places(Session.objects.all()).get(pk=session_id)


def ticket_types() -> QuerySet[TicketType]:
    """Return ticket types with `places` and `places_left`: of their stock, or of the seats they price."""
    return (
        TicketType.objects.select_related("session")
        .annotate(
            seats_of_it=number_of(Seat.objects.all(), Count("*"), of="ticket_type"),
            seats_left=number_of(Seat.objects.claimable(), Count("*"), of="ticket_type"),
        )
        .annotate(places=Coalesce("capacity", "seats_of_it"), places_left=Coalesce(least("available"), "seats_left"))
        .order_by("session_id", "position", "id")
    )


def ticket_types_to_come() -> QuerySet[TicketType]:
    """Return the ticket types of sessions that are on sale or will be."""
    return ticket_types().filter(session__in=Session.objects.upcoming())


COUNTS = {
    "free": Count("pk", filter=Q(status=SeatStatus.FREE) | Q(status=SeatStatus.HELD, held_until__lte=Now())),
    "held": Count("pk", filter=Q(status=SeatStatus.HELD, held_until__gt=Now())),
    "sold": Count("pk", filter=Q(status=SeatStatus.SOLD)),
    "blocked": Count("pk", filter=Q(status=SeatStatus.BLOCKED)),
}


def counts(session_ids: Iterable[UUID]) -> dict[UUID, dict[str, int]]:
    """Count the seats by status, for each of the sessions."""
    sessions = list(session_ids)
    rows = Seat.objects.filter(session__in=sessions).order_by().values("session").annotate(**COUNTS)
    found = {session: dict.fromkeys(COUNTS, 0) for session in sessions}
    for session, *numbers in rows.values_list("session", *COUNTS):
        found[session] = dict(zip(COUNTS, numbers, strict=True))
    return found


def current_version(session_id: UUID) -> tuple[int, int] | None:
    """Return the map's version and its free seats at one instant; None: no such session."""
    free = number_of(Seat.objects.claimable(), Count("*"), of="session")
    return cast(
        tuple[int, int] | None,
        Session.objects.filter(pk=session_id).annotate(free=free).values_list("map_version", "free").first(),
    )


def version_now(session_id: UUID) -> tuple[int, dt.datetime]:
    """Return the map's version, and the database's clock. Raises: Session.DoesNotExist."""
    query = Session.objects.filter(pk=session_id).values_list("map_version", ClockTimestamp())
    if (found := query.first()) is None:
        raise Session.DoesNotExist
    return cast(tuple[int, dt.datetime], found)


class ClockTimestamp(Func):
    """The time of this instant, not of the transaction's beginning."""

    function = "CLOCK_TIMESTAMP"
    output_field = DateTimeField()


# One statement, so that version and seats are of the same instant.
SEAT_MAP = """
SELECT session.map_version, seat.label, seat.section, seat.row, seat.number, seat.x, seat.y, seat.kind,
       seat.ticket_type_id,
       CASE WHEN seat.status = 'h' AND seat.held_until <= statement_timestamp() THEN 'f' ELSE seat.status END,
       seat.held_until
FROM sessions_app_session session
LEFT JOIN sessions_app_seat seat ON seat.session_id = session.id
WHERE session.id = %s
ORDER BY seat.position
"""


def seat_map(session_id: UUID) -> SeatMap:
    """Return API.md's body of a session's seats, in plan order. Raises: Session.DoesNotExist."""
    with connection.cursor() as cursor:
        cursor.execute(SEAT_MAP, [session_id])
        rows = cursor.fetchall()
    if not rows:
        raise Session.DoesNotExist
    seats = [seat_body(row) for row in rows if row[1] is not None]
    return {"session": str(session_id), "version": rows[0][0], "counts": tally(seats), "seats": seats}


def seat_body(row: Sequence[Any]) -> SeatBody:
    _version, label, section, name, number, x, y, kind, ticket_type, status, held_until = row
    body: SeatBody = {
        "label": label,
        "section": section,
        "row": name,
        "number": number,
        "x": x,
        "y": y,
        "kind": kind,
        "ticket_type": str(ticket_type),
        "status": status,
    }
    if status == SeatStatus.HELD:
        body["held_until"] = held_until
    return body


def tally(seats: Iterable[SeatBody]) -> dict[str, int]:
    found = dict.fromkeys(COUNT_NAMES.values(), 0)
    for seat in seats:
        found[COUNT_NAMES[seat["status"]]] += 1
    return found


COMPACT_MAP = """
SELECT session.map_version, coalesce(string_agg(
    CASE WHEN seat.status = 'h' AND seat.held_until <= statement_timestamp() THEN 'f' ELSE seat.status END,
    '' ORDER BY seat.position), ''),
    min(seat.held_until) FILTER (WHERE seat.status = 'h' AND seat.held_until > statement_timestamp())
FROM sessions_app_session session
LEFT JOIN sessions_app_seat seat ON seat.session_id = session.id
WHERE session.id = %s
GROUP BY session.id
"""


def compact_map(session_id: UUID) -> CompactMap:
    """Return the version and one status letter a seat, in plan order. Raises: Session.DoesNotExist."""
    body, _until = compact_map_until(session_id)
    return body


def compact_map_until(session_id: UUID) -> tuple[CompactMap, dt.datetime | None]:
    """Return the compact map, and when the first of its holds runs out. Raises: Session.DoesNotExist."""
    with connection.cursor() as cursor:
        cursor.execute(COMPACT_MAP, [session_id])
        row = cursor.fetchone()
    if row is None:
        raise Session.DoesNotExist
    version, seats, until = row
    return {"version": version, "seats": seats}, until


def compacted(body: SeatMap) -> CompactMap:
    """Return the compact form of a seat map."""
    return {"version": body["version"], "seats": "".join(seat["status"] for seat in body["seats"])}


def spelled_out(body: SeatMap) -> SeatMap:
    """Return the form for programs: each seat's status is the word that its count has."""
    return {**body, "seats": [{**seat, "status": COUNT_NAMES[seat["status"]]} for seat in body["seats"]]}


def seat_map_at(session_id: UUID, at: dt.datetime) -> SeatMap:
    """Return the map at a past time: all seats free, then every change in the log until then.

    Raises: Session.DoesNotExist.
    """
    body = seat_map(session_id)
    version, changed = 0, dict[str, str]()
    history = Event.objects.filter(session=session_id, map_version__isnull=False, occurred_at__lte=at)
    for map_version, changes in history.order_by("map_version").values_list("map_version", "facts__changes"):
        version = cast(int, map_version)
        changed.update(changes or {})
    for seat in body["seats"]:
        seat["status"] = changed.get(seat["label"], SeatStatus.FREE.value)
        seat.pop("held_until", None)
    return {**body, "version": version, "counts": tally(body["seats"])}


def lane_of(session: Session, code: str) -> Lane | None:
    return rules.lane_by_code(code, [(lane.code, lane) for lane in session.lanes.all()] if code else [])
