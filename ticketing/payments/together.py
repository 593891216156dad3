"""Combine calls that many threads make at once: calls that arrive during a batch form the next one.

So an idle system adds no delay, and a crowd shares its transactions. The first caller does the work of all that wait.
There is no separate thread, so forks and tests need no care. No caller keeps a connection while it waits: a process has
few, and the working thread needs one.

Note [No call waits for ever]
A lock or a silent PostgreSQL may hold up the working thread. The others wait `MOST_SECONDS` for it. Then they take back
the calls that have not begun, and do not learn the outcome of those that have. Each use of a `Together` may be repeated
without harm.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import psycopg
import structlog
from django.db import InterfaceError, OperationalError, connection

from base import causes

MOST = 200  # calls per batch
MOST_SECONDS = 15.0  # longer than every deadline on the way, except that of a silent PostgreSQL
ALONE_SECONDS = 4.0  # for repeating a failed batch one by one: if each waits for the same lock, it would take minutes
UNANSWERED = (OperationalError, InterfaceError, psycopg.OperationalError)  # the last one comes from the pool

log = structlog.get_logger(__name__)

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class NotBegun(Exception):
    """Report that nothing was done; the caller may try again."""


class Unfinished(Exception):
    """Report that the work may be done all the same; the caller may safely repeat it."""


class _Entry(Generic[Ask, Answer]):
    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.outcome: Answer | Exception | None = None
        self.done = False

    def end(self, outcome: Answer | Exception) -> None:
        self.outcome, self.done = outcome, True


class Together(Generic[Ask, Answer]):
    """Let `work` answer each call of a batch in order, in one transaction. A returned error is raised to its caller.

    An error that `work` raises breaks the batch. Then each call is done alone and has its own outcome. If the
    connection is lost or time runs out, the error is the outcome of all that are left.
    """

    def __init__(self, work: Callable[[Sequence[Ask]], Sequence[Answer | Exception]]) -> None:
        self._work = work
        self._waiting: deque[_Entry[Ask, Answer]] = deque()
        self._working = threading.Lock()

    def __call__(self, ask: Ask) -> Answer:
        """Return or raise the outcome of `work`.

        Raises also: NotBegun and Unfinished, see Note [No call waits for ever].
        """
        (outcome,) = self.all([ask])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def all(self, asks: Sequence[Ask]) -> list[Answer | Exception]:
        """Return the outcome of each of several calls of one caller."""
        entries = [_Entry[Ask, Answer](ask) for ask in asks]
        until = time.monotonic() + MOST_SECONDS
        self._waiting.extend(entries)
        connection.close()  # back to the pool
        for entry in entries:
            while not entry.done and self._working.acquire(timeout=max(until - time.monotonic(), 0)):
                try:
                    if not entry.done:
                        self._serve(self._next())
                finally:
                    self._working.release()
        return [self._outcome(entry) for entry in entries]

    def _outcome(self, entry: _Entry[Ask, Answer]) -> Answer | Exception:
        if not entry.done:
            try:
                self._waiting.remove(entry)
            except ValueError:  # the working thread has it
                log.warning("together.unfinished")
                return Unfinished()
            log.warning("together.not_begun")
            return NotBegun()
        return entry.outcome  # type: ignore[return-value] # it is set before `done` is

    def _next(self) -> list[_Entry[Ask, Answer]]:
        batch: list[_Entry[Ask, Answer]] = []
        try:
            while len(batch) < MOST:
                batch.append(self._waiting.popleft())
        except IndexError:
            pass
        return batch

    def _serve(self, batch: Sequence[_Entry[Ask, Answer]]) -> None:
        try:
            self._answer(batch)
        except Exception as error:  # noqa: BLE001 it belongs to the asks that caused it
            self._serve_one_by_one(batch, error)
        finally:
            for entry in batch:
                if not entry.done:  # this thread is being ended
                    entry.end(Unfinished())

    def _serve_one_by_one(self, batch: Sequence[_Entry[Ask, Answer]], error: Exception) -> None:
        """Repeat the calls one by one. The error of the batch is the outcome of each that cannot be repeated."""
        until = time.monotonic() + ALONE_SECONDS
        if len(batch) > 1 and not _is_away(error):
            log.warning("together.one_by_one", asks=len(batch), error=type(error).__name__)
            for entry in batch:
                if time.monotonic() > until:
                    break
                try:
                    self._answer([entry])
                except Exception as own:  # noqa: BLE001 it is this one's outcome
                    entry.end(own)
                    if _is_away(own):
                        break
        for entry in batch:
            if not entry.done:
                entry.end(error)

    def _answer(self, batch: Sequence[_Entry[Ask, Answer]]) -> None:
        with causes.working_for(causes.UNKNOWN):  # the others' causes are not this thread's
            outcomes = self._work([entry.ask for entry in batch])
        for entry, outcome in zip(batch, outcomes, strict=True):
            entry.end(outcome)


def _is_away(error: Exception) -> bool:
    """Tell whether the error is a lost connection and not PostgreSQL's answer."""
    return isinstance(error, UNANSWERED) and (connection.connection is None or not connection.is_usable())
