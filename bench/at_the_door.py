"""Measure a crowd at the front door: how many requests are admitted, and that they are the right ones."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

from bench import truth
from bench.contest import Contest, Event
from bench.figures import Figure, Sample
from bench.processes import Process
from bench.stage import HOLDS_PATH, Load, Room, Stage, asking_for, request, token

SAME_SEED = 20_260_101  # every run shuffles the same way


def warm(stage: Stage, webs: list[Process]) -> None:
    """Warm the site up before the clock runs, and leave nothing in the queue."""
    room = stage.room(200)
    load = stage.run([asking_for(room, [seat]) for seat in room.labels], webs=webs, connections=20)
    truth.check(stage, room, load)


def warm_usual(stage: Stage, webs: list[Process], *, path: str) -> None:
    room = stage.room(200)
    stage.in_usual_database(room)
    stage.run([asking_for(room, [seat], path=path) for seat in room.labels], webs=webs, connections=20)


# --- front_door


@contextmanager
def front_door(stage: Stage) -> Iterator[Contest]:
    """Measure durable admission while no worker allocates. Afterwards a worker proves that no request was lost."""
    ours, usual, plain = stage.web(processes=2), stage.usual_web(processes=2), stage.plain_web(processes=2)
    stage.ready(ours)
    stage.answering([*usual, *plain])
    worker = stage.worker()
    warm(stage, ours)
    worker.stop()
    warm_usual(stage, usual, path="/hold-later")
    warm_usual(stage, plain, path="/constant")
    asked: list[tuple[Room, Load]] = []

    def each_a_seat(webs: list[Process], *, requests: int, path: str, status: int, who: str) -> tuple[Room, Load]:
        room = stage.room(stage.sized(requests))
        load = stage.run([asking_for(room, [seat], path=path) for seat in room.labels], webs=webs, connections=100)
        truth.only(stage, load, status, who=who)
        return room, load

    def let_in() -> Sample:
        room, load = each_a_seat(ours, requests=20_000, path=HOLDS_PATH, status=202, who="front door")
        asked.append((room, load))
        return load.sample(front_door=load.rate(202))

    def usual_way() -> Sample:
        _room, load = each_a_seat(usual, requests=6_000, path="/hold-later", status=202, who="usual way")
        return load.sample(front_door=load.rate(202))

    def plain_view() -> Sample:
        _room, load = each_a_seat(plain, requests=20_000, path="/constant", status=200, who="plain view")
        return load.sample(front_door=load.rate(200))

    yield Contest(ours=let_in, limit=plain_view, usual=usual_way)
    stage.worker()
    for room, load in asked:
        truth.check(stage, room, load, held=len(room.labels))
    truth.audit(stage)


# --- burst


@contextmanager
def burst(stage: Stage) -> Iterator[Contest]:
    """Measure a rush in which four buyers want each seat."""
    webs = stage.whole()
    warm(stage, webs)

    def rush() -> Sample:
        room = stage.room(stage.sized(5_000))
        wanted = room.labels * 4
        random.Random(SAME_SEED).shuffle(wanted)
        with closing(truth.Ledger(stage, room.id)) as ledger:
            load = stage.run(
                [asking_for(room, [seat]) for seat in wanted], webs=webs, connections=200, look=ledger.allocated
            )
            truth.only(stage, load, 202, 409, who="burst")
            after = (
                load.allocated_after
                if ledger.allocated() >= load.statuses[202]
                else allocated_late(stage, ledger, load)
            )
        truth.check(stage, room, load, held=len(room.labels))
        truth.audit(stage)
        return load.sample(burst=after)

    yield Contest(ours=rush)


def allocated_late(stage: Stage, ledger: truth.Ledger, load: Load) -> float:
    """Return the seconds from the first request until those that were still queued at the last answer are allocated."""
    truth.allocate_all(stage, ledger, truth.accepted(load))
    return load.seconds_since_start()


# --- stampede


@contextmanager
def stampede(stage: Stage) -> Iterator[Contest]:
    """Measure a rush in which all buyers want the same sixteen seats."""
    webs = stage.whole()
    warm(stage, webs)

    def rush() -> Sample:
        room = stage.room(16)
        wanted = [room.labels[number % 16] for number in range(stage.sized(2_000))]
        random.Random(SAME_SEED).shuffle(wanted)
        load = stage.run([asking_for(room, [seat]) for seat in wanted], webs=webs, connections=200)
        truth.only(stage, load, 202, 409, who="stampede")
        stage.expect(load.statuses[202] == 16, f"{load.statuses[202]} winners of 16 seats")
        truth.check(stage, room, load, held=16)
        truth.audit(stage)
        return load.sample(stampede=load.rate(202, 409))

    yield Contest(ours=rush)


# --- same_key


@contextmanager
def same_key(stage: Stage) -> Iterator[Contest]:
    """Measure one impatient buyer who presses fifty times."""
    webs = stage.whole()
    warm(stage, webs)

    def press() -> Sample:
        room = stage.room(20)
        ask = request({"session": str(room.id), "seats": room.labels[:1]}, key=uuid.uuid4().hex, access=token())
        first = stage.run([ask] * 50, webs=webs, connections=50)
        truth.only(stage, first, 202, 409, who="same key")
        again = stage.run([ask] * 50, webs=webs, connections=50)
        truth.only(stage, again, 202, who="same key, later")
        in_flight = {str(body.get("code")) for body in first.bodies(409)}
        stage.expect(in_flight <= {"request_in_flight"}, f"refused for {in_flight}")
        answers = {answer.body for load in (first, again) for answer in load.answers if answer.status == 202}
        stage.expect(len(answers) == 1, f"{len(answers)} different answers to one key")
        promised = sorted(set(truth.accepted(first)))
        truth.check_all(stage, room, promised, held=1)
        truth.audit(stage)
        with closing(truth.Ledger(stage, room.id)) as ledger:
            made = ledger.allocated()
        stage.expect(made == 1, f"{made} reservations of one key")
        return first.sample(same_key=float(made))

    yield Contest(ours=press)


EVENTS = (
    Event(
        name="front_door",
        figures=(Figure(name="front_door", unit="accepted/s", of_limit=0.4, times_usual=4),),
        open=front_door,
    ),
    Event(name="burst", figures=(Figure(name="burst", unit="s", at_most=8),), open=burst),
    Event(name="stampede", figures=(Figure(name="stampede", unit="answers/s", at_least=2_000),), open=stampede),
    Event(
        name="same_key", figures=(Figure(name="same_key", unit="reservations", at_least=1, at_most=1),), open=same_key
    ),
)
