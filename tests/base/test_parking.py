"""A hub: calls that wait take no thread, and those that ask to be served together are."""

from __future__ import annotations

import contextvars
import gc
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from base import parking
from base.parking import Hub

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


@pytest.fixture(scope="module")
def hub() -> Hub:
    return Hub(name="test-hub")


def run(hub: Hub, call: Callable[[], Any]) -> Future[Any]:
    """Run the call; the future has what it returns or raises."""
    told: Future[Any] = Future()

    def done(result: Any, error: BaseException | None) -> None:
        if error:
            told.set_exception(error)
        else:
            told.set_result(result)

    hub.run(call, done)
    return told


def test_call_returns_its_result(hub: Hub) -> None:
    assert run(hub, lambda: 7).result(2) == 7


def test_call_raises_its_error_and_the_hub_goes_on(hub: Hub) -> None:
    def fail() -> None:
        raise LookupError("seat")

    with pytest.raises(LookupError):
        run(hub, fail).result(2)
    assert run(hub, lambda: 7).result(2) == 7


def test_waiting_call_lets_the_others_run(hub: Hub) -> None:
    awaited: Future[int] = Future()
    waits = run(hub, lambda: parking.wait(awaited, seconds=5))
    assert run(hub, lambda: "other").result(2) == "other"
    assert not waits.done()
    awaited.set_result(3)
    assert waits.result(2) == 3


def test_two_thousand_calls_wait_at_once_and_all_are_answered(hub: Hub) -> None:
    futures: list[Future[int]] = [Future() for _number in range(2_000)]
    threads = threading.active_count()
    waiting = [run(hub, partial(parking.wait, future, seconds=10)) for future in futures]
    run(hub, lambda: None).result(2)
    assert threading.active_count() == threads
    for number, future in enumerate(futures):
        future.set_result(number)
    assert [call.result(5) for call in waiting] == list(range(2_000))


def test_call_that_has_ended_is_forgotten_though_its_deadline_is_far(hub: Hub) -> None:
    class Request:
        """Something large."""

    def answer_all(items: Sequence[Any]) -> None:
        for item in items:
            item.set_result(None)

    def serve(request: Request) -> None:
        future: Future[None] = Future()
        parking.together(answer_all, future)
        parking.wait(future, seconds=60)

    request = Request()
    run(hub, partial(serve, request)).result(2)
    left = weakref.ref(request)
    del request
    run(hub, lambda: None).result(2)
    gc.collect()
    assert left() is None


def test_wait_ends_at_its_deadline(hub: Hub) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(hub, lambda: parking.wait(Future(), seconds=0.1)).result(2)
    assert 0.1 <= time.monotonic() - began < 1


def test_future_that_is_done_later_than_the_deadline_wakes_nothing_twice(hub: Hub) -> None:
    late: Future[int] = Future()
    waits = run(hub, lambda: parking.wait(late, seconds=0.05))
    with pytest.raises(TimeoutError):
        waits.result(2)
    late.set_result(1)
    assert run(hub, lambda: "goes on").result(2) == "goes on"


def test_error_of_the_future_is_raised_where_it_is_waited_for(hub: Hub) -> None:
    broken: Future[int] = Future()
    waits = run(hub, lambda: parking.wait(broken, seconds=5))
    broken.set_exception(KeyError("x"))
    with pytest.raises(KeyError):
        waits.result(2)


def test_calls_that_arrive_together_are_served_together(hub: Hub) -> None:
    batches: list[list[int]] = []

    def serve(items: Sequence[Any]) -> None:
        batches.append([number for number, _future in items])
        for number, future in items:
            future.set_result(number * 10)

    def ask(number: int) -> int:
        future: Future[int] = Future()
        assert parking.together(serve, (number, future))
        return parking.wait(future, seconds=5)

    held: Future[None] = Future()
    began = threading.Event()

    def hold_the_hub() -> None:
        began.set()
        held.result(5)  # not parked: it keeps the thread, as a slow call does

    busy = run(hub, hold_the_hub)
    assert began.wait(2)
    calls = [run(hub, partial(ask, number)) for number in range(20)]
    held.set_result(None)
    assert busy.result(2) is None
    assert [call.result(2) for call in calls] == [number * 10 for number in range(20)]
    assert [sorted(batch) for batch in batches] == [list(range(20))]


def test_hub_that_a_call_keeps_busy_says_that_it_is_stuck(hub: Hub) -> None:
    held: Future[None] = Future()
    began = threading.Event()

    def block() -> None:
        began.set()
        held.result(5)

    busy = run(hub, block)
    assert began.wait(2)
    time.sleep(0.05)
    assert hub.is_stuck(0.02)
    held.set_result(None)
    busy.result(2)
    run(hub, lambda: None).result(2)
    assert not hub.is_stuck(0.5)


def test_each_call_has_a_context_of_its_own(hub: Hub) -> None:
    gate: Future[None] = Future()

    def say(name: str) -> str:
        WHO.set(name)
        parking.wait(gate, seconds=5)
        return WHO.get()

    ana, bruno = run(hub, lambda: say("ana")), run(hub, lambda: say("bruno"))
    gate.set_result(None)
    assert (ana.result(2), bruno.result(2)) == ("ana", "bruno")
    assert run(hub, WHO.get).result(2) == "nobody"


def test_outside_a_hub_waiting_blocks_as_usual() -> None:
    future: Future[int] = Future()
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: future.set_result(5))
        assert parking.wait(future, seconds=2) == 5
    assert not parking.together(lambda _items: None, 1)
    assert not parking.is_parkable()
    with pytest.raises(TimeoutError):
        parking.wait(Future(), seconds=0.01)
