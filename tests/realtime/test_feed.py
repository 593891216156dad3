"""What is told of what was heard, and that a picture comes right whatever the wire does to it."""

from __future__ import annotations

import itertools
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.feed import Heard

SEATS = ["A1", "A2", "A3", "A4"]

Body = dict[str, Any]


def diff(start: int, version: int, **changes: str) -> Body:
    return {"type": "seats", "from": start, "version": version, "changes": changes, "available": 16 - version}


def told(*bodies: Body, after: int = 0) -> list[Body]:
    heard = Heard()
    for body in bodies:
        heard.add(body)
    return heard.taken(after=after)


class TestHeard:
    def test_makes_one_of_many(self) -> None:
        assert told(diff(0, 1, A1="h"), diff(1, 3, A1="f", A2="h")) == [diff(0, 3, A1="f", A2="h")]

    def test_puts_them_in_order(self) -> None:
        assert told(diff(1, 2, A1="s"), diff(0, 1, A1="h")) == [diff(0, 2, A1="s")]

    def test_leaves_out_what_came_twice(self) -> None:
        assert told(diff(0, 1, A1="h"), diff(0, 1, A1="h"), after=1) == []

    def test_does_not_hide_a_gap(self) -> None:
        assert told(diff(0, 1, A1="h"), diff(2, 3, A2="h")) == [diff(0, 1, A1="h"), diff(2, 3, A2="h")]

    def test_tells_the_newest_of_stock(self) -> None:
        pit = [{"type": "ticket:update", "ticket_type": "pit", "available": left} for left in (5, 4, 3)]
        assert told(*pit) == pit[-1:]

    def test_is_empty_afterwards(self) -> None:
        heard = Heard()
        heard.add(diff(0, 1, A1="h"))
        heard.taken(after=0)
        assert heard.taken(after=1) == []


class Page:
    """Keeps its picture by the rules of API.md; the browser's own (feed.js) is tested in tests/journeys."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
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
        self.version, self.picture = self.hall.snapshot()


class Hall:
    """The truth, and the diffs that told of it."""

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


@settings(max_examples=200, deadline=None)
@given(story=st.lists(st.tuples(CHANGES, st.integers(1, 3)), min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_snapshot_and_diffs_are_the_hall_under_loss_disorder_and_reconnects(
    story: list[tuple[dict[str, str], int]], seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 no secrets
    hall, heard = Hall(), Heard()
    page, latest, under_way = Page(hall), 0, list[Body]()

    def tell(page: Page, after: int) -> int:
        for body in heard.taken(after=after):
            after = max(after, body["version"])
            if dice.random() < 0.9:  # a slow socket is skipped
                page.take(body)
        return after

    for changes, versions in story:
        body = hall.change(changes, versions)
        under_way += [body] * dice.choice([0, 1, 1, 1, 1, 2])  # lost, sent, sent twice
        dice.shuffle(under_way)
        for arrived in itertools.islice(list(under_way), dice.randint(0, len(under_way))):
            under_way.remove(arrived)
            heard.add(arrived)
        if dice.random() < 0.4:
            latest = tell(page, latest)
        if dice.random() < 0.1:  # the connection broke, and is back
            page.hello(latest)
    page.take({"type": "seats", "from": hall.version, "version": hall.version, "changes": {}, "available": 0})
    tell(page, hall.version)

    assert (page.version, page.picture) == hall.snapshot()
