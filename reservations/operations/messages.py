"""Allocate the requests in a message of the queue, and set poison aside as dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from reservations.hold_request import UNREADABLE, HoldRequest
from reservations.operations import queued
from reservations.queueing import queues
from reservations.queueing.letters import REASON, SINCE, TRIES
from reservations.queueing.queues import PUBLISH_ERRORS, QueueDown

TASK = "reservations.tasks.settle"  # tasks.py defines the task, and messages of older versions carry the name


def allocate_message(said: Sequence[Any]) -> None:
    """Allocate the requests of a message; write a dead letter for poison and unreadable ones. Raises: QueueDown."""
    requests, unreadable = read(said)
    try:
        queued.allocate_however_long(requests)
    except queued.Poison as poison:
        for failure in poison.failures:
            set_aside(failure.request.to_json(), reason=failure.reason, tries=failure.tries)
    for one, error in unreadable:
        set_aside(one, reason=error, tries=1)


def read(said: Sequence[Any]) -> tuple[list[HoldRequest], list[tuple[Any, str]]]:
    """Return the requests, and beside them what is no request, with the reason."""
    requests, unreadable = [], []
    for one in said:
        try:
            requests.append(HoldRequest.from_json(one))
        except UNREADABLE as error:
            unreadable.append((one, f"cannot be read: {error!r}"))
    return requests, unreadable


def set_aside(said: Any, *, reason: str, tries: int) -> None:
    """Write a dead letter, confirmed by the broker. Raises: QueueDown."""
    headers = {REASON: reason[:500], TRIES: tries, SINCE: timezone.now().isoformat()}
    try:
        queues.courier().send(TASK, queues.dead_letters(), headers=headers, requests=[said])
    except PUBLISH_ERRORS as error:
        raise QueueDown(repr(error)) from error
