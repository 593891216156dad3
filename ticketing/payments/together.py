"""Calls that many threads make at once are done together: what arrived while the last batch was in flight is the next one.

So an idle system adds no delay, and a crowd shares its transactions. Whoever comes first does the work of all who wait; no
thread of its own, so forks and tests need to know nothing. Nobody waits with a connection in hand: a process has few, and whoever works
for the others would be without one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog
from django.db import connection

from base import causes

MOST = 200  # of one batch

log = structlog.get_logger(__name__)

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class _Entry(Generic[Ask, Answer]):
    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.outcome: Answer | Exception | None = None
        self.done = False


class Together(Generic[Ask, Answer]):
    """`work` answers each ask of a batch, in their order, in one transaction; an error it returns is raised to whoever asked.

    What it raises spoils the batch: then each is done alone, and is raised to whoever asked for that.
    """

    def __init__(self, work: Callable[[Sequence[Ask]], Sequence[Answer | Exception]]) -> None:
        self._work = work
        self._waiting: deque[_Entry[Ask, Answer]] = deque()
        self._working = threading.Lock()

    def __call__(self, ask: Ask) -> Answer:
        (outcome,) = self.all([ask])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def all(self, asks: Sequence[Ask]) -> list[Answer | Exception]:
        """Somebody who has several brings them along at once; the outcome of each."""
        entries = [_Entry[Ask, Answer](ask) for ask in asks]
        self._waiting.extend(entries)
        connection.close()  # back to the pool
        for entry in entries:
            while not entry.done:
                with self._working:
                    if not entry.done:
                        self._serve([self._waiting.popleft() for _entry in range(min(len(self._waiting), MOST))])
        return [entry.outcome for entry in entries]  # type: ignore[misc] # all are done

    def _serve(self, batch: Sequence[_Entry[Ask, Answer]]) -> None:
        try:
            self._answer(batch)
        except Exception as error:  # noqa: BLE001 whatever it is, it belongs to whoever is to blame
            if len(batch) == 1:
                batch[0].outcome, batch[0].done = error, True
                return
            log.warning("together.one_by_one", asks=len(batch), error=type(error).__name__)
            for entry in batch:
                self._serve([entry])

    def _answer(self, batch: Sequence[_Entry[Ask, Answer]]) -> None:
        with causes.working_for(causes.UNKNOWN):  # the others' causes are not this thread's
            outcomes = self._work([entry.ask for entry in batch])
        for entry, outcome in zip(batch, outcomes, strict=True):
            entry.outcome, entry.done = outcome, True
