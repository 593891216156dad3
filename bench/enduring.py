"""Measure orders under faults and at size: a worker is killed, PostgreSQL crashes, ten times as many come.

All outcomes must be right.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import memory
from bench.contest import Contest, Event
from bench.figures import Figure, Sample, percentile
from bench.ordering import Rush, rush
from bench.private import PrivatePostgres
from bench.processes import Process
from bench.stage import Crew, Stage, stage_on


def with_a_worker_killed(stage: Stage, crew: Crew, *, requests: int, places: int) -> Rush:
    """Kill the worker that allocates, half-way, and start another at once."""
    killed_at: list[int] = []

    def kill_half_way(finished: int) -> None:
        if killed_at or finished < places // 2:
            return
        busiest = max(crew.workers, key=stage.meter.spent_by)  # the other one waits: a queue has one consumer
        stage.kill(busiest)
        killed_at.append(finished)
        crew.workers[crew.workers.index(busiest)] = stage.worker()

    found = rush(stage, crew.webs, requests=requests, places=places, meanwhile=kill_half_way)
    stage.expect(bool(killed_at) and killed_at[0] < requests, "no worker was killed")
    stage.note({"worker killed after": killed_at})
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outage:
    """Hold what was seen while PostgreSQL was away.

    `accepted` is per second, `slowest` the p99 of answers in milliseconds.
    """

    rush: Rush
    accepted: float
    slowest: float
    healed: float


def with_postgresql_stopped(
    stage: Stage, postgres: PrivatePostgres, crew: Crew, *, requests: int, places: int, seconds: float
) -> Outage:
    """Crash PostgreSQL when a quarter of the orders came, and keep it away.

    Orders come evenly, so places are left all the time.
    """
    rate = places / 2 / seconds  # half of them come while it is away, and a quarter of the places are left then
    first: list[float] = []  # when the first order was bought
    away: list[float] = []  # start and end of the outage, and when it answered again

    def stop_and_start(finished: int) -> None:
        if finished and not first:
            first.append(time.monotonic())
        if first and not away and time.monotonic() > first[0] + seconds / 2:
            stage.meter.bury_postgresql()
            postgres.crash()
            away.append(time.monotonic())
        elif len(away) == 1 and time.monotonic() > away[0] + seconds:
            away.append(time.monotonic())
            postgres.start()
            away.append(time.monotonic())

    found = rush(stage, crew.webs, requests=requests, places=places, rate=rate, meanwhile=stop_and_start)
    stage.expect(len(away) == 3, "PostgreSQL was never stopped")
    began, ended, back = away
    answers = found.between(began, ended)
    accepted = [
        answer for answer in answers if answer.status == 202 and found.load.report.started + answer.ended <= ended
    ]
    stage.expect(bool(accepted), "nobody was let in while PostgreSQL was away")
    return Outage(
        rush=found,
        accepted=len(accepted) / (ended - began),
        slowest=percentile([1000 * (answer.ended - answer.began) for answer in answers] or [0.0], 99),
        healed=max(0.0, found.load.report.started + found.seconds - back),
    )


@contextmanager
def told_by(apart: Stage, stage: Stage) -> Iterator[None]:
    """Report errors of the one stage on the other."""
    apart.wrong = stage.wrong
    try:
        yield
    except Exception:
        stage.wrong.append(apart.last_words())
        raise


@contextmanager
def orders_faults(stage: Stage) -> Iterator[Contest]:
    """Kill a worker, then crash PostgreSQL: one of our own, so that the machine's stays as it is."""
    with (
        tempfile.TemporaryDirectory(prefix="frontrow-bench-") as folder,
        PrivatePostgres(Path(folder)) as postgres,
        stage_on(postgres, services=stage.services, folder=stage.folder / "apart", quick=stage.quick) as apart,
        told_by(apart, stage),
    ):
        crew = apart.crew()
        rush(apart, crew.webs, requests=200, places=50)
        size = {"requests": apart.sized(20_000), "places": apart.sized(5_000)}

        def everybody() -> Sample:
            killed = with_a_worker_killed(apart, crew, **size)
            stopped = with_postgresql_stopped(apart, postgres, crew, **size, seconds=2 if apart.quick else 10)
            return Sample(
                values={
                    "orders_faults": killed.seconds,
                    "orders_faults_answered": killed.load.rate(202, 409),
                    "orders_outage": stopped.healed,
                    "orders_outage_accepted": stopped.accepted,
                    "orders_outage_p99": stopped.slowest,
                },
                cpu=killed.load.cpu | {f"{name} in the outage": spent for name, spent in stopped.rush.load.cpu.items()},
            )

        yield Contest(ours=everybody)


# --- At size


def with_memory_watched(
    stage: Stage, webs: list[Process], *, requests: int, places: int
) -> tuple[Rush, dict[str, list[float]]]:
    """Take the memory at the start, in the middle and at the end; of the load generator only its maximum."""
    with memory.watched(stage.meter) as watched:
        found = rush(stage, webs, requests=requests, places=places)
    return found, watched.course() | {"generator": [found.load.report.memory]}


def growth(taken: dict[str, list[float]]) -> float:
    """Return the growth of the process that grew most, from the middle to the end, in percent. A leak keeps growing."""
    return max(100 * (sizes[-1] / sizes[1] - 1) for name, sizes in taken.items() if len(sizes) == 3 and name != "redis")


@contextmanager
def orders_large(stage: Stage) -> Iterator[Contest]:
    """Measure ten times as many orders, next to the usual number."""
    webs = stage.whole()
    rush(stage, webs, requests=200, places=50)

    def everybody() -> Sample:
        small = rush(stage, webs, requests=stage.sized(20_000), places=stage.sized(5_000))
        large, taken = with_memory_watched(stage, webs, requests=stage.sized(200_000), places=stage.sized(50_000))
        return Sample(
            values={
                "orders_large": large.seconds,
                "orders_large_answered": large.load.rate(202, 409),
                "orders_large_cost": large.cost,
                "orders_large_dearer": large.cost / small.cost,
                "orders_large_growth": growth(taken),
            },
            cpu=large.load.cpu,
            memory=taken,
        )

    yield Contest(ours=everybody)


EVENTS = (
    Event(
        name="orders_faults",
        figures=(
            Figure(name="orders_faults", unit="s"),
            Figure(name="orders_faults_answered", unit="answers/s"),
            Figure(name="orders_outage", unit="s"),
            Figure(name="orders_outage_accepted", unit="202s/s"),
            Figure(name="orders_outage_p99", unit="ms"),
        ),
        open=orders_faults,
    ),
    Event(
        name="orders_large",
        figures=(
            Figure(name="orders_large", unit="s"),
            Figure(name="orders_large_answered", unit="answers/s"),
            Figure(name="orders_large_cost", unit="ms/order"),
            Figure(name="orders_large_dearer", unit="times", at_most=1.2),
            Figure(name="orders_large_growth", unit="%", at_most=10),
        ),
        open=orders_large,
    ),
)
