"""Why something happens: the request or the job that set it off, and the person who acted. Ids only, never a name.

Note [How a cause travels]
The web process takes it from the request (`X-Request-ID`) and keeps it for as long as it answers. A request for seats carries it
through every queue, and the reservation, payment and refund that come of it keep it as a column, so that a worker, a relay or a sweep
that works on them later still knows. What is done in one batch for many people has a cause for each row.
A job has no request: its cause is `job:` and its name, which no client can send, since a request id has no colon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

import structlog

LONGEST = 64  # characters of a cause; a longer request id of a client is replaced


@dataclass(frozen=True, slots=True)
class Cause:
    """`id`: a request id or a job's name; empty where nothing is known. `actor`: a buyer or a member of staff; none for a job."""

    id: str = ""
    actor: UUID | None = None


UNKNOWN = Cause()
EXPIRY = Cause("job:expiry")  # a hold ran out, whichever process noticed

_current: ContextVar[Cause] = ContextVar("cause", default=UNKNOWN)
_actor: ContextVar[Callable[[], UUID | None] | None] = ContextVar("actor", default=None)


def current() -> Cause:
    """Return what this thread or task works for now."""
    cause = _current.get()
    find = _actor.get()
    return Cause(cause.id, find()) if find is not None and cause.id else cause


def or_else(own: Cause) -> Cause:
    """Return what this thread works for, or a row's `own` cause where it works for nothing else; that knows better who acted."""
    cause = current()
    return own if not cause.id or cause == Cause(own.id) else cause


def acted_by(find: Callable[[], UUID | None]) -> None:
    """Name the person who acts in the current request; looked up only if something is written down."""
    _actor.set(find)


def shared_by(several: Iterable[Cause]) -> Cause:
    """Return the cause that all of these have in common; none if they differ."""
    found = set(several)
    return found.pop() if len(found) == 1 else UNKNOWN


@contextmanager
def working_for(cause: Cause) -> Iterator[None]:
    """Inside, events and log lines name this cause; `UNKNOWN` leaves them to what each row says."""
    outer, outer_actor = _current.set(cause), _actor.set(None)
    named = {"request_id": cause.id} if cause.id else {}
    try:
        with structlog.contextvars.bound_contextvars(**named):
            yield
    finally:
        _current.reset(outer)
        _actor.reset(outer_actor)


def job(name: str) -> Cause:
    """Return the cause of what a periodic job or a command does."""
    return Cause(f"job:{name}")
