"""Measure buyers who wait for their outcome (`Prefer: wait`): how long, and how many a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench import truth
from bench.at_the_door import warm, warm_usual
from bench.contest import Contest, Event
from bench.figures import Figure, Sample, percentile
from bench.processes import Process
from bench.stage import Load, Room, Stage, asking_for
from sessions_app.models import MAX_SEATS

WAIT = 10  # seconds, the longest wait that a buyer may ask for
THREADS = 256  # threads of the web process: half of them may wait, and a hundred do


def each_waits(
    stage: Stage, webs: list[Process], *, requests: int, connections: int = 100, rate: float | None = None
) -> tuple[Room, Load]:
    """Run buyers who each ask for a seat of their own and wait."""
    room = stage.room(requests)
    asks = [asking_for(room, [seat], wait=WAIT) for seat in room.labels]
    load = stage.run(asks, webs=webs, connections=connections, rate=rate)
    truth.only(stage, load, 201, 202, who="waiting buyers")
    return room, load


def prove(stage: Stage, room: Room, load: Load) -> None:
    truth.check(stage, room, load, held=len(room.labels))
    truth.audit(stage)


def told_after(load: Load) -> list[float]:
    """Return the milliseconds from request to outcome.

    A buyer without an outcome counts as having waited to the end.
    """
    return [(answer.ended - answer.began) * 1000 if answer.status == 201 else WAIT * 1000.0 for answer in load.answers]


# --- outcomes


@contextmanager
def outcomes(stage: Stage) -> Iterator[Contest]:
    webs, usual = stage.web(threads=THREADS), stage.usual_web(threads=THREADS)
    stage.worker()
    stage.ready(webs)
    stage.answering(usual)
    warm(stage, webs)
    warm_usual(stage, usual, path="/hold")

    def told() -> Sample:
        room, load = each_waits(stage, webs, requests=stage.sized(8_000))
        prove(stage, room, load)
        return load.sample(outcomes=load.rate(201))

    def usual_way() -> Sample:
        room = stage.room(stage.sized(4_000))
        stage.in_usual_database(room)
        asks = [asking_for(room, [seat], path="/hold") for seat in room.labels]
        load = stage.run(asks, webs=usual, connections=100)
        truth.only(stage, load, 201, who="usual way")
        return load.sample(outcomes=load.rate(201))

    yield Contest(ours=told, usual=usual_way)


# --- latency


@contextmanager
def latency(stage: Stage) -> Iterator[Contest]:
    """Measure the maximum first, then half of that, evenly, whatever the answers do."""
    webs = stage.web(threads=THREADS)
    stage.worker()
    stage.ready(webs)
    warm(stage, webs)

    def half() -> Sample:
        room, saturated = each_waits(stage, webs, requests=stage.sized(6_000))
        prove(stage, room, saturated)
        rate = saturated.rate(201) / 2
        requests = max(20, int(rate * (1 if stage.quick else 8)))
        room, load = each_waits(stage, webs, requests=min(requests // 20 * 20, MAX_SEATS), connections=200, rate=rate)
        prove(stage, room, load)
        waits = told_after(load)
        return load.sample(latency=percentile(waits, 50), latency_p99=percentile(waits, 99))

    yield Contest(ours=half)


# --- lone


@contextmanager
def lone(stage: Stage) -> Iterator[Contest]:
    """Measure ten requests a second, one after the other, on a whole site without other work."""
    webs = stage.whole()
    warm(stage, webs)

    def one_by_one() -> Sample:
        room, load = each_waits(stage, webs[:1], requests=stage.sized(100), connections=1, rate=10)
        prove(stage, room, load)
        return load.sample(lone=percentile(told_after(load), 50))

    yield Contest(ours=one_by_one)


EVENTS = (
    Event(
        name="latency",
        figures=(
            Figure(name="latency", unit="ms, median", at_most=25),
            Figure(name="latency_p99", unit="ms, 99 of 100", at_most=150),
        ),
        open=latency,
    ),
    Event(name="lone", figures=(Figure(name="lone", unit="ms, median", at_most=20),), open=lone),
    Event(name="outcomes", figures=(Figure(name="outcomes", unit="outcomes/s", times_usual=2),), open=outcomes),
)
