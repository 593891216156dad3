"""Run the statements of allocation: one for each table, whatever the size of the batch.

Only this package uses those that lock. `base.rows` says why they don't go through Django's models.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from base.rows import as_array, as_json, columns, execute, rows_of, some_columns
from reservations.hold_request import HoldRequest
from reservations.models import LIVE, InboxRequest, Reservation, Status
from reservations.people import lock_numbers
from sessions_app.models import Pool, SeatStatus, Session, TicketType

INSERT = """
INSERT INTO reservations_reservation (
    id, session_id, buyer, status, arrival, seats, ticket_type_id, quantity, best_available, lines, total, held_at,
    expires_at, extensions,
    reason, conflicts, duplicate_of, payment, receipt, voucher_id, scope, key, fingerprint, lane, origin, cause,
    accepted_at, settled_at, changed_at
)
SELECT
    id, session_id, buyer, status, arrival, seats, ticket_type_id, quantity, best_available, lines, total, held_at,
    expires_at, 0,
    reason, conflicts, duplicate_of, payment, receipt, voucher_id, scope, key, fingerprint, lane,
    CASE WHEN status IN ('held', 'queued') THEN origin ELSE '' END, cause, accepted_at, settled_at, settled_at
FROM jsonb_to_recordset(%s) AS new (
    id uuid, session_id uuid, buyer uuid, status text, arrival bigint, seats text[], ticket_type_id uuid, quantity int,
    best_available boolean,
    lines jsonb, total bigint, held_at timestamptz, expires_at timestamptz, reason text, conflicts jsonb,
    duplicate_of uuid,
    payment jsonb, receipt jsonb, voucher_id uuid, scope text, key text, fingerprint text, lane text, origin text,
    cause text,
    accepted_at timestamptz, settled_at timestamptz
)
"""
COLUMNS = (
    "id", "session_id", "buyer", "status", "arrival", "seats", "ticket_type_id", "quantity", "best_available",
    "lines", "total", "held_at", "expires_at", "reason", "conflicts", "duplicate_of", "payment", "receipt",
    "voucher_id", "scope", "key", "fingerprint", "lane", "origin", "cause", "accepted_at", "settled_at",
)  # fmt: skip

LOCK_SEATS = """
SELECT id, label, status, ticket_type_id, reservation_id, held_until FROM sessions_app_seat
WHERE session_id = %s AND label = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""
FREE_LABELS = "SELECT ARRAY(SELECT label FROM sessions_app_seat WHERE session_id = %s AND status = 'f')"
HOLD_SEATS = """
UPDATE sessions_app_seat AS seat SET status = 'h', reservation_id = new.reservation_id, held_until = new.held_until
FROM jsonb_to_recordset(%s) AS new (id bigint, reservation_id uuid, held_until timestamptz)
WHERE seat.id = new.id AND seat.status = 'f'
"""


# The labels are parameters, though the first half knows them: if it joined the first half, PostgreSQL would read all
# seats of the session.
END = """
WITH ended AS (
    UPDATE reservations_reservation SET status = %(status)s, reason = %(reason)s, changed_at = %(at)s,
        pinned_until = NULL
    WHERE id = ANY(%(ids)s::uuid[])
    RETURNING id, session_id, buyer, status, arrival, seats, ticket_type_id, quantity, total, expires_at, reason,
        conflicts,
        sale_id, payment, scope, lane, cause, accepted_at, changed_at, pinned_until, origin, due, held_at
), freed AS (
    UPDATE sessions_app_seat SET status = 'f', reservation_id = NULL, held_until = NULL
    WHERE session_id = %(session)s AND label = ANY(%(labels)s) AND reservation_id = ANY(%(ids)s::uuid[])
    RETURNING label
)
SELECT (SELECT coalesce(json_agg(ended), '[]')::text FROM ended), ARRAY(SELECT label FROM freed)
"""
PIN = """
UPDATE reservations_reservation SET status = 'paying', pinned_until = %s, changed_at = %s WHERE id = ANY(%s::uuid[])
"""
SELL = """
UPDATE reservations_reservation AS row
SET status = 'confirmed', sale_id = new.sale_id, pinned_until = NULL, changed_at = %s, due = new.due,
    origin = CASE WHEN new.due OR row.total = 0 THEN row.origin ELSE '' END
FROM jsonb_to_recordset(%s) AS new (id uuid, sale_id uuid, due boolean) WHERE row.id = new.id
"""
OWN_SEATS = """
FROM jsonb_to_recordset(%s) AS own (session_id uuid, label text, reservation_id uuid)
WHERE seat.session_id = own.session_id AND seat.label = own.label AND seat.reservation_id = own.reservation_id
"""
PIN_SEATS = f"UPDATE sessions_app_seat AS seat SET held_until = %s {OWN_SEATS}"  # noqa: S608 our own constant
SOLD = ("id", "sale_id", "due")
SELL_SEATS = f"""
UPDATE sessions_app_seat AS seat SET status = 's', held_until = NULL {OWN_SEATS}
RETURNING seat.reservation_id, seat.label, seat.id
"""  # noqa: S608 our own constant
# The people's locks come first: PostgreSQL locks no row before all conditions hold, and evaluates this one once, before
# any row.
LOCK_SESSIONS = f"""
SELECT {columns(Session)} FROM sessions_app_session WHERE id = ANY(%s::uuid[])
AND (SELECT count(pg_advisory_xact_lock_shared(person)) FROM unnest(%s::bigint[]) AS person) >= 0
ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608 our own columns
DRAWS_ON = "ARRAY(SELECT pool_id FROM sessions_app_tickettype_pools WHERE tickettype_id = kind.id ORDER BY pool_id)"
LOCK_TYPES = f"""
SELECT {DRAWS_ON}, {columns(TicketType)} FROM sessions_app_tickettype AS kind
WHERE session_id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608 our own columns
LOCK_POOLS = f"""
SELECT {columns(Pool)} FROM sessions_app_pool WHERE session_id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608 our own columns
DRAWS = f"""
SELECT id, {DRAWS_ON} FROM sessions_app_tickettype AS kind
WHERE capacity IS NOT NULL AND (session_id = %s OR id = ANY(%s::uuid[]))
"""  # noqa: S608 our own constant
# A key that the account used itself stays the account's.
CHANGE_BUYER = """
UPDATE reservations_reservation AS row SET buyer = %(to)s, key = CASE WHEN row.key <> '' AND EXISTS (
    SELECT FROM reservations_reservation AS own
    WHERE own.buyer = %(to)s AND own.scope = row.scope AND own.key = row.key AND own.status <> 'rejected'
) THEN '' ELSE row.key END
WHERE row.buyer = %(of)s RETURNING row.session_id, row.ticket_type_id, row.seats, row.status
"""
WRITE = f"""
WITH decided AS ({INSERT}), taken_out AS (DELETE FROM reservations_inboxrequest WHERE id = ANY(%s::uuid[]))
{HOLD_SEATS}
"""  # noqa: S608 our own constants


Draws = dict[uuid.UUID, tuple[uuid.UUID, ...]]  # ticket type with a stock → the pools that each of its places draws on


@dataclasses.dataclass(slots=True)
class Place:
    """The columns of a locked seat that deciding needs."""

    pk: int
    session_id: uuid.UUID
    label: str
    status: str
    ticket_type_id: uuid.UUID
    reservation_id: uuid.UUID | None = None
    held_until: dt.datetime | None = None

    def was_held_until(self, now: dt.datetime) -> bool:
        """Tell whether the seat is still marked for a hold that ran out."""
        return self.status == SeatStatus.HELD and self.held_until is not None and self.held_until <= now


class SeatTakenUnderLock(Exception):
    """A transaction wrote a seat without the session's lock."""


def lock_places(session: uuid.UUID, labels: Collection[str]) -> dict[str, Place]:
    rows = execute(LOCK_SEATS, session, list(labels)).fetchall()
    return {row[1]: Place(row[0], session, *row[1:]) for row in rows}


def lock_sessions(sessions: Iterable[uuid.UUID], *, people: Iterable[uuid.UUID] = ()) -> list[Session]:
    """Lock the sessions' rows. `people` are buyers for whom reservations will be written.

    See Note [The lock of a person] in people.py.
    """
    return rows_of(Session, execute(LOCK_SESSIONS, as_array(sessions), lock_numbers(people)))


def lock_types(sessions: Iterable[uuid.UUID]) -> tuple[list[TicketType], Draws]:
    """Lock all types of the sessions; return them, and the pools that each type with a stock draws on."""
    rows = execute(LOCK_TYPES, as_array(sessions)).fetchall()
    types = rows_of(TicketType, [row[1:] for row in rows])
    return types, {kind.pk: tuple(row[0]) for kind, row in zip(types, rows, strict=True) if kind.capacity is not None}


def lock_pools(sessions: Iterable[uuid.UUID]) -> list[Pool]:
    return rows_of(Pool, execute(LOCK_POOLS, as_array(sessions)))


def draws(*, session: uuid.UUID | None = None, types: Iterable[uuid.UUID] = ()) -> Draws:
    """Return what each stock of the session, or each of these types, draws on."""
    return {kind: tuple(pools) for kind, pools in execute(DRAWS, session, as_array(types))}


def _own_seats(reservations: Iterable[Reservation]) -> str:
    return as_json(
        [
            {"session_id": row.session_id, "label": label, "reservation_id": row.pk}
            for row in reservations
            for label in row.seats
        ]
    )


def pin(reservations: Sequence[Reservation], *, until: dt.datetime, at: dt.datetime) -> None:
    execute(PIN, until, at, as_array(row.pk for row in reservations))
    execute(PIN_SEATS, until, _own_seats(reservations))


def sell(reservations: Sequence[Reservation], *, at: dt.datetime) -> dict[uuid.UUID, dict[str, int]]:
    """Confirm the reservations with their `sale_id` and `due`; return the sold seats' keys by reservation and label."""
    execute(SELL, at, as_json([{name: getattr(row, name) for name in SOLD} for row in reservations]))
    sold: dict[uuid.UUID, dict[str, int]] = {row.pk: {} for row in reservations}
    for reservation, label, seat in execute(SELL_SEATS, _own_seats(reservations)):
        sold[reservation][label] = seat
    return sold


def free_labels(session: uuid.UUID) -> list[str]:
    (labels,) = execute(FREE_LABELS, session).fetchall()
    return list(labels[0])


Overdue = tuple[uuid.UUID, uuid.UUID]
Had = tuple[uuid.UUID, uuid.UUID, uuid.UUID | None, int]
Held = tuple[uuid.UUID, int]
HeldFrom = tuple[uuid.UUID, str, int]
Used = tuple[uuid.UUID, str, str, uuid.UUID]
Weighs = tuple[uuid.UUID, str, int]


def change_buyer(*, of: uuid.UUID, to: uuid.UUID) -> list[tuple[uuid.UUID, uuid.UUID | None]]:
    """Give the reservations of one buyer to another, those in the inbox too.

    Return the session of each live one, with the ticket type of its unnumbered places.
    """
    InboxRequest.objects.filter(buyer=of).update(buyer=to)
    moved = execute(CHANGE_BUYER, of=of, to=to)
    return [(session, None if seats else kind) for session, kind, seats, status in moved if status in LIVE]


def write(
    decided: Sequence[Reservation],
    taken: Sequence[Place],
    ends: Sequence[dt.datetime],
    requests: Sequence[HoldRequest],
) -> None:
    """Write the decided reservations, hold their seats until those ends, and delete the requests from the inbox.

    A seat that isn't free any more would be a bug of the locks: it stops everything. Raises: SeatTakenUnderLock.
    """
    held = [
        {"id": seat.pk, "reservation_id": seat.reservation_id, "held_until": end}
        for seat, end in zip(taken, ends, strict=True)
    ]
    rows = [{name: getattr(row, name) for name in COLUMNS} for row in decided]
    done = execute(WRITE, as_json(rows), as_array(request.id for request in requests), as_json(held))
    if done.rowcount != len(taken):
        raise SeatTakenUnderLock(f"{done.rowcount} of {len(taken)} seats were free")


class Ended(msgspec.Struct, frozen=True):
    """The facts of an ended reservation that are announced."""

    id: uuid.UUID
    session_id: uuid.UUID
    buyer: uuid.UUID
    status: str
    arrival: int
    seats: list[str]
    ticket_type_id: uuid.UUID | None
    quantity: int
    total: int
    expires_at: dt.datetime | None
    reason: str
    conflicts: list[dict[str, str]]
    sale_id: uuid.UUID | None
    payment: dict[str, str] | None
    scope: str
    lane: str
    accepted_at: dt.datetime
    changed_at: dt.datetime
    pinned_until: None
    origin: str
    due: bool
    held_at: dt.datetime | None


def end(
    session: uuid.UUID, over: Mapping[uuid.UUID, Sequence[str]], *, status: Status, reason: str, at: dt.datetime
) -> tuple[list[Reservation], list[str]]:
    """End reservations of the session; `over` has their seats.

    Return the ended reservations, and the labels of the seats that are free now.
    """
    labels = [label for seats in over.values() for label in seats]
    said = {"status": status.value, "reason": reason, "at": at, "session": session, "labels": labels}
    found = execute(END, **said, ids=as_array(over)).fetchone()
    assert found is not None
    ended = msgspec.json.decode(found[0], type=list[Ended])
    return [some_columns(Reservation, msgspec.structs.asdict(row)) for row in ended], found[1]
