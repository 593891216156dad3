"""Requests that could not be settled: in RabbitMQ's dead-letter queue, or in PostgreSQL's inbox where that is the line.

Note [Two queues behind the line]
What the settling finds to be poison it puts into `dead_letters()` itself, one request a message, with the reason: that waits
for a person. What RabbitMQ gives up delivering goes to `given_up()`: whole messages, mostly of innocent neighbours, which
`relay` sweeps into the inbox. In one queue the sweep would have to take out and put back a person's letters each time.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal

import msgspec
import structlog
from django.conf import settings
from django.utils import timezone
from kombu import Message, Queue
from kombu.exceptions import KombuError

from realtime import relay
from reservations import inbox, lines, metrics, operations
from reservations.hold_request import UNREADABLE, HoldRequest
from reservations.inbox import UNSTORABLE
from reservations.lines import PUBLISH_ERRORS, LineDown
from reservations.models import InboxRequest, Reservation
from sessions_app.models import shard_of

log = structlog.get_logger(__name__)

MOST = 1_000  # letters looked at in one go
SWEEP = 50  # messages of one round
SETTLE = "reservations.tasks.settle"
DRAIN = "reservations.tasks.drain"
REASON, TRIES, SINCE = "frontrow-reason", "frontrow-tries", "frontrow-since"  # headers of a letter
DROPPED = "failed"  # the reason that a buyer reads


class OutOfReach(Exception):
    """RabbitMQ is away, or silent. Whatever was taken out of a queue goes back into it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """`name`: its request's id, or its message's where the request can't be read; `said`: the request as it was published.

    `since`: when it was given up; in the inbox, when it was accepted.
    """

    name: str
    said: Any
    request: HoldRequest | None
    reason: str
    tries: int
    since: str
    place: Literal["rabbitmq", "inbox"]
    message: Message | None = None  # it is out of its queue until it is acknowledged or the pile is closed

    def take_out(self) -> None:
        """Of RabbitMQ, for good; out of the inbox whoever settles it takes it. Raises: OutOfReach."""
        if self.message is not None:
            with _reaching():
                self.message.ack()


@dataclasses.dataclass(slots=True)
class Pile:
    """The dead letters at hand. `missing`: why those in RabbitMQ aren't; `more`: how many lie there beside these."""

    letters: list[DeadLetter]
    missing: str = ""
    more: int = 0

    def named(self, names: Collection[str]) -> list[DeadLetter]:
        return [letter for letter in self.letters if letter.name in names]


# --- The settling's side


def settle_message(said: Sequence[Any]) -> None:
    """Settle the requests of a message; each that is poison, or can't be read, becomes a dead letter. Raises: LineDown."""
    requests, unreadable = _read(said)
    try:
        operations.settle_however_long(requests)
    except operations.Poison as poison:
        for failure in poison.failures:
            _send(failure.request.to_json(), reason=failure.reason, tries=failure.tries)
    for one, error in unreadable:
        _send(one, reason=error, tries=1)


def _read(said: Sequence[Any]) -> tuple[list[HoldRequest], list[tuple[Any, str]]]:
    """The requests; and what isn't one, with the reason."""
    requests, unreadable = [], []
    for one in said:
        try:
            requests.append(HoldRequest.from_json(one))
        except UNREADABLE as error:
            unreadable.append((one, f"can't be read: {error!r}"))
    return requests, unreadable


def _send(said: Any, *, reason: str, tries: int) -> None:
    """Confirmed by the broker. Raises: LineDown."""
    headers = {REASON: reason[:500], TRIES: tries, SINCE: timezone.now().isoformat()}
    try:
        lines.courier().send(SETTLE, lines.dead_letters(), headers=headers, requests=[said])
    except PUBLISH_ERRORS as error:
        raise LineDown(repr(error)) from error


# --- A person's side


@contextmanager
def pile() -> Iterator[Pile]:
    """All that wait for a person, of RabbitMQ's at most `MOST`; those are out of their queue until this closes."""
    here = Pile([_from_inbox(row) for row in inbox.left_for_a_person()])
    with ExitStack() as stack:
        if settings.RABBITMQ_URL:
            try:
                box = _Box(stack.enter_context(_rabbitmq()), lines.dead_letters())
                here.letters += map(_from_rabbitmq, box.take(MOST))
                here.more = len(box)
            except OutOfReach as error:
                here.missing = str(error)
        yield here


def requeue(letter: DeadLetter) -> bool:
    """Back into line, through the inbox; false where it can't be read. Again is harmless. Raises: OutOfReach."""
    if letter.request is None:
        return False
    with suppress(*UNSTORABLE):
        inbox.store([letter.request], shard_for=_shard_of, suspicion=letter.reason or "requeued")
        inbox.put_back([letter.request.id])
        letter.take_out()
        return True
    return False


def drop(letter: DeadLetter) -> Reservation | None:
    """Settle its request as rejected, so that its buyer is told; where that can't be, None. Raises: OutOfReach."""
    refused = operations.refuse(letter.request, reason=DROPPED) if letter.request else None
    if letter.request is None and letter.place == "inbox":
        inbox.forget(uuid.UUID(letter.name))
    letter.take_out()
    log.warning("dead_letter.dropped", reservation=letter.name, status=refused.status if refused else None)
    return refused


def count_waiting() -> dict[str, int]:
    """How many letters wait for a person, and how many messages for the sweep, by place. Raises: OutOfReach, once the inbox is counted."""
    waiting = {"inbox": inbox.left_for_a_person().count()}
    metrics.dead_letters.labels("inbox").set(waiting["inbox"])
    return waiting | count_in_rabbitmq()


def count_in_rabbitmq() -> dict[str, int]:
    """Raises: OutOfReach."""
    if not settings.RABBITMQ_URL:
        return {}
    with _rabbitmq() as channel:
        waiting = {queue.name: len(_Box(channel, queue)) for queue in (lines.dead_letters(), lines.given_up())}
    metrics.dead_letters.labels("rabbitmq").set(waiting[lines.dead_letters().name])
    return waiting


def _from_inbox(row: InboxRequest) -> DeadLetter:
    (requests, _unreadable) = _read([row.request])
    return DeadLetter(
        name=str(row.pk),
        said=row.request,
        request=msgspec.structs.replace(requests[0], id=row.pk, buyer=row.buyer) if requests else None,
        reason=row.error,
        tries=row.attempts,
        since=row.accepted_at.isoformat(),
        place="inbox",
    )


def _from_rabbitmq(message: Message) -> DeadLetter:
    said = _said(message)
    requests, unreadable = _read(said)
    alone = len(said) == 1 and not unreadable
    return DeadLetter(
        name=str(requests[0].id if alone else message.properties.get("correlation_id") or message.delivery_tag),
        said=said[0] if len(said) == 1 else said,
        request=requests[0] if alone else None,
        reason=str(message.headers.get(REASON, "")),
        tries=message.headers.get(TRIES, 0),
        since=str(message.headers.get(SINCE, "")),
        place="rabbitmq",
        message=message,
    )


def _shard_of(request: HoldRequest) -> int:
    return shard_of(request.session, settings.SHARDS)


# --- The relay's side


def sweep(*, limit: int = SWEEP) -> int:
    """Put the requests of messages that RabbitMQ gave up into the inbox, each a row of its own; how many messages.

    Raises: OutOfReach, LineDown, DatabaseError. What isn't safe elsewhere by then is back in its queue.
    """
    swept = 0
    if settings.RABBITMQ_URL:
        with _rabbitmq() as channel:
            for message in _Box(channel, lines.given_up()).take(limit):
                _sweep_message(message)
                with _reaching():
                    message.ack()
                swept += 1
    return swept


def _sweep_message(message: Message) -> None:
    if message.headers.get("task") == DRAIN:
        return  # a doorbell; the inbox is looked after without it
    requests, unreadable = _read(_said(message))
    suspicion = f"RabbitMQ gave up delivering it: {_why(message)}"
    log.warning("dead_letters.swept", requests=len(requests), unreadable=len(unreadable), why=suspicion)
    try:
        inbox.store(requests, shard_for=_shard_of, suspicion=suspicion)
    except UNSTORABLE:
        unreadable += _store_one_by_one(requests, suspicion)
    for one, error in unreadable:
        _send(one, reason=error, tries=0)


def _store_one_by_one(requests: Sequence[HoldRequest], suspicion: str) -> list[tuple[Any, str]]:
    """Those that the inbox can't hold, with the reason."""
    refused: list[tuple[Any, str]] = []
    for request in requests:
        try:
            inbox.store([request], shard_for=_shard_of, suspicion=suspicion)
        except UNSTORABLE as error:
            refused.append((request.to_json(), repr(error)))
    return refused


def _why(message: Message) -> str:
    """As RabbitMQ says it: `delivery_limit`, `rejected`. https://www.rabbitmq.com/docs/dlx#effects"""
    deaths = message.headers.get("x-death") or [{}]
    return str(deaths[0].get("reason", "unknown"))


# --- RabbitMQ's queues


def _said(message: Message) -> list[Any]:
    """The requests of a message as they were published; the whole body where it holds none."""
    try:
        body = message.payload
    except (KombuError, ValueError):
        body = message.body.decode(errors="replace") if isinstance(message.body, bytes) else message.body
    match body:
        case [_arguments, {"requests": [*requests]}, *_embedded] if requests:
            return requests
        case _:
            return [body]


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except PUBLISH_ERRORS as error:
        raise OutOfReach(repr(error)) from error


@contextmanager
def _rabbitmq() -> Iterator[Any]:
    """A channel. What is taken through it and not acknowledged is back in its queue when it closes. Raises: OutOfReach."""
    connection = relay.connect(settings.RABBITMQ_URL)
    try:
        with _reaching():
            channel = connection.default_channel
        yield channel
    finally:
        try:
            connection.release()
        except PUBLISH_ERRORS:
            connection.collect()


class _Box:
    """A queue behind the line. Its methods raise OutOfReach."""

    def __init__(self, channel: Any, queue: Queue) -> None:
        self._queue = queue(channel)
        with _reaching():
            self._queue.declare()

    def take(self, limit: int) -> Iterator[Message]:
        for _message in range(limit):
            with _reaching():
                message = self._queue.get(accept=["json"])
            if message is None:
                return
            yield message

    def __len__(self) -> int:
        """How many lie in it, without those that somebody has taken."""
        with _reaching():
            counted: int = self._queue.queue_declare(passive=True).message_count
        return counted
