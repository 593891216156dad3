"""Doorbells: what Celery rings; the work is in `operations/`."""

from __future__ import annotations

from collections import deque
from typing import Any

import structlog
from celery import Task, shared_task
from celery.exceptions import Reject
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.message import Message

from reservations.operations import messages, queued, sweeps
from reservations.queueing.queues import QueueDown

log = structlog.get_logger(__name__)

TOGETHER = 200  # requests of one transaction; more of them gain little, and each request waits for all

_allocated: set[str] = set()  # messages of this process whose requests were allocated with others', by task id


# A task that fails isn't acknowledged: its message is swept, never lost.
@shared_task(name=messages.TASK, bind=True, acks_late=True, acks_on_failure=False, ignore_result=True)
def allocate(self: Task[Any, Any], *, requests: list[dict[str, Any]], **_newer: Any) -> None:
    if self.request.id in _allocated:
        return
    try:
        messages.allocate_message(requests)
    except QueueDown as error:  # no dead letter could be written, so the message must come again
        raise Reject(str(error), requeue=True) from error


def allocated_together(came: deque[Message]) -> list[Message]:
    """Take from the left the messages that can be allocated in one transaction, allocate them, and hand them out for their tasks' own turn.

    A slow line has few requests a message and several messages waiting. Nothing overtakes: what isn't allocation, such as an
    order to drain the inbox, is handed out alone.
    """
    _allocated.clear()
    some = [came.popleft()]
    asked = _requests_of(some[0])
    while asked and came and (more := _requests_of(came[0])) and len(asked) + len(more) <= TOGETHER:
        asked += more
        some.append(came.popleft())
    if len(some) > 1:
        try:
            messages.allocate_message(asked)
        except Exception as error:  # noqa: BLE001 each is tried alone now, and says itself what is wrong
            log.warning("allocate.not_together", messages=len(some), error=repr(error))
            return some
        _allocated.update(message.headers["id"] for message in some)
    return some


def _requests_of(message: Message) -> list[Any]:
    """Empty if it is another task's, or can't be read: then the task says so."""
    if (message.headers or {}).get("task") != allocate.name:
        return []
    try:
        _arguments, named, _options = message.payload
        return list(named["requests"])
    except (DecodeError, ContentDisallowed, LookupError, TypeError, ValueError):
        return []


@shared_task(acks_late=True, ignore_result=True)
def drain(*, shard: int, **_newer: Any) -> None:
    queued.drain_however_long(shard=shard)


@shared_task(acks_late=True, ignore_result=True)
def forget_keys(**_newer: Any) -> None:
    sweeps.forget_keys()


@shared_task(acks_late=True, ignore_result=True)
def expire_holds(*, limit: int = 50_000, **_newer: Any) -> None:
    sweeps.expire_holds(limit=limit)
    sweeps.look_after_standby()
