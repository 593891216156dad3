"""Run many requests that wait in one thread: each is parked while it waits, and takes no thread from the others.

Note [Parked requests]
A call runs in a greenlet of the hub's thread. Code that waits for a future asks `wait`, which parks the call until the
future is done; in any other thread `wait` blocks as usual. Code that wants to be served with others asks `together`: as
soon as every call of the hub is parked, the hub hands all collected items to their function in one go. So a crowd of
requests costs one wake-up, not one for each, and none of it knows whether it runs here or in a thread of its own.

A call must not park inside a database transaction: the calls of a hub share its thread's connection.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from greenlet import getcurrent

from base.parking.hub import Hub, Running, Work

__all__ = ["Hub", "aside", "is_parkable", "together", "wait"]

MOST_ASIDE = 8  # threads for calls that may block
LONGEST_SECONDS = 60.0  # longer than any deadline of a call that blocks

Found = TypeVar("Found")


def is_parkable() -> bool:
    """Tell whether this code runs in a hub, where waiting takes no thread."""
    return isinstance(getcurrent(), Running)


def wait(future: Future[Found], *, seconds: float) -> Found:
    """Return the future's result, and let others run meanwhile. Raises: TimeoutError, and the future's error."""
    call = getcurrent()
    if not isinstance(call, Running):
        return future.result(timeout=seconds)
    if not future.done():
        call.hub.park(call, future, seconds)
    return future.result(timeout=0)


def aside(call: Callable[[], Found]) -> Found:
    """Return what `call` returns. In a hub another thread runs it: a call that blocks would hold up the others."""
    if not is_parkable():
        return call()
    return wait(_threads().submit(call), seconds=LONGEST_SECONDS)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=MOST_ASIDE, thread_name_prefix="aside")


def together(work: Work, item: object) -> bool:
    """Have `work` called with this item and those of the other calls of the hub. False: this runs in no hub."""
    call = getcurrent()
    if not isinstance(call, Running):
        return False
    call.hub.collect(work, item)
    return True
