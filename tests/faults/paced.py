"""Send requests at a steady pace, however long the answers take, and record their outcomes."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.api_client import Answer, ApiClient


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold a request.

    `due` is its planned time, `took` the seconds from then to the answer, including its wait for a turn.
    """

    due: float
    took: float
    answer: Answer


class Crowd:
    """Ask for unnumbered places, each buyer in its own thread: `with Crowd(buyers, session, rate=25) as crowd:`."""

    def __init__(self, buyers: Sequence[ApiClient], session: str, ticket_type: str, *, rate: float) -> None:
        self._buyers = buyers
        self.body = {"session": session, "ticket_type": ticket_type, "quantity": 1}
        self._pause = 1 / rate
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._began = 0.0
        self.asked: list[Asked] = []

    def __enter__(self) -> Self:
        self._began = time.monotonic() + 0.1
        self._threads = ThreadPoolExecutor(len(self._buyers))
        self._running = [self._threads.submit(self._ask_on, buyer) for buyer in self._buyers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._threads.shutdown()
        for running in self._running:
            running.result()

    def _ask_on(self, buyer: ApiClient) -> None:
        while not self._stop.is_set():
            due = self._began + next(self._numbers) * self._pause
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            answer = buyer.call("POST", "/reservations", self.body)
            self.asked.append(Asked(due, time.monotonic() - due, answer))

    def between(self, start: float, end: float) -> Figures:
        return Figures([one for one in list(self.asked) if start <= one.due < end], seconds=end - start)


class Figures:
    def __init__(self, asked: Sequence[Asked], *, seconds: float) -> None:
        self.statuses = Counter(one.answer.status for one in asked)
        self.accepted = [one.answer.body["id"] for one in asked if one.answer.status == 202]
        self.rate = self.statuses[202] / seconds
        took = sorted(one.took for one in asked)
        self.slowest = took[-1]
        self.median = statistics.median(took)
        self.p95 = took[int(0.95 * len(took))]

    def __repr__(self) -> str:
        statuses = dict(self.statuses)
        return (
            f"{statuses}, {self.rate:.1f}/s, p50 {self.median:.3f} s, p95 {self.p95:.3f} s, "
            f"slowest {self.slowest:.3f} s"
        )
