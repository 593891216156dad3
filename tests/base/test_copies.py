"""Answers for every reader: how old they get, and that one maker is enough."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import redis
from django.conf import settings
from django.core.cache import cache
from django.db import OperationalError

from base import copies
from base.breaker import Breaker
from base.copies import changes, copy, sharing
from base.copies.copy import Body, Copy
from base.copies.response import knows
from config.web import cache as cache_
from tests.processes import until


class Clock:
    """The database's, as far as copies know it."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Maker:
    """Makes `body 1`, `body 2`, …; counts how many make at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.times = self.at_once = self.most_at_once = 0
        self.seconds = seconds
        self.error: Exception | None = None
        self._counting = threading.Lock()

    def __call__(self) -> Body:
        with self._counting:
            self.times += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            number = self.times
        try:
            threading.Event().wait(self.seconds)
            if self.error:
                raise self.error
            return Body(content=f"body {number}".encode(), content_type="text/plain")
        finally:
            with self._counting:
                self.at_once -= 1


@pytest.fixture(autouse=True)
def _second(settings: Any) -> Iterator[None]:
    settings.COPY_SECONDS = 1.0
    copies.forget()
    yield
    copies.forget()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(copy, "now", clock)
    return clock


def read(make: Maker, key: str = "a") -> bytes:
    return copies.of("test", key, make).plain


def in_another_process(make: Maker) -> bytes:
    """Read as a process does that has no copy of its own: it knows only what was shared."""
    copies.forget()
    return read(make)


class TestAge:
    def test_reader_gets_the_same_copy_for_half_a_second(self, clock: Clock) -> None:
        make = Maker()
        assert read(make) == b"body 1"
        clock.now += 0.49
        assert read(make) == b"body 1"

    def test_reader_in_the_second_half_renews_the_copy(self, clock: Clock) -> None:
        make = Maker()
        read(make)
        clock.now += 0.51
        assert read(make) == b"body 2"

    def test_copy_is_as_old_as_the_moment_when_reading_its_facts_began(self, clock: Clock) -> None:
        def make() -> Body:
            clock.now += 0.3  # a slow reading
            return Body(content=b"facts", content_type="text/plain")

        assert copies.of("test", "a", make).age == pytest.approx(0.3)

    def test_no_reader_gets_a_copy_older_than_a_second(self) -> None:
        """Twenty readers ask for a second and a half what the clock in the answer says."""
        oldest = 0.0

        def make() -> Body:
            return Body(content=repr(time.monotonic()).encode(), content_type="text/plain")

        def reader(_number: int) -> None:
            nonlocal oldest
            ends = time.monotonic() + 1.5
            while time.monotonic() < ends:
                found = float(copies.of("test", "a", make).plain)
                oldest = max(oldest, time.monotonic() - found)
                threading.Event().wait(0.001)

        with ThreadPoolExecutor(20) as readers:
            list(readers.map(reader, range(20)))
        assert 0.1 < oldest < 1.0 + 0.25  # the machine may be busy between reading the copy and the clock

    def test_without_copies_every_reader_has_its_own(self, settings: Any) -> None:
        settings.COPY_SECONDS = 0
        make = Maker()
        assert [read(make), read(make)] == [b"body 1", b"body 2"]


class TestChange:
    SESSION = UUID("0198c0de-0000-7000-8000-000000000001")

    def read(self, make: Maker, *, about: UUID | None = SESSION) -> bytes:
        return copies.of("test", f"about {about}", make, about=about).plain

    def test_reader_after_a_change_gets_a_new_copy(self, clock: Clock) -> None:
        make = Maker()
        assert self.read(make) == b"body 1"
        clock.now += 0.01
        copies.outdate(self.SESSION)
        clock.now += 0.01
        assert self.read(make) == b"body 2"
        assert self.read(make) == b"body 2"

    def test_list_is_outdated_by_the_change_of_any_session(self, clock: Clock) -> None:
        make = Maker()
        self.read(make, about=None)
        clock.now += 0.01
        copies.outdate(self.SESSION)
        clock.now += 0.01
        assert self.read(make, about=None) == b"body 2"

    def test_change_of_another_session_outdates_nothing(self, clock: Clock) -> None:
        make = Maker()
        self.read(make)
        copies.outdate(uuid4())
        assert self.read(make) == b"body 1"

    def test_copy_that_was_made_while_it_changed_is_made_again(self, clock: Clock) -> None:
        times = 0

        def make() -> Body:
            nonlocal times
            times += 1
            clock.now += 0.01
            if times == 2:
                copies.slots[next(reversed(copies.slots))].changed = clock.now  # the change comes in the middle
                clock.now += 0.01
            return Body(content=f"body {times}".encode(), content_type="text/plain")

        copies.of("test", "a", make, about=self.SESSION)
        clock.now += 0.6
        assert copies.of("test", "a", make, about=self.SESSION).plain == b"body 2"
        assert copies.of("test", "a", make, about=self.SESSION).plain == b"body 3"

    def test_rush_of_changes_makes_a_few_copies_at_once_and_then_two_a_second(self, clock: Clock) -> None:
        make = Maker()
        for _change in range(1_000):  # in two seconds
            self.read(make)
            clock.now += 0.001
            copies.outdate(self.SESSION)
            clock.now += 0.001
        assert 12 <= make.times <= 20

    def test_process_hears_of_a_change_in_another_one(self) -> None:
        make = Maker()
        self.read(make)
        said = msgspec.json.encode(changes.Changed(uuid4(), [self.SESSION]))
        until(lambda: cache_.client().publish(f"{settings.KEY_PREFIX}:copies:changed", said), seconds=5)
        until(lambda: self.read(make) == b"body 2", seconds=0.4)


class TestOneMaker:
    def test_crowd_before_the_first_copy_waits_for_one_maker(self) -> None:
        make = Maker(seconds=0.2)
        with ThreadPoolExecutor(20) as crowd:
            told = list(crowd.map(lambda _reader: read(make), range(20)))
        assert set(told) == {b"body 1"}
        assert make.times == 1

    def test_crowd_in_the_second_half_is_served_the_old_copy_meanwhile(self, clock: Clock) -> None:
        make = Maker()
        read(make)
        clock.now += 0.6
        make.seconds = 0.3
        with ThreadPoolExecutor(20) as crowd:
            told = list(crowd.map(lambda _reader: read(make), range(20)))
        assert sorted(told) == [b"body 1"] * 19 + [b"body 2"]
        assert make.most_at_once == 1

    def test_process_takes_the_copy_that_another_one_shared(self) -> None:
        make = Maker()
        read(make)
        assert in_another_process(make) == b"body 1"

    def test_process_waits_while_another_one_makes_the_first_copy(self) -> None:
        make = Maker()
        name = next(iter(_names_after(lambda: read(make))))
        copies.forget()
        cache.delete(f"copy:{name}")
        assert sharing.take_turn(name)  # the other process begins
        other = Copy(
            made=copy.now(), etag='W/"x"', content_type="text/plain", packed=gzip.compress(b"theirs"), policy={}
        )
        threading.Timer(0.1, sharing.share, [name, other]).start()
        assert read(make) == b"theirs"

    def test_process_makes_its_own_when_the_other_one_died(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(copies, "WAIT_SECONDS", 0.1)
        make = Maker()
        name = next(iter(_names_after(lambda: read(make))))
        copies.forget()
        cache.delete(f"copy:{name}")
        assert sharing.take_turn(name)
        assert read(make) == b"body 2"

    def test_keys_do_not_share_a_copy(self) -> None:
        make = Maker()
        assert read(make, "a") != read(make, "b")


class TestOutage:
    def test_process_makes_its_own_copies_while_redis_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_arguments: Any, **_named: Any) -> Any:
            raise redis.ConnectionError

        for name in ("get", "set", "add", "delete"):
            monkeypatch.setattr(cache, name, away)
        monkeypatch.setattr(sharing, "breaker", Breaker("copies-test", errors=sharing.CACHE_ERRORS))
        make = Maker()
        assert [read(make), read(make)] == [b"body 1", b"body 1"]

    def test_reader_gets_the_last_copy_while_postgresql_is_away(self, clock: Clock) -> None:
        make = Maker()
        read(make)
        make.error = OperationalError("away")
        clock.now += 500
        assert read(make) == b"body 1"

    def test_crowd_does_not_ask_postgresql_again_for_a_second_after_it_failed(self, clock: Clock) -> None:
        make = Maker()
        read(make)
        make.error = OperationalError("away")
        clock.now += 5
        assert [read(make) for _reader in range(50)] == [b"body 1"] * 50
        assert make.times == 2
        clock.now += 1.1
        make.error = None
        assert read(make) == b"body 3"

    def test_process_that_waited_in_vain_for_another_one_serves_its_last_copy(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copies, "WAIT_SECONDS", 0.05)
        make = Maker()
        read(make)
        make.error = OperationalError("away")
        clock.now += 5
        monkeypatch.setattr(sharing, "take_turn", lambda _name: False)
        assert read(make) == b"body 1"

    def test_reader_is_told_of_the_outage_when_the_last_copy_is_too_old(self, clock: Clock) -> None:
        make = Maker()
        read(make)
        make.error = OperationalError("away")
        clock.now += copies.LAST_RESORT_SECONDS + 1
        with pytest.raises(OperationalError):
            read(make)

    def test_error_of_the_maker_reaches_its_reader_and_the_next_one_tries_again(self) -> None:
        make = Maker()
        make.error = LookupError("no such session")
        with pytest.raises(LookupError):
            read(make)
        make.error = None
        assert read(make) == b"body 2"


@pytest.mark.parametrize(
    ("sent", "known"),
    [("", False), ('W/"a"', True), ('"a"', True), ('"b", W/"a"', True), ("*", True), ('"b"', False), ("a", False)],
)
def test_client_that_has_the_copy_is_recognised_by_its_tag(sent: str, known: bool) -> None:
    assert knows(sent, 'W/"a"') is known


def _names_after(act: Any) -> list[str]:
    before = set(copies.slots)
    act()
    return [name for name in copies.slots if name not in before]
