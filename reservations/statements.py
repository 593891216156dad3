"""The settling's statements: one a table, whatever the size of the batch. See `realtime.rows` for why not Django's models."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Sequence
from typing import Any

from realtime.rows import as_array, as_json, execute
from reservations.hold_request import HoldRequest
from reservations.models import Reservation

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
SELECT id, label, status, ticket_type_id FROM sessions_app_seat
WHERE session_id = %s AND label = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""
HOLD_SEATS = """
UPDATE sessions_app_seat AS seat SET status = 'h', reservation_id = new.reservation_id, held_until = new.held_until
FROM jsonb_to_recordset(%s) AS new (id bigint, reservation_id uuid, held_until timestamptz)
WHERE seat.id = new.id AND seat.status = 'f'
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


class SeatTakenUnderLock(Exception):
    """Somebody wrote a seat without the session's lock."""


def lock_places(session: uuid.UUID, labels: Collection[str]) -> dict[str, Place]:
    rows = execute(LOCK_SEATS, session, list(labels)).fetchall()
    return {label: Place(pk, session, label, status, kind) for pk, label, status, kind in rows}


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
