"""Test batches without a database, except where a lost connection matters."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection

from tests.processes import until
from ticketing.payments import together
from ticketing.payments.together import NotBegun, Together, Unfinished


class Held:
    """Stop in the first batch until the test releases it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, asks: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(asks))
        self.begun.set()
        self.go.wait(30)
        return [-ask for ask in asks]


@pytest.fixture
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
class TestHeldUp:
    def test_what_is_not_begun_is_taken_back(self, threads: ThreadPoolExecutor) -> None:
        held = Held()
        work = Together[int, int](held)
        first = threads.submit(work, 1)
        held.begun.wait(5)
        with pytest.raises(NotBegun):
            work(2)
        held.go.set()
        assert first.result(5) == -1
        assert work(3) == -3
        assert held.batches == [[1], [3]]

    def test_what_is_begun_is_unknown(self, threads: ThreadPoolExecutor) -> None:
        held = Held()
        work = Together[int, int](held)
        with work._working:  # noqa: SLF001 until both have come
            asked = [threads.submit(work, 1), threads.submit(work, 2)]
            until(lambda: len(work._waiting) == 2, seconds=5, what="both waiting")  # noqa: SLF001
        held.begun.wait(5)
        until(lambda: any(one.done() for one in asked), seconds=5, what="the one that doesn't work")
        unfinished = next(one for one in asked if one.done())
        assert isinstance(unfinished.exception(), Unfinished)
        held.go.set()
        done = next(one for one in asked if one is not unfinished)
        assert done.result(5) in {-1, -2}
        assert held.batches == [[1, 2]]

    def test_several_asks_of_one_caller_each_have_their_outcome(self, threads: ThreadPoolExecutor) -> None:
        held = Held()
        work = Together[int, int](held)
        first = threads.submit(work, 1)
        held.begun.wait(5)
        outcomes = work.all([2, 3])
        assert [type(outcome) for outcome in outcomes] == [NotBegun, NotBegun]
        held.go.set()
        first.result(5)


class TestSpoilt:
    def test_each_has_its_own_outcome(self) -> None:
        def no_threes(asks: Sequence[int]) -> list[int | Exception]:
            if 3 in asks:
                raise ValueError("three")
            return [-ask for ask in asks]

        one, three, five = Together[int, int](no_threes).all([1, 3, 5])
        assert (one, five) == (-1, -5)
        assert isinstance(three, ValueError)

    def test_a_thread_that_is_ended_leaves_no_other_waiting(self, threads: ThreadPoolExecutor) -> None:
        begun, go = threading.Event(), threading.Event()

        def ended(_asks: Sequence[int]) -> list[int | Exception]:
            begun.set()
            go.wait(5)
            raise SystemExit

        work = Together[int, int](ended)
        with work._working:  # noqa: SLF001 until both have come
            asked = [threads.submit(work, 1), threads.submit(work, 2)]
            until(lambda: len(work._waiting) == 2, seconds=5, what="both waiting")  # noqa: SLF001
        begun.wait(5)
        go.set()
        assert {type(one.exception(5)) for one in asked} == {SystemExit, Unfinished}

    def test_a_lost_connection_spoils_all_at_once(self, transactional_db: None) -> None:
        tries: list[int] = []

        def lost(asks: Sequence[int]) -> list[int | Exception]:
            tries.append(len(asks))
            connection.close()
            raise OperationalError("server closed the connection unexpectedly")

        outcomes = Together[int, int](lost).all([1, 2, 3])
        assert tries == [3]
        assert {type(outcome) for outcome in outcomes} == {OperationalError}

    def test_a_lock_that_all_wait_for_is_not_waited_for_by_each(
        self, transactional_db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(together, "ALONE_SECONDS", 0.0)
        tries: list[int] = []

        def busy(asks: Sequence[int]) -> list[int | Exception]:
            tries.append(len(asks))
            connection.ensure_connection()
            raise OperationalError("canceling statement due to lock timeout")

        outcomes = Together[int, int](busy).all([1, 2, 3])
        assert len(tries) <= 2
        assert {type(outcome) for outcome in outcomes} == {OperationalError}
