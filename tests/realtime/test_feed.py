"""Check what watchers are told, and that a picture comes right whatever the wire does to it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from realtime.heard import LONGEST, WAIT_SECONDS, Heard

SEATS = ["A1", "A2", "A3", "A4"]

Body = Mapping[str, Any]


def diff(start: int, version: int, **changes: str) -> Body:
    return {"type": "seats", "from": start, "version": version, "changes": changes, "available": 16 - version}


def stock(left: int, at: float) -> Body:
    return {"type": "ticket:update", "ticket_type": "pit", "available": left, "at": at}


def told(*bodies: Body, after: int = 0, now: float = 0) -> list[Body]:
    """Return what is told of messages that all came at 0."""
    heard = Heard()
    for body in bodies:
        heard.add(body, at=0)
    return heard.taken(after=after, now=now)


def gaps() -> float:
    return REGISTRY.get_sample_value("frontrow_feed_gaps_total") or 0


class TestHeard:
    def test_makes_one_diff_of_many(self) -> None:
        assert told(diff(0, 1, A1="h"), diff(1, 3, A1="f", A2="h")) == [diff(0, 3, A1="f", A2="h")]

    def test_puts_diffs_in_order(self) -> None:
        assert told(diff(1, 2, A1="s"), diff(0, 1, A1="h")) == [diff(0, 2, A1="s")]

    def test_leaves_out_a_diff_that_came_twice(self) -> None:
        assert told(diff(0, 1, A1="h"), diff(0, 1, A1="h"), after=1) == []

    def test_keeps_a_diff_that_is_ahead_for_a_moment(self) -> None:
        before = gaps()
        assert told(diff(0, 1, A1="h"), diff(2, 3, A2="h"), now=WAIT_SECONDS - 0.01) == [diff(0, 1, A1="h")]
        assert gaps() == before

    def test_tells_a_diff_that_was_ahead_when_its_predecessor_came(self) -> None:
        heard = Heard()
        heard.add(diff(1, 2, A1="s"), at=0)
        assert heard.taken(after=0, now=0) == []
        assert heard.waits_until == WAIT_SECONDS

        heard.add(diff(0, 1, A1="h", A2="h"), at=0.1)

        assert heard.taken(after=0, now=0.1) == [diff(0, 2, A1="s", A2="h")]
        assert heard.waits_until is None

    def test_tells_of_a_gap_when_the_time_is_over_and_counts_it(self) -> None:
        before = gaps()
        bodies = [diff(0, 1, A1="h"), diff(2, 3, A2="h"), diff(3, 4, A3="h")]
        assert told(*bodies, now=WAIT_SECONDS) == [diff(0, 1, A1="h"), diff(2, 4, A2="h", A3="h")]
        assert gaps() == before + 1

    def test_stops_waiting_when_too_many_diffs_wait(self) -> None:
        bodies = [diff(number, number + 1, A1="h") for number in range(1, LONGEST + 2)]
        assert told(*bodies[:-1]) == []
        assert told(*bodies) == [diff(1, LONGEST + 2, A1="h")]

    def test_tells_the_newest_stock_level(self) -> None:
        (told_last,) = told(stock(5, 1), stock(4, 2), stock(3, 3))
        assert told_last == {"type": "ticket:update", "ticket_type": "pit", "available": 3}

    def test_drops_a_stock_level_that_a_later_one_overtook(self) -> None:
        heard = Heard()
        heard.add(stock(3, 3), at=0)
        assert [body["available"] for body in heard.taken(after=0, now=0)] == [3]
        heard.add(stock(4, 2), at=0)
        assert heard.taken(after=0, now=0) == []

    def test_is_empty_afterwards(self) -> None:
        heard = Heard()
        heard.add(diff(0, 1, A1="h"), at=0)
        heard.taken(after=0, now=0)
        assert heard.taken(after=1, now=0) == []


class Page:
    """A page that keeps its picture by the rules of API.md; tests/journeys tests the browser's own (feed.js)."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.fetched = 0
        self.version, self.picture = hall.snapshot()

    def hello(self, version: int) -> None:
        if version != self.version:
            self.fetch()

    def take(self, body: Body) -> None:
        if body["version"] <= self.version:
            return
        if body["from"] > self.version:
            self.fetch()
            return
        self.version = body["version"]
        self.picture |= body["changes"]

    def fetch(self) -> None:
        self.fetched += 1
        self.version, self.picture = self.hall.snapshot()


class Hall:
    """The true map, and the diffs that were sent of it."""

    def __init__(self) -> None:
        self.version = 0
        self.seats = dict.fromkeys(SEATS, "f")

    def snapshot(self) -> tuple[int, dict[str, str]]:
        return self.version, dict(self.seats)

    def change(self, changes: dict[str, str], versions: int) -> Body:
        start, self.version = self.version, self.version + versions
        self.seats |= changes
        return diff(start, self.version, **changes)


CHANGES = st.dictionaries(st.sampled_from(SEATS), st.sampled_from("fhsb"), min_size=1)


@dataclass(frozen=True)
class Step:
    """A change, its delay after the one before, and the delay of each copy of its diff; no copy: it is lost."""

    changes: dict[str, str]
    versions: int
    after: float
    delays: list[float]


# Hundredths of a second, so that times compare exactly
TIMES = st.integers(0, 39).map(lambda hundredths: hundredths / 100)
LATE = st.integers(0, 300).map(lambda hundredths: hundredths / 100)
SENT = st.tuples(TIMES, st.lists(LATE, max_size=2)).map(lambda copies: [copies[0], *copies[1]])
STEPS = st.builds(Step, changes=CHANGES, versions=st.integers(1, 3), after=TIMES, delays=SENT)
STEPS_WITH_LOSS = st.builds(
    Step, changes=CHANGES, versions=st.integers(1, 3), after=TIMES, delays=st.one_of(SENT, SENT, st.just([]))
)


def play(story: list[Step]) -> tuple[Hall, Page]:
    """Let a page watch the hall through a wire that delays, repeats, mixes up and loses, until all has come."""
    hall, heard = Hall(), Heard()
    page, latest = Page(hall), 0
    under_way: list[tuple[float, int, Body]] = []
    happens, now, number = 0.0, 0.0, itertools.count()

    def tell() -> None:
        nonlocal latest
        for body in heard.taken(after=latest, now=now):
            latest = max(latest, body["version"])
            page.take(body)

    def run_until(end: float) -> None:
        nonlocal now
        while True:
            due = min(under_way[0][0] if under_way else end + 1, heard.waits_until or end + 1)
            if due > end:
                break
            now = max(now, due)
            while under_way and under_way[0][0] <= now:
                heard.add(heapq.heappop(under_way)[2], at=now)
            tell()
        now = end

    for step in story:
        happens += step.after
        run_until(happens)
        body = hall.change(step.changes, step.versions)
        for delay in step.delays:
            heapq.heappush(under_way, (happens + delay, next(number), body))
    run_until(happens + 10)
    return hall, page


@settings(max_examples=300, deadline=None)
@given(story=st.lists(STEPS, min_size=1, max_size=40))
def test_watcher_fetches_nothing_while_nothing_is_lost(story: list[Step]) -> None:
    """The diffs may overtake each other and come again."""
    hall, page = play(story)
    assert (page.version, page.picture) == hall.snapshot()
    assert page.fetched == 0


@settings(max_examples=300, deadline=None)
@given(story=st.lists(STEPS_WITH_LOSS, min_size=1, max_size=40))
def test_watcher_fetches_for_losses_alone_and_ends_with_the_hall(story: list[Step]) -> None:
    hall, page = play(story)
    page.take({"type": "seats", "from": hall.version, "version": hall.version, "changes": {}, "available": 0})
    assert (page.version, page.picture) == hall.snapshot()
    assert page.fetched <= sum(not step.delays for step in story)


@settings(max_examples=200, deadline=None)
@given(story=st.lists(STEPS_WITH_LOSS, min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_snapshot_and_diffs_are_the_hall_under_loss_disorder_and_reconnects(story: list[Step], seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 no secrets
    hall, heard = Hall(), Heard()
    page, latest, now = Page(hall), 0, 0.0

    def tell(page: Page, after: int) -> int:
        for body in heard.taken(after=after, now=now):
            after = max(after, body["version"])
            if dice.random() < 0.9:  # a slow socket is skipped
                page.take(body)
        return after

    for step in story:
        now += step.after
        body = hall.change(step.changes, step.versions)
        for _copy in step.delays:
            heard.add(body, at=now)
        if dice.random() < 0.4:
            latest = tell(page, latest)
        if dice.random() < 0.1:  # the connection broke, and is back
            page.hello(latest)
    page.take({"type": "seats", "from": hall.version, "version": hall.version, "changes": {}, "available": 0})
    tell(page, hall.version)

    assert (page.version, page.picture) == hall.snapshot()
