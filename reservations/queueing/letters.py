"""Read dead letters from the queues at the broker that they lie in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu import Message, Queue
from kombu.exceptions import KombuError

from realtime import relay
from reservations.hold_request import HoldRequest
from reservations.queueing.queues import PUBLISH_ERRORS

# headers of a letter that this site writes
REASON, TRIES, SINCE, CAME_FROM = "frontrow-reason", "frontrow-tries", "frontrow-since", "frontrow-queue"


class OutOfReach(Exception):
    """The broker is away, or silent. Each message that was taken out of a queue goes back into it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message or a request that was given up.

    - `name` is the id of its request, task or event; the message's own id where none can be read.
    - `queue` is where it waited before: `holds`, `inbox`, or a queue of jobs.
    - `said` is the message as it was published.
    - `since` is when it was given up; in the inbox, when it was accepted.
    - `request` is set for `holds` and `inbox`.
    """

    name: str
    queue: str
    said: Any
    reason: str
    tries: int
    since: str
    request: HoldRequest | None = None
    message: Message | None = None  # out of its queue until it is acknowledged or the pile is closed

    def take_out(self) -> None:
        """Remove it from the broker for good; allocation takes it from the inbox. Raises: OutOfReach."""
        if self.message is not None:
            with reaching():
                self.message.ack()


@contextmanager
def reaching() -> Iterator[None]:
    """Turn the broker's errors into OutOfReach."""
    try:
        yield
    except PUBLISH_ERRORS as error:
        raise OutOfReach(repr(error)) from error


@contextmanager
def channel_to(url: str) -> Iterator[Any]:
    """Lend a channel. Raises: OutOfReach.

    A message that is taken through it and not acknowledged is back in its queue afterwards.
    """
    connection = relay.connect(url, confirm=True)
    try:
        with reaching():
            channel = connection.default_channel
        yield channel
    finally:
        try:
            connection.release()
        except PUBLISH_ERRORS:
            connection.collect()


def content(message: Message) -> Any:
    """Return the message's content, or its bare text where it isn't JSON."""
    try:
        return message.payload
    except (KombuError, ValueError):
        return message.body.decode(errors="replace") if isinstance(message.body, bytes) else message.body


class Box:
    """A queue of dead letters. Its methods raise OutOfReach."""

    def __init__(self, channel: Any, queue: Queue) -> None:
        self._queue = queue(channel)
        with reaching():
            self._queue.declare()

    def take(self, limit: int) -> Iterator[Message]:
        for _message in range(limit):
            with reaching():
                message = self._queue.get(accept=["json"])
            if message is None:
                return
            yield message

    def __len__(self) -> int:
        """Count the messages in it, without those that are taken out at the moment."""
        with reaching():
            counted: int = (
                self._queue.queue_declare().message_count
            )  # Redis knows no empty queue, and would refuse a passive look
        return counted
