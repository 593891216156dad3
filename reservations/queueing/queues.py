"""Store accepted requests in RabbitMQ, in PostgreSQL's inbox with a doorbell, or allocate them at once in-process.

The last is for tests and tiny set-ups.
"""

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
from realtime.broker import is_rabbitmq
from reservations.hold_request import HoldRequest
from reservations.queueing import inbox, liveness
from sessions_app.models import shard_of

log = structlog.get_logger(__name__)

DECLARED_SECONDS = 5.0  # a broker that forgot its queues (a flushed Redis) gets them declared again this soon
DELIVERY_LIMIT = 20
# How often a waiting message may be looked at: RabbitMQ 4 drops it after 20 times unless told otherwise.
LOOKED_AT = 1_000_000
JOBS = ("payments", *liveness.JOBS)
UNREACHABLE = (OSError, KombuError, AMQPError, redis.RedisError)
PUBLISH_ERRORS = (*UNREACHABLE, BreakerOpen)


class QueueDown(Exception):
    """The queue could not store the requests, except those that are `stored`.

    It may have the `unsure` ones all the same.
    """

    code = "unavailable"

    def __init__(self, *said: str, stored: Collection[uuid.UUID] = (), unsure: Collection[uuid.UUID] = ()) -> None:
        super().__init__(*said)
        self.stored = frozenset(stored)
        self.unsure = frozenset(unsure)


class HoldQueue(Protocol):
    """A queue that stores requests durably, in order, before it returns."""

    name: str

    @property
    def is_down(self) -> bool:
        """Tell whether the queue failed a moment ago, so that a try is useless."""

    def open_epoch(self, shards: Collection[int]) -> None:
        """Have all that is published from now on allocated after the requests in these shards' inbox.

        Raises: QueueDown.
        """

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        """Store the requests. Raises: QueueDown."""


def by_shard(requests: Sequence[HoldRequest]) -> dict[int, list[HoldRequest]]:
    shards: dict[int, list[HoldRequest]] = defaultdict(list)
    for request in requests:
        shards[shard_of(request.session, settings.SHARDS)].append(request)
    return shards


class WorkQueue(Queue):
    """A queue with another one behind it, for messages that the broker gives up delivering.

    Every process that declares the one declares the other before: a dead-letter exchange that leads nowhere loses
    messages.
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
    """Return the queue of requests that fail alone. Allocation puts them there, one a message, for a person."""
    return _dead("holds.dead", routing_key="letters")


def given_up() -> Queue:
    """Return the queue of messages that RabbitMQ gave up delivering; `relay` sweeps it.

    A worker died with them too often, or refused them.
    """
    return _dead("holds.given_up", routing_key="holds.#")


def dead_jobs(name: str) -> Queue:
    """Return the queue of given up messages of a queue of jobs; they wait there unchanged for a person."""
    return _dead(f"{name}.given_up", routing_key=name)


def _dead(name: str, *, routing_key: str) -> Queue:
    return Queue(
        f"{settings.KEY_PREFIX}.{name}",
        Exchange(f"{settings.KEY_PREFIX}.dead", type="topic"),
        routing_key=routing_key,
        queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": LOOKED_AT},
    )


def holds_queue(shard: int) -> Queue:
    """Return a shard's queue. One consumer at a time allocates a shard: that keeps first come, first served."""
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
            "x-overflow": "reject-publish",  # at-least-once requires it; no length is set
        },
    )


def jobs_queue(name: str) -> Queue:
    """Return a queue of jobs. Tasks say `queue="mail"`; on the broker it has the installation's prefix."""
    return WorkQueue(
        f"{settings.KEY_PREFIX}.{name}",
        Exchange(f"{settings.KEY_PREFIX}.work", type="topic"),
        routing_key=f"{settings.KEY_PREFIX}.{name}",
        alias=name,
        **what_becomes_of_the_dead(name),
    )


def what_becomes_of_the_dead(job: str) -> dict[str, Any]:
    """Return the options of a `WorkQueue` whose dead messages wait among the given up ones of a queue of jobs."""
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
    """Publish Celery messages, confirmed, from one thread at a time, with deadlines on every socket operation.

    Every publisher in this process shares its breaker. See Note [Who asks whether a dependency is back].
    """

    def __init__(self, url: str) -> None:
        self._seconds = settings.BROKER_TIMEOUT_MS / 1000
        self._lock = threading.Lock()
        self._connect = functools.partial(relay.connect, url, deadline=self._seconds, confirm=True)
        self._connection = self._connect()
        self._is_rabbitmq = is_rabbitmq(url)
        self._producer: kombu.Producer | None = None
        self._declared: dict[str, float] = {}
        self.breaker = Breaker("broker", errors=UNREACHABLE, probe=self._probe)

    def send(self, task: str, queue: Queue, *, headers: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        """Publish a task message.

        `headers` are beside Celery's own; `arguments` are values that msgspec writes as JSON.

        Raises: PUBLISH_ERRORS; the message may then still have arrived, unless it is BreakerOpen.
        """
        if self.breaker.is_open:  # don't wait for the lock: a failing send may hold it
            raise BreakerOpen(self.breaker.name)
        with self._lock, self.breaker:
            try:
                self._send(task, queue, arguments, headers or {})
            except Exception:
                self._hang_up()
                raise

    def _probe(self) -> None:
        """Connect anew, and have RabbitMQ confirm a message that goes nowhere.

        Under a disk alarm it accepts connections, but no message. The connection stays, for the next message; no sender
        waits meanwhile.
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
        """Hang up; the next message opens a new connection."""
        with self._lock:
            self._hang_up()

    def _hang_up(self) -> None:
        """Hang up without the broker's goodbye, which may never come."""
        self._producer = None
        self._declared.clear()
        self._connection.collect(socket_timeout=self._seconds)


def _producer_on(connection: kombu.Connection) -> kombu.Producer:
    return connection.Producer(connection.default_channel, auto_declare=False)


def _as_json(message: Any) -> bytes:
    """Encode the message; escape half a surrogate pair, which msgspec refuses and a foreign dead letter may carry."""
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(message)).encode()


@functools.cache
def _courier_of(_pid: int) -> Courier:
    return Courier(settings.CELERY_BROKER_URL)


def courier() -> Courier:
    """Return the courier of this process, also after a fork."""
    return _courier_of(os.getpid())


def _ring(shard: int) -> None:
    courier().send("reservations.tasks.drain", holds_queue(shard), shard=shard)


class RabbitQueue:
    name = "rabbitmq"

    @property
    def is_down(self) -> bool:
        return courier().breaker.is_open

    def open_epoch(self, shards: Collection[int]) -> None:
        """Put the order to drain ahead in each shard's queue: its one consumer takes messages in order."""
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
    """Tell the workers, from a thread of its own, that a shard's inbox has requests for them.

    The request that was stored doesn't wait for that. Several rings for a shard become one until it is told. While the
    broker is away nothing is told: `relay` looks into the inbox by itself.
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
                    pass  # the breaker has logged it
                except PUBLISH_ERRORS as error:
                    log.info("doorbell.silent", shard=shard, error=repr(error))
                except Exception:
                    log.exception("doorbell.failed", shard=shard)


class InboxQueue:
    """A durable queue in PostgreSQL; the broker only rings. `relay` makes up for a doorbell that no worker hears."""

    name = "inbox"
    is_down = False

    def __init__(self) -> None:
        self._bell = Doorbell()

    def open_epoch(self, shards: Collection[int]) -> None:
        """Do nothing: the inbox is allocated in order of arrival as it is."""

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        """Store the requests.

        If the connection breaks in between, store them again: that is harmless, and tells whether it worked.
        """
        try:
            connection.ensure_connection()
        except DatabaseError as error:
            raise QueueDown from error
        try:
            self._store(requests)
        except DatabaseError as error:
            if connection.is_usable():  # PostgreSQL refused
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
    """Allocate at once, in the caller. For tests and set-ups without workers."""

    name = "in_process"
    is_down = False

    def __init__(self, allocate: Callable[[Sequence[HoldRequest]], object]) -> None:
        self._allocate = allocate

    def open_epoch(self, shards: Collection[int]) -> None:
        """Do nothing: no request waits."""

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        self._allocate(requests)
