"""Check that the outcomes are also right: no request lost, no seat sold twice, the first request has the seat."""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import psycopg

from bench.stage import Load, Room, Stage
from ticketing.upkeep.auditing import CHECKS

LIVE = ("held", "paying", "confirmed")
PATIENCE = 180.0  # seconds until requests that are still queued count as lost
NEEDS_RELAY = {"events_unpublished"}  # no relay publishes when only some of a site's processes run


@dataclass(frozen=True, slots=True)
class Outcome:
    id: str
    status: str
    reason: str
    arrival: int
    seats: list[str]


class Ledger:
    """Read what PostgreSQL knows of one session's requests."""

    def __init__(self, stage: Stage, session: uuid.UUID) -> None:
        self.session = session
        self._where = stage.database
        self._connection = psycopg.connect(stage.database, autocommit=True)
        self._seen = 0

    def close(self) -> None:
        self._connection.close()

    def allocated(self) -> int:
        """Return how many requests have their outcome."""
        query = "SELECT count(*) FROM reservations_reservation WHERE session_id = %s"
        return self._number(query)

    def finished(self) -> int:
        """Return how many were bought or are lost."""
        return self._number(
            "SELECT count(*) FROM reservations_reservation"
            " WHERE session_id = %s AND status IN ('confirmed', 'rejected', 'expired', 'cancelled')"
        )

    def ended_at(self, names: Collection[str]) -> dict[str, float]:
        """Return when each of these was bought, by the database's clock just before the commit (POSIX seconds)."""
        rows = self._connection.execute(
            "SELECT id::text, extract(epoch FROM changed_at)::float FROM reservations_reservation"
            " WHERE session_id = %s AND status = 'confirmed' AND id = ANY(%s::uuid[])",
            [self.session, list(names)],
        )
        return dict(rows.fetchall())

    def finished_as_last_seen(self) -> int:
        """Return how many are finished; while PostgreSQL is away, as many as before."""
        try:
            if self._connection.closed:
                self._connection = psycopg.connect(self._where, autocommit=True, connect_timeout=1)
            self._seen = self.finished()
        except psycopg.OperationalError:
            self._connection.close()
        return self._seen

    def open_payments(self) -> int:
        return self._number(
            "SELECT count(*) FROM ticketing_payment AS payment JOIN reservations_reservation AS owner"
            " ON owner.id = payment.reservation_id WHERE owner.session_id = %s"
            " AND payment.status IN ('started', 'authorised')"
        )

    def left(self) -> int:
        """Return how many unnumbered places are left."""
        return self._number("SELECT sum(available) FROM sessions_app_tickettype WHERE session_id = %s")

    def tickets(self) -> int:
        """Return how many valid tickets there are, each sold and paid for."""
        return self._number(
            "SELECT count(*) FROM ticketing_ticket AS ticket JOIN ticketing_sale AS sale ON sale.id = ticket.sale_id"
            " JOIN ticketing_payment AS payment ON payment.id = sale.payment_id JOIN reservations_reservation AS owner"
            " ON owner.id = payment.reservation_id"
            " WHERE owner.session_id = %s AND ticket.status = 'valid' AND payment.status = 'captured'"
        )

    def held(self) -> int:
        """Return how many seats are held."""
        return self._number("SELECT count(*) FROM sessions_app_seat WHERE session_id = %s AND status = 'h'")

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes by arrival."""
        rows = self._connection.execute(
            "SELECT id::text, status, reason, arrival, seats FROM reservations_reservation"
            " WHERE session_id = %s ORDER BY arrival",
            [self.session],
        )
        return [Outcome(*row) for row in rows]

    def _number(self, query: str) -> int:
        row = self._connection.execute(query.encode(), [self.session]).fetchone()
        assert row is not None
        return int(row[0])


def accepted(load: Load) -> list[str]:
    """Return the ids that were promised or given an outcome."""
    return [str(body["id"]) for body in load.bodies(201, 202)]


def allocate_all(stage: Stage, ledger: Ledger, promised: Collection[str]) -> None:
    """Wait until each accepted request has an outcome. Raises: NotInTimeError."""
    stage.wait(lambda: ledger.allocated() >= len(set(promised)), seconds=PATIENCE, what="every 202 being allocated")


def faults(outcomes: Collection[Outcome], promised: Collection[str]) -> Iterator[str]:
    """Yield in words what is wrong with the outcomes."""
    known = {outcome.id: outcome for outcome in outcomes}
    if len(set(promised)) != len(promised):
        yield f"{len(promised) - len(set(promised))} ids were given out twice"
    if lost := [name for name in promised if name not in known]:
        yield f"{len(lost)} accepted requests are lost"
    told = set(promised)
    if strangers := [outcome for outcome in outcomes if outcome.id not in told and outcome.status != "rejected"]:
        yield f"{len(strangers)} reservations were promised to nobody"
    if open_still := [outcome for outcome in outcomes if outcome.status == "queued"]:
        yield f"{len(open_still)} accepted requests have no outcome"
    yield from double(outcomes)
    yield from overtaken(outcomes)


def double(outcomes: Collection[Outcome]) -> Iterator[str]:
    holders: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        for seat in outcome.seats if outcome.status in LIVE else ():
            holders[seat] += 1
    if twice := [seat for seat, number in holders.items() if number > 1]:
        yield f"{len(twice)} seats are held twice"


def overtaken(outcomes: Collection[Outcome]) -> Iterator[str]:
    """Check each seat: the first request must have it. Requests for several seats must have none or all of them."""
    first: dict[str, Outcome] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.arrival):
        for seat in outcome.seats:
            first.setdefault(seat, outcome)
    late = [seat for seat, outcome in first.items() if len(outcome.seats) == 1 and outcome.status not in LIVE]
    if late:
        yield f"{len(late)} seats were not given to the first who asked"


def refused_in_vain(labels: Sequence[str], outcomes: Collection[Outcome]) -> Iterator[str]:
    """Yield wrong refusals of pairs.

    The check needs a run in which no seat was given back: then a pair that is free in the end, or was taken after a
    refusal, was free at that refusal.

    `labels` are all seats, row by row.
    """
    refused = [outcome.arrival for outcome in outcomes if outcome.status == "rejected"]
    if not refused:
        return
    pairs = [pair for pair in itertools.pairwise(labels) if row_of(pair[0]) == row_of(pair[1])]
    live = [outcome for outcome in outcomes if outcome.status in LIVE]
    taken = {seat for outcome in live for seat in outcome.seats}
    if left := [pair for pair in pairs if not taken.intersection(pair)]:
        yield f"{len(left)} pairs are free, and {len(refused)} buyers were refused"
    late = {tuple(outcome.seats) for outcome in live if outcome.arrival > min(refused)}
    if late := late.intersection(pairs):
        yield f"{len(late)} pairs were taken after somebody was refused"


def row_of(label: str) -> str:
    return label.rstrip("0123456789")


def check(stage: Stage, room: Room, load: Load, *, held: int | None = None) -> None:
    """Wait for the outcomes of a load, and note all that are wrong.

    `held` is the number of seats that must be held in the end.
    """
    check_all(stage, room, accepted(load), held=held)


def check_all(stage: Stage, room: Room, promised: Collection[str], *, held: int | None = None) -> None:
    ledger = Ledger(stage, room.id)
    try:
        allocate_all(stage, ledger, promised)
        for fault in faults(ledger.outcomes(), promised):
            stage.expect(False, fault)
        if held is not None:
            stage.expect(ledger.held() == held, f"{ledger.held():,} seats are held, not {held:,}")
    finally:
        ledger.close()


def audit(stage: Stage) -> None:
    """Run the checks of `manage.py audit`."""
    with psycopg.connect(stage.database) as connection:
        for one in CHECKS:
            if one.name in NEEDS_RELAY or one.look:
                continue
            found = connection.execute(one.sql.encode(), list(one.parameters) or None).fetchall()
            stage.expect(not found, f"audit: {one.name}, {len(found):,} times")


def only(stage: Stage, load: Load, *statuses: int, who: str) -> None:
    """Note answers with any other status."""
    others = {status: number for status, number in load.statuses.items() if status not in statuses}
    words = ", ".join(f"{number:,} of {status or 'no status'}" for status, number in others.items())
    example = next((answer.body[:200] for answer in load.answers if answer.status in others), "")
    stage.expect(not others, f"{who}: unexpected answers: {words}; one of them: {example}")
