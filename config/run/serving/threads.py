"""Run the requests of an event loop in threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

LONGEST_WAIT = 5.0  # seconds that a request waits for a thread; after that its client should rather try again

Call = Callable[[], Any]
Job = tuple[Call, "asyncio.Future[Any]", float]


class Busy(Exception):
    """Report that too many requests wait for a thread, or that this one waited too long. The call was not begun."""


class Threads:
    """Run at most `size` calls at once, and keep at most `most_waiting` others waiting, in order.

    All methods but `_work` belong to the loop's own thread. A thread is started only when the work needs one more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, size: int, most_waiting: int) -> None:
        self._loop = loop
        self._size = size
        self._most = size + most_waiting
        self._started = 0
        self._in_progress = 0
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._told = False

    @property
    def waiting(self) -> int:
        return max(0, self._in_progress - self._size)

    @property
    def working(self) -> int:
        return min(self._in_progress, self._size)

    async def run(self, call: Call) -> Any:
        """Return what `call` returns. Raises: Busy, and what `call` raises."""
        if self._in_progress >= self._most:
            raise Busy
        self._in_progress += 1
        if self._started < min(self._in_progress, self._size):
            self._started += 1
            threading.Thread(target=self._work, name=f"work-{self._started}", daemon=True).start()
        future = self._loop.create_future()
        self._jobs.put((call, future, time.monotonic() + LONGEST_WAIT))
        return await future

    def _work(self) -> None:
        while True:
            call, future, latest = self._jobs.get()
            result, error = None, None
            try:
                if time.monotonic() > latest:
                    raise Busy  # noqa: TRY301 told like any other error
                result = call()
            except BaseException as caught:  # noqa: BLE001 raised where it is awaited
                error = caught
            self._done.append((future, result, error))
            del call, future, result, error
            if not self._told:  # one call wakes the loop for all calls that are done by then
                self._told = True
                try:
                    self._loop.call_soon_threadsafe(self._tell)
                except RuntimeError:  # the loop has ended, and with it everything that waited
                    return

    def _tell(self) -> None:
        self._told = False
        while self._done:
            future, result, error = self._done.popleft()
            self._in_progress -= 1
            if future.done():  # cancelled, because the server stops
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
