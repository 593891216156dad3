"""The settling's statements: one a table, whatever the size of the batch. See `realtime.rows` for why not Django's models."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from realtime.rows import as_array, as_json, execute
from reservations.hold_request import HoldRequest
from reservations.models import Reservation, Status
from sessions_app.models import SeatStatus

INSERT = """
INSERT INTO reservations_reservation (
    id, session_id, buyer, status, arrival, seats, ticket_type_id, quantity, lines, total, held_at, expires_at, extensions,
    reason, conflicts, duplicate_of, scope, key, fingerprint, accepted_at, settled_at, changed_at
)
SELECT
    id, session_id, buyer, status, arrival, seats, ticket_type_id, quantity, lines, total, held_at, expires_at, 0,
    reason, conflicts, duplicate_of, scope, key, fingerprint, accepted_at, settled_at, settled_at
FROM jsonb_to_recordset(%s) AS new (
    id uuid, session_id uuid, buyer uuid, status text, arrival bigint, seats text[], ticket_type_id uuid, quantity int,
    lines jsonb, total bigint, held_at timestamptz, expires_at timestamptz, reason text, conflicts jsonb, duplicate_of uuid,
    scope text, key text, fingerprint text, accepted_at timestamptz, settled_at timestamptz
)
"""
COLUMNS = (
    "id", "session_id", "buyer", "status", "arrival", "seats", "ticket_type_id", "quantity", "lines", "total", "held_at",
    "expires_at", "reason", "conflicts", "duplicate_of", "scope", "key", "fingerprint", "accepted_at", "settled_at",
)  # fmt: skip

LOCK_SEATS = """
SELECT id, label, status, ticket_type_id, reservation_id, held_until FROM sessions_app_seat
WHERE session_id = %s AND label = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""
HOLD_SEATS = """
UPDATE sessions_app_seat AS seat SET status = 'h', reservation_id = new.reservation_id, held_until = new.held_until
FROM jsonb_to_recordset(%s) AS new (id bigint, reservation_id uuid, held_until timestamptz)
WHERE seat.id = new.id AND seat.status = 'f'
"""


RAN_OUT = """
SELECT session.id FROM unnest(%s::uuid[]) AS session (id) WHERE EXISTS (
    SELECT FROM reservations_reservation AS hold
    WHERE hold.session_id = session.id AND hold.status = 'held' AND hold.expires_at <= statement_timestamp()
)
"""
END = """
UPDATE reservations_reservation SET status = %s, reason = %s, changed_at = %s, pinned_until = NULL
WHERE id = ANY(%s::uuid[])
"""
FREE_SEATS = """
UPDATE sessions_app_seat SET status = 'f', reservation_id = NULL, held_until = NULL
WHERE session_id = %s AND label = ANY(%s) AND reservation_id = ANY(%s::uuid[]) RETURNING label
"""
KNOWN = "SELECT id FROM reservations_reservation WHERE id = ANY(%s::uuid[])"
HAS = """
SELECT session_id, buyer, sum(quantity) FROM reservations_reservation
WHERE session_id = ANY(%s::uuid[]) AND buyer = ANY(%s::uuid[]) AND status IN ('held', 'paying', 'confirmed')
GROUP BY session_id, buyer
"""
TAKE_MARKS = "DELETE FROM reservations_cancelmark WHERE id = ANY(%s::uuid[]) RETURNING id"
CLEAR_INBOX = "DELETE FROM reservations_inboxrequest WHERE id = ANY(%s::uuid[])"


@dataclasses.dataclass(slots=True)
class Place:
    """A locked seat, as much of it as deciding takes."""

    pk: int
    session_id: uuid.UUID
    label: str
    status: str
    ticket_type_id: uuid.UUID
    reservation_id: uuid.UUID | None = None
    held_until: dt.datetime | None = None

    def was_held_until(self, now: dt.datetime) -> bool:
        """Whether it is still marked for a hold that ran out."""
        return self.status == SeatStatus.HELD and self.held_until is not None and self.held_until <= now


class SeatTakenUnderLock(Exception):
    """Somebody wrote a seat without the session's lock."""


def lock_places(session: uuid.UUID, labels: Collection[str]) -> dict[str, Place]:
    rows = execute(LOCK_SEATS, session, list(labels)).fetchall()
    return {row[1]: Place(row[0], session, *row[1:]) for row in rows}


def some_ran_out(sessions: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """The sessions with holds that ran out and that no sweep has ended yet."""
    return {row[0] for row in execute(RAN_OUT, as_array(sessions))}


def insert(reservations: Sequence[Reservation]) -> None:
    if reservations:
        execute(INSERT, as_json([{name: getattr(row, name) for name in COLUMNS} for row in reservations]))


def hold(seats: Sequence[Any], ends: Sequence[Any]) -> None:
    """Free seats become their reservation's; one that isn't free any more would be a bug of the locks: it stops everything.

    Raises: SeatTakenUnderLock.
    """
    if not seats:
        return
    rows = [
        {"id": seat.pk, "reservation_id": seat.reservation_id, "held_until": end}
        for seat, end in zip(seats, ends, strict=True)
    ]
    done = execute(HOLD_SEATS, as_json(rows))
    if done.rowcount != len(seats):
        raise SeatTakenUnderLock(f"{done.rowcount} of {len(seats)} seats were free")


def known(requests: Sequence[HoldRequest]) -> set[uuid.UUID]:
    """Those that were settled before."""
    return {row[0] for row in execute(KNOWN, as_array(request.id for request in requests))}


def places_had(requests: Sequence[HoldRequest]) -> dict[tuple[uuid.UUID, uuid.UUID], int]:
    """What each buyer already holds or bought, by session and buyer."""
    sessions = {request.session for request in requests}
    had = execute(HAS, as_array(sessions), as_array({request.buyer for request in requests}))
    return {(session, buyer): int(places) for session, buyer, places in had}


def take_marks(requests: Sequence[HoldRequest]) -> set[uuid.UUID]:
    """Those that their buyers gave up while they stood in line; the marks are gone with this."""
    return {row[0] for row in execute(TAKE_MARKS, as_array(request.id for request in requests))}


def clear_inbox(requests: Sequence[HoldRequest]) -> None:
    execute(CLEAR_INBOX, as_array(request.id for request in requests))


def end(reservations: Sequence[Reservation], *, status: Status, reason: str, at: dt.datetime) -> None:
    execute(END, status.value, reason, at, as_array(row.pk for row in reservations))


def free(session: uuid.UUID, reservations: Sequence[Reservation]) -> list[str]:
    """The labels of the seats that were theirs, free now."""
    labels = [label for row in reservations for label in row.seats]
    if not labels:
        return []
    return [row[0] for row in execute(FREE_SEATS, session, labels, as_array(row.pk for row in reservations))]
