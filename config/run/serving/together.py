"""Run requests for places in one thread, each parked while it waits (see `base.parking`)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import Any

from base.parking import Hub
from config.run.serving.threads import Busy, Call

MOST = 4_096  # requests in progress; one more is told to come again
LONGEST_WAIT = 15.0  # seconds until a request is begun with: as long as one waits for the front door
STUCK_SECONDS = 0.1  # after which new requests take threads: something keeps the hub


class Together:
    """Run calls of an event loop in a hub. One wake-up of the loop tells it of all calls that are done by then."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._hub = Hub(name="together", after_each_round=self._tell_the_loop)
        self._in_progress = 0
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()

    @property
    def takes_more(self) -> bool:
        """Tell whether a request would be served sooner here than in a thread."""
        return not self._hub.is_stuck(STUCK_SECONDS)

    async def run(self, call: Call) -> Any:
        """Return what `call` returns. Raises: Busy, and what `call` raises."""
        if self._in_progress >= MOST:
            raise Busy
        self._in_progress += 1
        future = self._loop.create_future()
        self._hub.run(partial(_in_time, call, time.monotonic() + LONGEST_WAIT), partial(self._note, future))
        return await future

    def _note(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._done.append((future, result, error))

    def _tell_the_loop(self) -> None:
        if self._done:
            done, self._done = self._done, deque()
            self._loop.call_soon_threadsafe(self._tell, done)

    def _tell(self, done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
        for future, result, error in done:
            self._in_progress -= 1
            if future.done():  # cancelled, because the server stops
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _in_time(call: Call, latest: float) -> Any:
    if time.monotonic() > latest:
        raise Busy
    return call()
