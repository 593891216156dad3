"""Measure the worker: how fast it allocates, chooses the best seats, and frees expired ones."""

from __future__ import annotations

import datetime as dt
import random
import re
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg

from base.ids import uuid7
from bench import truth
from bench.at_the_door import SAME_SEED, warm
from bench.contest import Contest, Event
from bench.figures import Figure, Sample
from bench.stage import LOOK_AGAIN, Load, Room, Stage, asking_for, request
from bench.usual import raw_allocate
from bench.usual.raw_allocate import Chair
from bench.waiting import told_after
from reservations import tasks
from reservations.hold_request import HoldRequest
from reservations.operations import queued
from reservations.queueing.queues import RabbitQueue
from sessions_app.models import MAX_SEATS, Seat, TicketType

BATCH = 200  # holds per batch
PGBENCH_CLIENTS = 8
SCRIPT = Path(__file__).parent / "usual" / "hold.sql"

# --- allocate


@contextmanager
def allocate(stage: Stage) -> Iterator[Contest]:
    worker = stage.worker()
    queue = RabbitQueue()
    first = stage.room(2 * BATCH)
    queue.publish(holds(first, size=2))
    wait_until_allocated(stage, first, BATCH)  # the worker is up and has allocated once

    def ours() -> Sample:
        """Fill the queue while the worker sleeps, then measure how fast it allocates."""
        rooms = [stage.room(seats_of_a_room(stage)) for _room in range(1 if stage.quick else 2)]
        asked = [holds(room, size=2) for room in rooms]
        worker.pause()
        for requests in asked:
            for start in range(0, len(requests), BATCH):
                queue.publish(requests[start : start + BATCH])
        with stage.meter.measure() as cpu:
            worker.resume()
            for room, requests in zip(rooms, asked, strict=True):
                wait_until_allocated(stage, room, len(requests))
        for room, requests in zip(rooms, asked, strict=True):
            truth.check_all(stage, room, [str(request.id) for request in requests], held=len(room.labels))
        truth.audit(stage)
        return Sample(values={"allocate": allocated_a_second(stage, rooms)}, cpu=cpu)

    def raw() -> Sample:
        room = stage.room(seats_of_a_room(stage))
        stage.in_usual_database(room)
        chairs = [
            Chair(id=pk, label=label)
            for pk, label in Seat.objects.of(room.id).order_by("pk").values_list("pk", "label")
        ]
        batches = list(raw_allocate.batches(session=room.id, kind=kind_of(room), chairs=chairs, size=BATCH))
        with psycopg.connect(stage.usual_database, autocommit=True) as connection, stage.meter.measure() as cpu:
            began, processor = time.perf_counter(), time.process_time()
            for batch in batches:
                raw_allocate.allocate(connection, batch)
            seconds = time.perf_counter() - began
            driver = time.process_time() - processor
        cpu["psycopg"] = round(driver, 2)
        return Sample(values={"allocate": len(chairs) / 2 / seconds}, cpu=cpu)

    def one_by_one() -> Sample:
        room = stage.room(seats_of_a_room(stage))
        stage.in_usual_database(room)
        with stage.meter.measure() as cpu:
            rate = pgbench(stage, room)
        return Sample(values={"allocate": rate}, cpu=cpu)

    yield Contest(ours=ours, limit=raw, usual=one_by_one)


def seats_of_a_room(stage: Stage) -> int:
    return max(stage.sized(MAX_SEATS), 10 * BATCH)


def kind_of(room: Room) -> uuid.UUID:
    return TicketType.objects.get(session=room.session).pk


def holds(room: Room, *, size: int) -> list[HoldRequest]:
    """Return requests for all seats of a room, `size` seats each, as the front door hands them on."""
    now = dt.datetime.now(dt.UTC)
    seats = [tuple(room.labels[start : start + size]) for start in range(0, len(room.labels), size)]
    return [
        HoldRequest(id=uuid7(), session=room.id, buyer=uuid.uuid4(), arrival=index, accepted_at=now, seats=some)
        for index, some in enumerate(seats, 1)
    ]


def wait_until_allocated(stage: Stage, room: Room, number: int) -> None:
    with closing(truth.Ledger(stage, room.id)) as ledger:
        stage.wait(lambda: ledger.allocated() >= number, seconds=truth.PATIENCE, what="the queue being allocated")


def allocated_a_second(stage: Stage, rooms: Sequence[Room]) -> float:
    """Return the rate by the database's own clock, from the first batch's start to the last's, which does not count."""
    with psycopg.connect(stage.database) as connection:
        rows = connection.execute(
            "SELECT settled_at, count(*) FROM reservations_reservation WHERE session_id = ANY(%s)"
            " GROUP BY 1 ORDER BY 1",
            [[room.id for room in rooms]],
        ).fetchall()
    seconds = (rows[-1][0] - rows[0][0]).total_seconds()
    return float(sum(number for _at, number in rows[:-1]) / seconds)


def pgbench(stage: Stage, room: Room) -> float:
    """Return transactions per second of `usual/hold.sql`, until every seat of the room is held."""
    program = find_pgbench()
    each = len(room.labels) // 2 // PGBENCH_CLIENTS
    first = Seat.objects.of(room.id).order_by("pk").values_list("pk", flat=True)[0]
    variables = {"session": room.id, "kind": kind_of(room), "first": first, "each": each, "i": 0}
    done = subprocess.run(
        [
            program,
            *("--no-vacuum", "--protocol", "prepared", "--file", str(SCRIPT)),
            *("--client", str(PGBENCH_CLIENTS), "--jobs", "2", "--transactions", str(each)),
            *(f"--define={name}={value}" for name, value in variables.items()),
            stage.usual_database,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or found is None:
        raise PgbenchFailed(done.stderr[-2000:])
    return float(found[1])


def find_pgbench() -> str:
    """Find pgbench. Raises: PgbenchFailed if PostgreSQL's own programs are not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), reverse=True)
    program = shutil.which("pgbench") or next(map(str, debian), None)
    if program is None:
        raise PgbenchFailed("pgbench is not installed; it comes with PostgreSQL")
    return program


class PgbenchFailed(Exception):
    """Report that pgbench is missing or why it stopped."""


# --- best_available


@contextmanager
def best_available(stage: Stage) -> Iterator[Contest]:
    webs = stage.whole()
    warm(stage, webs)

    def pairs() -> Sample:
        room = stage.room(2_400, rows=60)
        taken = take_half(room)
        asks = [best_pair(room) for _pair in range(stage.sized(400))]
        load = stage.run(asks, webs=webs, connections=10)
        truth.only(stage, load, 201, who="best available")
        more = stage.run([best_pair(room) for _pair in range(650)], webs=webs, connections=10)
        truth.only(stage, more, 201, 409, who="best available, to the last")
        with closing(truth.Ledger(stage, room.id)) as ledger:
            stage.wait(
                lambda: ledger.allocated() >= taken + len(load.answers) + len(more.answers),
                seconds=60,
                what="all being allocated",
            )
            outcomes = ledger.outcomes()
        stage.expect(more.statuses[409] > 0, "the hall never sold out")
        for fault in truth.refused_in_vain(room.labels, outcomes):
            stage.expect(False, fault)
        truth.audit(stage)
        return load.sample(best_available=load.rate(201))

    yield Contest(ours=pairs)


def best_pair(room: Room) -> str:
    return request({"session": str(room.id), "best_available": {"quantity": 2}}, wait=10)


def take_half(room: Room) -> int:
    """Hold every other pair of seats in a fixed random order, and return how many reservations that took."""
    pairs = holds(room, size=2)
    random.Random(SAME_SEED).shuffle(pairs)
    early = sorted(pairs[: len(pairs) // 2], key=lambda request: request.arrival)
    queued.allocate(early)
    return len(early)


# --- expire

ARENAS = 5
EXPIRED_HOLDS = """
WITH lost AS (
    INSERT INTO reservations_reservation
        (id, session_id, buyer, status, arrival, seats, quantity, lines, total, held_at, expires_at, extensions, reason, conflicts,
         scope, key, fingerprint, accepted_at, settled_at, changed_at)
    SELECT gen_random_uuid(), session_id, gen_random_uuid(), 'held', position + 1, ARRAY[label], 1,
           jsonb_build_array(jsonb_build_object('seat', label, 'ticket_type', ticket_type_id, 'name', 'Standard',
                                                'price', jsonb_build_object('amount', 2500, 'currency', 'BRL'))),
           2500, now() - interval '31 seconds', now() - interval '1 second', 0, '', '[]', '', '', '',
           now() - interval '31 seconds', now() - interval '31 seconds', now()
    FROM sessions_app_seat WHERE session_id = %(session)s AND label = ANY(%(labels)s)
    RETURNING id, session_id, seats[1] AS label, expires_at
), taken AS (
    UPDATE sessions_app_seat AS seat SET status = 'h', reservation_id = lost.id, held_until = lost.expires_at
    FROM lost WHERE seat.session_id = lost.session_id AND seat.label = lost.label
), told AS (
    INSERT INTO realtime_event (id, name, session, map_version, facts, occurred_at)
    SELECT gen_random_uuid(), 'seat.held', %(session)s, 1, jsonb_build_object('changes', jsonb_object_agg(label, 'h')), now() FROM lost
)
UPDATE sessions_app_session SET map_version = 1, free_seats = free_seats - cardinality(%(labels)s) WHERE id = %(session)s
"""


@contextmanager
def expire(stage: Stage) -> Iterator[Contest]:
    """Measure one sweep of `worker --jobs` while buyers go on asking, half of them for seats with a fresh expiry."""
    webs = stage.web(processes=2)
    stage.worker()
    stage.jobs()
    stage.ready(webs)
    warm(stage, webs)

    def sweep() -> Sample:
        each = stage.sized(50_000) // ARENAS
        rooms = [stage.room(each * 51 // 50 // 10 * 10, rows=10) for _arena in range(ARENAS)]
        asks = [ask for room in rooms for ask in claims_on(room, each)]
        random.Random(SAME_SEED).shuffle(asks)
        with psycopg.connect(stage.database) as connection:
            for room in rooms:
                connection.execute(EXPIRED_HOLDS, {"session": room.id, "labels": room.labels[:each]})
        with Stopwatch(stage, rooms) as swept:
            tasks.expire_holds.apply_async(kwargs={"limit": 2 * ARENAS * each})
            load = stage.run(asks, webs=webs, connections=20, rate=40)
            stage.wait(lambda: swept.seconds, seconds=60, what="the sweep")
        truth.only(stage, load, 201, who="claims during the sweep")
        check_swept(stage, rooms, each, load)
        truth.audit(stage)
        return load.sample(expire=swept.seconds, expire_claim_wait=max(told_after(load)))

    yield Contest(ours=sweep)


def claims_on(room: Room, expired: int) -> list[str]:
    """Return sixteen requests for free seats and sixteen for seats whose hold expired."""
    free, over = room.labels[expired:], room.labels[:expired]
    return [asking_for(room, [seat], wait=10) for seat in [*free[:16], *over[:: max(1, expired // 16)][:16]]]


class Stopwatch:
    """Measure how long a hold of the rooms stays overdue. A thread looks twenty times a second."""

    def __init__(self, stage: Stage, rooms: Sequence[Room]) -> None:
        self.seconds = 0.0
        self._ids = [room.id for room in rooms]
        self._connection = psycopg.connect(stage.database, autocommit=True)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()
        self._connection.close()

    def _watch(self) -> None:
        query = (
            "SELECT FROM reservations_reservation WHERE session_id = ANY(%s) AND status = 'held'"
            " AND expires_at <= clock_timestamp() LIMIT 1"
        )
        while self._connection.execute(query, [self._ids]).fetchone() is not None:
            if self._over.wait(LOOK_AGAIN):
                return
        self.seconds = time.monotonic() - self._began


def check_swept(stage: Stage, rooms: Sequence[Room], each: int, load: Load) -> None:
    for room in rooms:
        with closing(truth.Ledger(stage, room.id)) as ledger:
            ended = sum(outcome.status == "expired" for outcome in ledger.outcomes())
            stage.expect(ended == each, f"{ended:,} of {each:,} holds expired")
    with psycopg.connect(stage.database) as connection:
        row: Any = connection.execute(
            "SELECT count(*) FROM sessions_app_seat WHERE session_id = ANY(%s) AND status = 'h'",
            [[room.id for room in rooms]],
        ).fetchone()
    stage.expect(row[0] == load.statuses[201], f"{row[0]:,} seats are held after the sweep, not {load.statuses[201]:,}")


EVENTS = (
    Event(
        name="allocate", figures=(Figure(name="allocate", unit="holds/s", of_limit=0.5, times_usual=10),), open=allocate
    ),
    Event(
        name="best_available",
        figures=(Figure(name="best_available", unit="pairs/s", at_least=400),),
        open=best_available,
    ),
    Event(
        name="expire",
        figures=(
            Figure(name="expire", unit="s", at_most=3),
            Figure(name="expire_claim_wait", unit="ms, the longest", at_most=100),
        ),
        open=expire,
    ),
)
