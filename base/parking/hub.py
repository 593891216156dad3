"""Run parked calls in a thread of their own. See Note [Parked requests] in `base.parking`."""

from __future__ import annotations

import contextvars
import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from greenlet import getcurrent, greenlet

from base.threads import keep_running

MOST_A_ROUND = 128  # calls after which those that are done are told

Call = Callable[[], Any]
Done = Callable[[Any, BaseException | None], None]
Work = Callable[[Sequence[Any]], None]


class Parked:
    """A call that waits, until its future or its deadline wakes it."""

    __slots__ = ("call",)

    def __init__(self, call: Running) -> None:
        self.call: Running | None = call  # None once it is over: its deadline may be far, and a request is large


class Running(greenlet):
    """A call on its way."""

    def __init__(self, hub: Hub, call: Call, done: Done) -> None:
        super().__init__(self._run, hub.switcher)
        self.gr_context = contextvars.Context()
        self.hub = hub
        self._call = call
        self._done = done

    def _run(self) -> None:
        result, error = None, None
        try:
            result = self._call()
        except BaseException as caught:  # noqa: BLE001 told to the one who asked
            error = caught
        self._done(result, error)


class Hub:
    """Run calls in one thread of its own, each until it ends or is parked."""

    def __init__(self, *, name: str, after_each_round: Callable[[], object] = lambda: None) -> None:
        self.switcher: greenlet = None  # type: ignore[assignment] # the hub's thread sets it before any call
        self._woken: SimpleQueue[tuple[Call, Done] | Parked] = SimpleQueue()
        self._deadlines: list[tuple[float, int, Parked]] = []
        self._numbers = itertools.count()
        self._collected: dict[Work, list[Any]] = {}
        self._round_since = 0.0
        self._after_each_round = after_each_round
        keep_running(self._serve, name=name)

    def run(self, call: Call, done: Done) -> None:
        """Run `call` soon; in the hub's thread `done` gets its result or its error. Any thread may ask."""
        self._woken.put((call, done))

    def is_stuck(self, seconds: float) -> bool:
        """Tell whether the calls at work have kept the hub from the others for so long."""
        since = self._round_since
        return since > 0 and time.monotonic() - since > seconds

    def _serve(self) -> None:
        self.switcher = getcurrent()
        while True:
            found = self._next()
            self._round_since = time.monotonic()
            for woken in found:
                self._let_run(woken)
            while self._collected:
                works, self._collected = self._collected, {}
                for work, items in works.items():
                    work(items)
                for woken in self._those_there():
                    self._let_run(woken)
            self._wake_the_late()
            self._round_since = 0.0
            self._after_each_round()

    def _next(self) -> deque[tuple[Call, Done] | Parked]:
        """Wait for a call, for one that is woken, or for the next deadline."""
        patience = self._deadlines[0][0] - time.monotonic() if self._deadlines else None
        try:
            first = self._woken.get(timeout=None if patience is None else max(0.0, patience))
        except Empty:
            return deque()
        found = deque([first])
        found.extend(self._those_there())
        return found

    def _those_there(self) -> deque[tuple[Call, Done] | Parked]:
        found: deque[tuple[Call, Done] | Parked] = deque()
        for _number in range(min(self._woken.qsize(), MOST_A_ROUND)):
            found.append(self._woken.get_nowait())
        return found

    def _let_run(self, woken: tuple[Call, Done] | Parked) -> None:
        if isinstance(woken, tuple):
            Running(self, *woken).switch()
        elif woken.call is not None:
            call, woken.call = woken.call, None
            call.switch()

    def _wake_the_late(self) -> None:
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].call is None):
            self._let_run(heapq.heappop(self._deadlines)[2])

    def park(self, call: Running, future: Future[Any], seconds: float) -> None:
        """Return when the future is done or the time is over."""
        parked = Parked(call)
        future.add_done_callback(lambda _future: self._woken.put(parked))
        heapq.heappush(self._deadlines, (time.monotonic() + seconds, next(self._numbers), parked))
        self.switcher.switch()

    def collect(self, work: Work, item: object) -> None:
        self._collected.setdefault(work, []).append(item)
