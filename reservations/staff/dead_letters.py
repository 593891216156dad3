"""Retry or discard what could not be done: requests in RabbitMQ's dead-letter queue or the inbox, and dead jobs.

Note [Two dead-letter queues]
Allocation sends a poison request to `dead_letters()`, one a message, with the reason (`operations/messages.py`), where
it waits for a person. RabbitMQ sends messages that it gives up delivering to `given_up()`: whole messages, mostly of
innocent neighbours, which `relay` sweeps into the inbox. If both shared one queue, each sweep would have to take out
the person's letters and put them back.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import msgspec
import structlog
from django.conf import settings
from kombu import Message

from reservations import metrics, refusals
from reservations.hold_request import HoldRequest
from reservations.models import InboxRequest, Reservation
from reservations.operations import queued
from reservations.operations.messages import read, set_aside
from reservations.queueing import dead_jobs, inbox, letters, queues
from reservations.queueing.inbox import UNSTORABLE
from reservations.queueing.letters import REASON, SINCE, TRIES, Box, DeadLetter, OutOfReach
from sessions_app.models import shard_of

log = structlog.get_logger(__name__)

MOST = 1_000  # letters looked at in one go
SWEEP = 50  # messages of one round
DRAIN = "reservations.tasks.drain"
DROPPED = refusals.Failed.reason  # the reason that a buyer reads


@dataclasses.dataclass(slots=True)
class Pile:
    """The dead letters at hand.

    `missing` says why those at the broker are absent; `more` is how many lie there beside these.
    """

    letters: list[DeadLetter]
    missing: str = ""
    more: int = 0

    def named(self, names: Collection[str]) -> list[DeadLetter]:
        return [letter for letter in self.letters if letter.name in names]


# --- A person's side


@contextmanager
def pile(queue: str | None = None) -> Iterator[Pile]:
    """Gather the letters that wait for a person, at most `MOST` of each queue.

    They are out of their queue until this closes.
    """
    here = Pile([_from_inbox(row) for row in inbox.left_for_a_person()] if queue in {None, "inbox"} else [])
    if queue == "inbox":
        yield here
        return
    with ExitStack() as stack:
        try:
            channel = stack.enter_context(letters.channel_to(_broker()))
            if settings.RABBITMQ_URL and queue in {None, "holds"}:
                box = Box(channel, queues.dead_letters())
                here.letters += map(_from_rabbitmq, box.take(MOST))
                here.more += len(box)
            for job in queues.JOBS if queue is None else {queue} & set(queues.JOBS):
                found, more = dead_jobs.take(channel, job, limit=MOST)
                here.letters += found
                here.more += more
        except OutOfReach as error:
            here.missing = str(error)
        yield here


def _broker() -> str:
    return str(settings.RABBITMQ_URL or settings.CELERY_BROKER_URL)


def retry(letter: DeadLetter) -> bool:
    """Put a request back into the queue, through the inbox, or a job into its queue.

    Return False for a request that can't be read.

    Doing it again is harmless. Raises: OutOfReach.
    """
    if letter.queue in queues.JOBS:
        dead_jobs.retry(letter)
        return True
    if letter.request is None:
        return False
    with suppress(*UNSTORABLE):
        inbox.store([letter.request], shard_for=_shard_of, suspicion=letter.reason or "tried again")
        inbox.put_back([letter.request.id])
        letter.take_out()
        return True
    return False


def discard(letter: DeadLetter) -> Reservation | None:
    """Reject its request, so that its buyer is notified; return the reservation, None if there is none.

    Raises: OutOfReach.
    """
    refused = queued.refuse(letter.request, reason=DROPPED) if letter.request else None
    if letter.request is None and letter.queue == "inbox":
        inbox.forget(uuid.UUID(letter.name))
    letter.take_out()
    log.warning("dead_letter.discarded", letter=letter.name, queue=letter.queue, status=refused and refused.status)
    return refused


def count_waiting() -> dict[str, int]:
    """Count the letters that wait for a person, by queue, and those for the sweep.

    Raises: OutOfReach, once the inbox is counted.
    """
    waiting = {"inbox": inbox.left_for_a_person().count()}
    metrics.dead_letters.labels("inbox").set(waiting["inbox"])
    return waiting | count_at_the_broker()


def count_at_the_broker() -> dict[str, int]:
    """Count the letters at the broker by queue; those for the sweep as `holds.given_up`. Raises: OutOfReach."""
    with letters.channel_to(_broker()) as channel:
        waiting = dead_jobs.count(channel)
        if settings.RABBITMQ_URL:
            waiting["holds"] = len(Box(channel, queues.dead_letters()))
        for queue, number in waiting.items():
            metrics.dead_letters.labels(queue).set(number)
        if settings.RABBITMQ_URL:
            waiting["holds.given_up"] = len(Box(channel, queues.given_up()))
    return waiting


def _from_inbox(row: InboxRequest) -> DeadLetter:
    (requests, _unreadable) = read([row.request])
    return DeadLetter(
        name=str(row.pk),
        said=row.request,
        request=msgspec.structs.replace(requests[0], id=row.pk, buyer=row.buyer) if requests else None,
        reason=row.error,
        tries=row.attempts,
        since=row.accepted_at.isoformat(),
        queue="inbox",
    )


def _from_rabbitmq(message: Message) -> DeadLetter:
    said = _said(message)
    requests, unreadable = read(said)
    alone = len(said) == 1 and not unreadable
    return DeadLetter(
        name=str(requests[0].id if alone else message.properties.get("correlation_id") or message.delivery_tag),
        said=said[0] if len(said) == 1 else said,
        request=requests[0] if alone else None,
        reason=str(message.headers.get(REASON, "")),
        tries=message.headers.get(TRIES, 0),
        since=str(message.headers.get(SINCE, "")),
        queue="holds",
        message=message,
    )


def _shard_of(request: HoldRequest) -> int:
    return shard_of(request.session, settings.SHARDS)


# --- The relay's side


def sweep(*, limit: int = SWEEP) -> int:
    """Move the requests of messages that RabbitMQ gave up into the inbox, one row each; return how many messages.

    Raises: OutOfReach, QueueDown, DatabaseError. Messages that aren't stored elsewhere by then are back in their queue.
    """
    swept = 0
    if settings.RABBITMQ_URL:
        with letters.channel_to(settings.RABBITMQ_URL) as channel:
            for message in Box(channel, queues.given_up()).take(limit):
                _sweep_message(message)
                with letters.reaching():
                    message.ack()
                swept += 1
    return swept


def _sweep_message(message: Message) -> None:
    if message.headers.get("task") == DRAIN:
        return  # it only wakes a worker; the inbox is looked after without it
    requests, unreadable = read(_said(message))
    suspicion = f"RabbitMQ gave up delivering it: {_why(message)}"
    log.warning("dead_letters.swept", requests=len(requests), unreadable=len(unreadable), why=suspicion)
    try:
        inbox.store(requests, shard_for=_shard_of, suspicion=suspicion)
    except UNSTORABLE:
        unreadable += _store_one_by_one(requests, suspicion)
    for one, error in unreadable:
        set_aside(one, reason=error, tries=0)


def _store_one_by_one(requests: Sequence[HoldRequest], suspicion: str) -> list[tuple[Any, str]]:
    """Store the requests one by one; return those that the inbox can't hold, with the reason."""
    refused: list[tuple[Any, str]] = []
    for request in requests:
        try:
            inbox.store([request], shard_for=_shard_of, suspicion=suspicion)
        except UNSTORABLE as error:
            refused.append((request.to_json(), repr(error)))
    return refused


def _why(message: Message) -> str:
    """Return RabbitMQ's reason: `delivery_limit`, `rejected`. https://www.rabbitmq.com/docs/dlx#effects"""
    deaths = message.headers.get("x-death") or [{}]
    return str(deaths[0].get("reason", "unknown"))


# --- RabbitMQ's queues


def _said(message: Message) -> list[Any]:
    """Return the requests of a message as they were published; the whole body where it holds none."""
    body = letters.content(message)
    match body:
        case [_arguments, {"requests": [*requests]}, *_embedded] if requests:
            return requests
        case _:
            return [body]
