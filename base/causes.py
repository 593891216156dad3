"""Record why something happens: the request or job that caused it, and the person who acted.

A cause holds only ids, never names.

Note [How a cause travels]
The web process takes the cause from the request (`X-Request-ID`) and keeps it while it answers. A request for seats
carries it through every queue. The resulting reservation, payment and refund keep it as a column, so that a worker, a
relay or a sweep that works on them later still knows it. A batch for many people has a cause for each row.
A job has no request. Its cause is `job:` and its name. A client cannot send that, because a request id has no colon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

import structlog

LONGEST = 64  # characters of a cause; a client's longer request id is replaced


@dataclass(frozen=True, slots=True)
class Cause:
    """Name a cause: `id` is a request id or a job's name or empty; `actor` is a buyer, a member of staff or None."""

    id: str = ""
    actor: UUID | None = None


UNKNOWN = Cause()
EXPIRY = Cause("job:expiry")  # a hold expired; the same for each process that notices it

_current: ContextVar[Cause] = ContextVar("cause", default=UNKNOWN)
_actor: ContextVar[Callable[[], UUID | None] | None] = ContextVar("actor", default=None)


def current() -> Cause:
    """Return the cause that this thread or task works for now."""
    cause = _current.get()
    find = _actor.get()
    return Cause(cause.id, find()) if find is not None and cause.id else cause


def or_else(own: Cause) -> Cause:
    """Return this thread's cause, or a row's `own` if there is no other. A row's own knows better who acted."""
    cause = current()
    return own if not cause.id or cause == Cause(own.id) else cause


def acted_by(find: Callable[[], UUID | None]) -> None:
    """Set the function that finds the acting person. It is called only if something is written down."""
    _actor.set(find)


def shared_by(several: Iterable[Cause]) -> Cause:
    """Return the cause that all of these share; UNKNOWN if they differ."""
    found = set(several)
    return found.pop() if len(found) == 1 else UNKNOWN


@contextmanager
def working_for(cause: Cause) -> Iterator[None]:
    """Name this cause in events and log lines while the block runs. `UNKNOWN` leaves the cause to each row."""
    outer, outer_actor = _current.set(cause), _actor.set(None)
    named = {"request_id": cause.id} if cause.id else {}
    try:
        with structlog.contextvars.bound_contextvars(**named):
            yield
    finally:
        _current.reset(outer)
        _actor.reset(outer_actor)


def job(name: str) -> Cause:
    """Return the cause of a periodic job or a command."""
    return Cause(f"job:{name}")
