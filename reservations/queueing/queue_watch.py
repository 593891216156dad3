"""Notice a queue that no worker drains: the broker has no consumer registered, or none of those reports.

`relay` looks, since it needs no worker. RabbitMQ tells how many consumers a queue has. A consumer that is registered
but held up doesn't report (`reservations.queueing.liveness`). Without Redis that is unknown, and RabbitMQ's count alone
decides. Valkey and Redis as broker know no consumers, so there the reports alone decide.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import kombu
import structlog
from amqp.exceptions import ChannelError
from django.conf import settings
from prometheus_client import Gauge

from realtime import relay
from reservations.claims.claims import NoClaims
from reservations.queueing import liveness
from reservations.queueing.letters import OutOfReach
from reservations.queueing.queues import PUBLISH_ERRORS

PATIENCE = 2.0  # seconds that a queue may be without a consumer, as while its only worker reconnects
EVENTS_FOR_MAIL = "events.mail"  # the worker of `mail` turns these into letters

MESSAGES = Gauge("frontrow_queue_messages", "Messages that wait in a queue.", ["queue"], multiprocess_mode="max")
AGE = Gauge(
    "frontrow_queue_age_seconds",
    "Seconds since a queue was last seen empty; no message in it is older.",
    ["queue"],
    multiprocess_mode="max",
)
CONSUMERS = Gauge(
    "frontrow_queue_consumers",
    "Consumers of a queue, as RabbitMQ counts them. With another broker: 1 while a worker reports, else 0.",
    ["queue"],
    multiprocess_mode="max",
)
UNDRAINED = Gauge(
    "frontrow_queue_undrained",
    "1 while no worker has consumed from a queue for some seconds, else 0.",
    ["queue"],
    multiprocess_mode="max",
)

log = structlog.get_logger(__name__)


class Count(NamedTuple):
    """The messages and consumers of a queue; `consumers` is None where the broker can't tell."""

    messages: int
    consumers: int | None


class QueueWatch:
    """Remember since when nothing consumes from a queue, and keep a connection to look through. For one thread."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._filled: dict[str, float] = {}  # since when a queue was not seen empty
        self._told: set[str] = set()
        self._connection: kombu.Connection | None = None

    def look(self) -> bool:
        """Count, and log each queue that became undrained or is drained again. Raises: OutOfReach."""
        counted, ages = self._count(), _ages()
        for name, found in counted.items():
            consumed = is_consumed(found, age=ages.get(_gives_word(name)), known=bool(ages))
            MESSAGES.labels(name).set(found.messages)
            AGE.labels(name).set(self._age(name, found))
            CONSUMERS.labels(name).set(consumed if found.consumers is None else found.consumers)
            self._note(name, found, consumed=consumed)
        return False

    def _age(self, name: str, found: Count) -> float:
        """Return how long the queue has not been empty: a bound on its messages' age, which RabbitMQ doesn't tell."""
        if not found.messages:
            self._filled.pop(name, None)
            return 0.0
        now = time.monotonic()
        return now - self._filled.setdefault(name, now)

    def _count(self) -> Mapping[str, Count]:
        self._connection = self._connection or relay.connect(settings.CELERY_BROKER_URL)
        try:
            return count(self._connection)
        except OutOfReach:
            self._connection.collect()
            self._connection = None
            raise

    def _note(self, name: str, found: Count, *, consumed: bool) -> None:
        if consumed:
            self._since.pop(name, None)
            if name in self._told:
                log.warning("queue.drained_again", queue=name, messages=found.messages)
                self._told.discard(name)
        else:
            since = self._since.setdefault(name, time.monotonic())
            if time.monotonic() - since >= PATIENCE and name not in self._told:
                tell = log.error if found.messages else log.warning  # no message waits: workers may be about to start
                tell("queue.undrained", queue=name, messages=found.messages, consumers=found.consumers)
                self._told.add(name)
        UNDRAINED.labels(name).set(name in self._told)


def is_consumed(found: Count, *, age: float | None, known: bool) -> bool:
    """Tell whether a worker consumes from a queue.

    `age` is that of the last report; `known` tells whether reports could be read at all.
    """
    if found.consumers == 0:
        return False
    if not known:
        return True
    return age is not None and age <= liveness.SILENT_AFTER["worker"]


def undrained() -> Mapping[str, int]:
    """Return the queues with waiting messages from which nothing consumes now, with their number.

    Raises: OutOfReach.
    """
    ages, connection = _ages(), relay.connect(settings.CELERY_BROKER_URL)
    try:
        counted = count(connection)
    finally:
        connection.collect()  # skips the broker's goodbye, which may never come
    return {
        name: found.messages
        for name, found in counted.items()
        if found.messages and not is_consumed(found, age=ages.get(_gives_word(name)), known=bool(ages))
    }


def count(connection: kombu.Connection) -> Mapping[str, Count]:
    """Count the messages and consumers of every queue that has workers, without changing anything.

    Raises: OutOfReach.
    """
    try:
        tells = connection.transport.driver_type == "amqp"
        return {name: _count(connection, name, tells=tells) for name in (*liveness.queues(), EVENTS_FOR_MAIL)}
    except (*PUBLISH_ERRORS, *connection.connection_errors) as error:
        raise OutOfReach(repr(error)) from error


def _count(connection: kombu.Connection, name: str, *, tells: bool) -> Count:
    """Count one queue; a queue that doesn't exist yet has neither messages nor consumers, and closes the channel."""
    connection.ensure_connection(max_retries=1, timeout=relay.DEADLINE, interval_start=0)
    channel = connection.channel()
    try:
        found = channel.queue_declare(f"{settings.KEY_PREFIX}.{name}", passive=True)
    except ChannelError:
        return Count(0, 0 if tells else None)
    finally:
        channel.close()
    return Count(found.message_count, found.consumer_count if tells else None)


def _ages() -> Mapping[str, float | None]:
    """Return the age of the last report of each queue's workers; empty when Redis can't be asked."""
    try:
        return liveness.queue_ages()
    except NoClaims:
        return {}


def _gives_word(queue: str) -> str:
    return "mail" if queue == EVENTS_FOR_MAIL else queue
