"""Allocate a batch of holds by psycopg alone, with the worker's own statements, rows and transactions.

Nothing is decided and nothing encoded while the clock runs. Only PostgreSQL and the driver remain.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from base.ids import uuid7
from base.rows import as_array, as_json
from realtime import events
from reservations.allocation import announcements, past, statements


@dataclass(frozen=True, kw_only=True)
class Chair:
    id: int
    label: str


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Hold parameters as they are sent."""

    session: uuid.UUID
    ids: str
    buyers: str
    labels: list[str]
    reservations: str
    seats: str
    events: str
    counts: str


def allocate(connection: psycopg.Connection, batch: Batch) -> None:
    """Commit one batch. Fetch the answers, because a decision would need them."""
    with connection.transaction():
        for statement, parameters in reads(batch):
            connection.execute(statement.encode(), parameters).fetchall()
        for statement, parameters in writes(batch):
            connection.execute(statement.encode(), parameters)


def reads(batch: Batch) -> Iterator[tuple[str, Any]]:
    session = as_array([batch.session])
    yield statements.LOCK_SESSIONS, [session]
    asked = {"ids": batch.ids, "sessions": session, "buyers": batch.buyers, "keyed": "{}", "keys": []}
    yield past.READ, asked
    yield statements.LOCK_SEATS, [batch.session, batch.labels]
    yield statements.LOCK_TYPES, [session]


def writes(batch: Batch) -> Iterator[tuple[str, list[Any]]]:
    yield statements.WRITE, [batch.reservations, batch.ids, batch.seats]
    yield announcements.COUNT, [batch.counts]
    yield events.INSERT, [batch.events]


def batches(*, session: uuid.UUID, kind: uuid.UUID, chairs: Sequence[Chair], size: int) -> Iterator[Batch]:
    """Yield batches of `size` holds, each for two of the chairs."""
    pairs = [chairs[start : start + 2] for start in range(0, len(chairs), 2)]
    for version, start in enumerate(range(0, len(pairs), size), 1):
        yield _batch(session, kind, pairs[start : start + size], version)


def _batch(session: uuid.UUID, kind: uuid.UUID, pairs: Sequence[Sequence[Chair]], version: int) -> Batch:
    rows = [_reservation(session, kind, pair, arrival) for arrival, pair in enumerate(pairs, 1)]
    chairs = list(itertools.chain.from_iterable(pairs))
    held = {"event": "seat.held", "map_version": version, "facts": {"changes": {chair.label: "h" for chair in chairs}}}
    told = [*map(_event, rows), {"id": uuid7(), "session": session, "buyer": None, **held}]
    return Batch(
        session=session,
        ids=as_array(row["id"] for row in rows),
        buyers=as_array(row["buyer"] for row in rows),
        labels=[chair.label for chair in chairs],
        reservations=as_json(rows),
        seats=as_json(
            [
                {"id": chair.id, "reservation_id": row["id"], "held_until": row["expires_at"]}
                for row, pair in zip(rows, pairs, strict=True)
                for chair in pair
            ]
        ),
        events=as_json(told),
        counts=as_json([{"id": session, "map_version": version, "arrival_high": version, "free_seats": 0}]),
    )


def _reservation(session: uuid.UUID, kind: uuid.UUID, pair: Sequence[Chair], arrival: int) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    price = {"amount": 2500, "currency": "BRL"}
    row = dict.fromkeys(statements.COLUMNS) | {
        "id": uuid7(),
        "session_id": session,
        "buyer": uuid.uuid4(),
        "status": "held",
        "arrival": arrival,
        "seats": [chair.label for chair in pair],
        "quantity": len(pair),
        "lines": [{"seat": chair.label, "ticket_type": kind, "name": "Standard", "price": price} for chair in pair],
        "total": 2500 * len(pair),
        "expires_at": now + dt.timedelta(hours=1),
        "conflicts": [],
    }
    return row | dict.fromkeys(("reason", "scope", "key", "fingerprint"), "") | dict.fromkeys(TIMES, now)


TIMES = ("held_at", "accepted_at", "settled_at")


def _event(row: dict[str, Any]) -> dict[str, Any]:
    facts = {
        "reservation": row["id"],
        "seats": row["seats"],
        "quantity": row["quantity"],
        "ticket_type": None,
        "arrival": row["arrival"],
        "reason": None,
        "sale": None,
        "expires_at": row["expires_at"],
    }
    return {
        "id": uuid7(),
        "event": "reservation.held",
        "session": row["session_id"],
        "buyer": row["buyer"],
        "map_version": None,
        "facts": facts,
    }
