"""Define the tasks that Celery runs; `operations/` does the work."""

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
    except QueueDown as error:  # the dead letter could not be written, so the message must come again
        raise Reject(str(error), requeue=True) from error


def allocated_together(came: deque[Message]) -> list[Message]:
    """Take messages from the left that fit in one transaction, and allocate them; return them for their tasks' turn.

    A slow queue has few requests in a message and several messages waiting. The order is kept: a message of another
    task, such as an order to drain the inbox, is returned alone.
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
        except Exception as error:  # noqa: BLE001 each is tried alone now, and reports its own error
            log.warning("allocate.not_together", messages=len(some), error=repr(error))
            return some
        _allocated.update(message.headers["id"] for message in some)
    return some


def _requests_of(message: Message) -> list[Any]:
    """Return the message's requests; empty for another task or an unreadable message, which its task reports."""
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
