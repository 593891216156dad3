"""Where accepted requests wait: RabbitMQ, PostgreSQL's inbox with a doorbell, or nowhere (in-process, for tests and tiny set-ups)."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import kombu
import msgspec
import redis
import structlog
from amqp.exceptions import AMQPError
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from kombu import Exchange, Queue
from kombu.exceptions import KombuError

from base.breaker import Breaker, BreakerOpen
from realtime import relay
from reservations.hold_request import HoldRequest
from reservations.queueing import inbox, liveness
from sessions_app.models import shard_of

log = structlog.get_logger(__name__)

DECLARED_SECONDS = 5.0  # a broker that forgot its queues (a flushed Redis) is told again this soon
DELIVERY_LIMIT = 20
LOOKED_AT = (
    1_000_000  # how often what waits there may be looked at: RabbitMQ 4 drops it after 20 times unless told otherwise
)
JOBS = ("payments", *liveness.JOBS)
UNREACHABLE = (OSError, KombuError, AMQPError, redis.RedisError)
PUBLISH_ERRORS = (*UNREACHABLE, BreakerOpen)


class QueueDown(Exception):
    """The queue could not store the requests, except those that are `stored`. Of the `unsure` it may have some all the same."""

    code = "unavailable"

    def __init__(self, *said: str, stored: Collection[uuid.UUID] = (), unsure: Collection[uuid.UUID] = ()) -> None:
        super().__init__(*said)
        self.stored = frozenset(stored)
        self.unsure = frozenset(unsure)


class HoldQueue(Protocol):
    """Stores requests durably, in order, before it returns."""

    name: str

    @property
    def is_down(self) -> bool:
        """It failed a moment ago; no use trying."""

    def open_epoch(self, shards: Collection[int]) -> None:
        """What is published from now on is allocated after what waits in the inbox for these shards. Raises: QueueDown."""

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        """Raises: QueueDown."""


def by_shard(requests: Sequence[HoldRequest]) -> dict[int, list[HoldRequest]]:
    shards: dict[int, list[HoldRequest]] = defaultdict(list)
    for request in requests:
        shards[shard_of(request.session, settings.SHARDS)].append(request)
    return shards


class WorkQueue(Queue):
    """A queue with another one behind it, for messages that the broker gives up delivering.

    Every process that declares the one declares the other before: a dead-letter exchange that leads nowhere loses messages.
    """

    attrs = (*Queue.attrs, ("behind", None))

    def __init__(self, name: str = "", *arguments: Any, behind: Queue | None = None, **options: Any) -> None:
        super().__init__(name, *arguments, **options)
        self.behind = behind

    def queue_declare(self, nowait: bool = False, passive: bool = False, channel: Any = None) -> Any:
        if self.behind and not passive:
            self.behind(channel or self.channel).declare()
        return super().queue_declare(nowait=nowait, passive=passive, channel=channel)


def dead_letters() -> Queue:
    """Requests that fail alone, one a message, put there by allocation. They wait for a person."""
    return _dead("holds.dead", routing_key="letters")


def given_up() -> Queue:
    """Messages that RabbitMQ gave up delivering: a worker died with them too often, or refused them. `relay` sweeps them."""
    return _dead("holds.given_up", routing_key="holds.#")


def dead_jobs(name: str) -> Queue:
    """Messages of a queue of jobs that were given up, as they were. They wait for a person."""
    return _dead(f"{name}.given_up", routing_key=name)


def _dead(name: str, *, routing_key: str) -> Queue:
    return Queue(
        f"{settings.KEY_PREFIX}.{name}",
        Exchange(f"{settings.KEY_PREFIX}.dead", type="topic"),
        routing_key=routing_key,
        queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": LOOKED_AT},
    )


def holds_queue(shard: int) -> Queue:
    """One consumer at a time allocates a shard: that is what keeps first come, first served."""
    name = f"{settings.KEY_PREFIX}.holds.{shard}"
    return WorkQueue(
        name,
        Exchange(f"{settings.KEY_PREFIX}.work", type="topic"),
        routing_key=name,
        behind=given_up(),
        queue_arguments={
            "x-queue-type": "quorum",
            "x-single-active-consumer": True,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": given_up().exchange.name,
            "x-dead-letter-routing-key": f"holds.{shard}",
            "x-dead-letter-strategy": "at-least-once",  # by default a message may be lost on its way to `given_up`
            "x-overflow": "reject-publish",  # at-least-once wants it; no length is set
        },
    )


def jobs_queue(name: str) -> Queue:
    """Tasks say `queue="mail"`; on the broker it carries the installation's prefix."""
    return WorkQueue(
        f"{settings.KEY_PREFIX}.{name}",
        Exchange(f"{settings.KEY_PREFIX}.work", type="topic"),
        routing_key=f"{settings.KEY_PREFIX}.{name}",
        alias=name,
        **what_becomes_of_the_dead(name),
    )


def what_becomes_of_the_dead(job: str) -> dict[str, Any]:
    """Options of a `WorkQueue` whose messages wait among the given up ones of a queue of jobs."""
    return {
        "behind": dead_jobs(job),
        "queue_arguments": {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": dead_jobs(job).exchange.name,
            "x-dead-letter-routing-key": job,
        },
    }


class Courier:
    """Publishes Celery messages, confirmed, from one thread at a time, with deadlines on every socket operation.

    Everything in this process that publishes a message shares its breaker. See Note [Who asks whether a dependency is back].
    """

    def __init__(self, url: str) -> None:
        self._seconds = settings.BROKER_TIMEOUT_MS / 1000
        self._lock = threading.Lock()
        self._connect = functools.partial(relay.connect, url, deadline=self._seconds, confirm=True)
        self._connection = self._connect()
        self._is_rabbitmq = url.startswith("amqp")
        self._producer: kombu.Producer | None = None
        self._declared: dict[str, float] = {}
        self.breaker = Breaker("broker", errors=UNREACHABLE, probe=self._probe)

    def send(self, task: str, queue: Queue, *, headers: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        """`headers`: beside Celery's own; `arguments`: what msgspec can write as JSON.

        Raises: what PUBLISH_ERRORS lists; the message may then still have arrived, unless it is BreakerOpen.
        """
        if self.breaker.is_open:  # nobody waits for the lock, which a send that still fails may have
            raise BreakerOpen(self.breaker.name)
        with self._lock, self.breaker:
            try:
                self._send(task, queue, arguments, headers or {})
            except Exception:
                self._hang_up()
                raise

    def _probe(self) -> None:
        """Connect anew, and have RabbitMQ confirm a message that goes nowhere: under a disk alarm it lets in connections, but no message.

        The connection stays, for the next message; nobody who sends waits meanwhile.
        """
        connection = self._connect()
        try:
            producer = _producer_on(connection)
            if self._is_rabbitmq:
                nowhere = f"{settings.KEY_PREFIX}.nowhere"
                producer.publish(b"", exchange="", routing_key=nowhere, retry=False, timeout=self._seconds)
        except Exception:
            connection.collect(socket_timeout=self._seconds)
            raise
        with self._lock:
            self._hang_up()
            self._connection, self._producer = connection, producer

    def _open(self) -> kombu.Producer:
        if self._producer is None:
            self._producer = _producer_on(self._connection)
        return self._producer

    def _send(self, task: str, queue: Queue, arguments: dict[str, Any], headers: Mapping[str, Any]) -> None:
        producer = self._open()
        if time.monotonic() - self._declared.get(queue.name, -DECLARED_SECONDS) >= DECLARED_SECONDS:
            queue(producer.channel).declare()
            self._declared[queue.name] = time.monotonic()
        identity = str(uuid.uuid4())
        producer.publish(
            # Celery's message protocol, version 2: https://docs.celeryq.dev/en/stable/internals/protocol.html
            _as_json([[], arguments, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]),
            content_type="application/json",
            content_encoding="utf-8",
            headers={
                **headers,
                "lang": "py",
                "task": task,
                "id": identity,
                "root_id": identity,
                "parent_id": None,
                "group": None,
                "retries": 0,
                "ignore_result": True,
            },
            correlation_id=identity,
            exchange=queue.exchange,
            routing_key=queue.routing_key,
            delivery_mode=2,
            mandatory=True,  # without it an unroutable message is confirmed
            retry=False,
            timeout=self._seconds,
        )

    def close(self) -> None:
        """The next message opens a connection anew."""
        with self._lock:
            self._hang_up()

    def _hang_up(self) -> None:
        """Without the broker's goodbye, which may never come."""
        self._producer = None
        self._declared.clear()
        self._connection.collect(socket_timeout=self._seconds)


def _producer_on(connection: kombu.Connection) -> kombu.Producer:
    return connection.Producer(connection.default_channel, auto_declare=False)


def _as_json(message: Any) -> bytes:
    """What msgspec refuses is half a surrogate pair, which somebody else's dead letter may carry: that is escaped."""
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(message)).encode()


@functools.cache
def _courier_of(_pid: int) -> Courier:
    return Courier(settings.CELERY_BROKER_URL)


def courier() -> Courier:
    """This process's own, also after a fork."""
    return _courier_of(os.getpid())


def _ring(shard: int) -> None:
    courier().send("reservations.tasks.drain", holds_queue(shard), shard=shard)


class RabbitQueue:
    name = "rabbitmq"

    @property
    def is_down(self) -> bool:
        return courier().breaker.is_open

    def open_epoch(self, shards: Collection[int]) -> None:
        """A shard has one consumer, which takes its messages in order: the order to drain goes ahead."""
        try:
            for shard in shards:
                _ring(shard)
        except PUBLISH_ERRORS as error:
            raise QueueDown from error

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        stored: set[uuid.UUID] = set()
        for shard, asked in by_shard(requests).items():
            names = {request.id for request in asked}
            try:
                courier().send("reservations.tasks.settle", holds_queue(shard), requests=asked)
            except PUBLISH_ERRORS as error:
                raise QueueDown(stored=stored, unsure=() if isinstance(error, BreakerOpen) else names) from error
            stored |= names


class Doorbell:
    """Tells the workers, from a thread of its own, that a shard's inbox has something for them.

    A request that was stored must not wait for that. Several rings for a shard that are not told yet are one. While the broker is away
    nothing is told: `relay` looks into the inbox by itself.
    """

    def __init__(self) -> None:
        self._shards: set[int] = set()
        self._rung = threading.Condition()
        threading.Thread(target=self._run, name="doorbell", daemon=True).start()

    def ring(self, shard: int) -> None:
        with self._rung:
            self._shards.add(shard)
            self._rung.notify()

    def _run(self) -> None:
        while True:
            with self._rung:
                self._rung.wait_for(lambda: self._shards)
                shards, self._shards = self._shards, set()
            for shard in shards:
                try:
                    _ring(shard)
                except BreakerOpen:
                    pass  # the breaker has said so
                except PUBLISH_ERRORS as error:
                    log.info("doorbell.silent", shard=shard, error=repr(error))
                except Exception:
                    log.exception("doorbell.failed", shard=shard)


class InboxQueue:
    """Durable in PostgreSQL; the broker only rings. A doorbell that nobody hears is made up for by `relay`."""

    name = "inbox"
    is_down = False

    def __init__(self) -> None:
        self._bell = Doorbell()

    def open_epoch(self, shards: Collection[int]) -> None:
        """It allocates in order of arrival as it is."""

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        """A connection that breaks in the middle leaves open whether they are stored. Storing them again is harmless, and tells."""
        try:
            connection.ensure_connection()
        except DatabaseError as error:
            raise QueueDown from error
        try:
            self._store(requests)
        except DatabaseError as error:
            if connection.is_usable():  # PostgreSQL said no
                raise QueueDown from error
            self._store_again(requests)
        for shard in by_shard(requests):
            self.ring(shard)

    def _store_again(self, requests: Sequence[HoldRequest]) -> None:
        connection.close()
        try:
            self._store(requests)
        except DatabaseError as error:
            raise QueueDown(unsure=[request.id for request in requests]) from error

    def _store(self, requests: Sequence[HoldRequest]) -> None:
        inbox.store(requests, shard_for=lambda request: shard_of(request.session, settings.SHARDS))

    def ring(self, shard: int) -> None:
        self._bell.ring(shard)


class InProcessQueue:
    """Allocates at once, in the caller. For tests and set-ups without workers."""

    name = "in_process"
    is_down = False

    def __init__(self, allocate: Callable[[Sequence[HoldRequest]], object]) -> None:
        self._allocate = allocate

    def open_epoch(self, shards: Collection[int]) -> None:
        """Nobody waits."""

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        self._allocate(requests)
