"""Measure buyers who pay all at once, until the last capture, with a gateway that answers at once or late."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from base.asking import Buyer
from base.ids import uuid7
from bench import truth
from bench.contest import Contest, Event
from bench.figures import Figure, Sample
from bench.processes import Process
from bench.stage import Load, Room, Stage, request
from bench.usual import raw_pay
from reservations.hold_request import HoldRequest
from reservations.operations import queued
from ticketing import identity

SALES = 4_000
CONNECTIONS = 100
SLOW_MS = 300
BATCH = 200


def held(room: Room) -> list[HoldRequest]:
    """Hold each seat, each for another buyer."""
    now = dt.datetime.now(dt.UTC)
    holds = [
        HoldRequest(id=uuid7(), session=room.id, buyer=uuid.uuid4(), arrival=index, accepted_at=now, seats=(label,))
        for index, label in enumerate(room.labels, 1)
    ]
    for start in range(0, len(holds), BATCH):
        queued.allocate(holds[start : start + BATCH])
    return holds


def paying_for(hold: HoldRequest) -> str:
    access = identity.issue_tokens(Buyer(id=hold.buyer, is_guest=True))["access"]
    body: dict[str, object] = {"payment": {"method": "fake", "token": "ok"}}
    return request(body, path=f"/api/v1/reservations/{hold.id}/pay", access=access)


def pay(stage: Stage, webs: list[Process], number: int) -> tuple[Load, dict[str, float], float]:
    """Return the answers, the processors' seconds, and the seconds by the database's clock."""
    room = stage.room(number)
    asks = [paying_for(hold) for hold in held(room)]
    with stage.meter.measure() as cpu:
        load = stage.run(asks, webs=webs, connections=CONNECTIONS)
        with psycopg.connect(stage.database, autocommit=True) as connection:
            stage.wait(lambda: captured(connection, room)[0] == number, seconds=truth.PATIENCE, what="every capture")
            _sales, seconds = captured(connection, room)
    cpu["generator"] = load.cpu["generator"]
    truth.only(stage, load, 202, who="paying buyers")
    truth.audit(stage)
    return load, cpu, seconds


def captured(connection: psycopg.Connection, room: Room) -> tuple[int, float]:
    """Return how many payments are captured, and the seconds from the first attempt's start to the last capture."""
    row = connection.execute(
        "SELECT count(*), coalesce(extract(epoch FROM max(payment.changed_at) - min(payment.started_at)), 0)::float"
        " FROM ticketing_payment AS payment JOIN reservations_reservation AS owner ON owner.id = payment.reservation_id"
        " WHERE owner.session_id = %s AND payment.status = 'captured'",
        [room.id],
    ).fetchone()
    assert row is not None
    return int(row[0]), float(row[1])


def with_gateway(name: str, milliseconds: int) -> Callable[[Stage], AbstractContextManager[Contest]]:
    @contextmanager
    def open_it(stage: Stage) -> Iterator[Contest]:
        webs = stage.web()
        stage.payments(SANDBOX_LATENCY_MS=str(milliseconds))
        stage.worker()  # the web processes wait for its heartbeat
        stage.ready(webs)
        pay(stage, webs, stage.sized(400))  # warm-up

        def ours() -> Sample:
            number = stage.sized(SALES)
            _load, cpu, seconds = pay(stage, webs, number)
            spent = sum(used for process, used in cpu.items() if process != "generator")
            return Sample(values={name: number / seconds, f"{name}_cpu": 1000 * spent / number}, cpu=cpu)

        def one_transaction() -> Sample:
            """Write every sale in its own transaction, one after the other, without gateway, queue or decisions."""
            room = stage.room(stage.sized(1_000))
            sales = [raw_pay.Sale(hold) for hold in held(room)]
            with psycopg.connect(stage.database) as connection, stage.meter.measure() as cpu:
                began, processor = time.perf_counter(), time.process_time()
                for sale in sales:
                    raw_pay.sell(connection, sale)
                seconds = time.perf_counter() - began
                driver = time.process_time() - processor
            cpu["psycopg"] = round(driver, 2)
            return Sample(values={name: len(sales) / seconds}, cpu=cpu)

        yield Contest(ours=ours, limit=one_transaction)

    return open_it


EVENTS = (
    Event(
        name="pay",
        figures=(Figure(name="pay", unit="sales/s"), Figure(name="pay_cpu", unit="ms of the processors a sale")),
        open=with_gateway("pay", 0),
    ),
    Event(
        name="pay_slow",
        figures=(
            Figure(name="pay_slow", unit="sales/s", at_least=200),
            Figure(name="pay_slow_cpu", unit="ms of the processors a sale"),
        ),
        open=with_gateway("pay_slow", SLOW_MS),
    ),
)
