"""Run several checks at the same time, wait for none longer than a deadline, and remember the answers for a moment.

Probes and scrapes come from many machines at once. They must get an answer even from a process whose database hangs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlinePassed
from dataclasses import dataclass
from typing import Any

DEADLINE_SECONDS = 1.0
REMEMBERED_SECONDS = 1.0

Check = Callable[[], Any]


class Unanswered(Exception):
    """Report that a check had no answer within the deadline."""


@dataclass(frozen=True, slots=True)
class Found:
    """Hold the result of a check: `value` is what it returned, `error` what it raised instead."""

    milliseconds: float
    value: Any = None
    error: Exception | None = None


class Examination:
    """Run checks once for all callers that wait. A hanging check holds one thread, however many callers there are."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        deadline: float = DEADLINE_SECONDS,
        remembered: float = REMEMBERED_SECONDS,
    ) -> None:
        self.checks = checks
        self.deadline = deadline
        self.remembered = remembered
        self._asking = threading.Lock()
        self._under_way: dict[str, Future[Found]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._found: dict[str, Found] = {}
        self._until = float("-inf")

    def results(self) -> dict[str, Found]:
        """Return the results of all checks. It never raises."""
        with self._asking:
            if time.monotonic() >= self._until:
                self._found = self._examine()
                self._until = time.monotonic() + self.remembered
            return self._found

    def forget(self) -> None:
        """Make the next call run the checks again."""
        self._until = float("-inf")

    def _examine(self) -> dict[str, Found]:
        deadline = time.monotonic() + self.deadline
        begun = {name: self._begin(name, check) for name, check in self.checks.items()}
        return {name: self._await(future, deadline) for name, future in begun.items()}

    def _begin(self, name: str, check: Check) -> Future[Found]:
        hanging = self._under_way.get(name)
        if hanging is not None and not hanging.done():
            return hanging
        if self._threads is None:
            self._threads = ThreadPoolExecutor(len(self.checks), thread_name_prefix="examination")
        self._under_way[name] = self._threads.submit(_timed, check)
        return self._under_way[name]

    def _await(self, future: Future[Found], deadline: float) -> Found:
        try:
            return future.result(timeout=max(0.0, deadline - time.monotonic()))
        except DeadlinePassed:
            return Found(milliseconds=self.deadline * 1000, error=Unanswered("deadline passed"))


def _timed(check: Check) -> Found:
    started = time.perf_counter()
    value, error = None, None
    try:
        value = check()
    except Exception as raised:  # noqa: BLE001 what a driver raises is the answer, and is told
        error = raised
    return Found(milliseconds=round((time.perf_counter() - started) * 1000, 1), value=value, error=error)
