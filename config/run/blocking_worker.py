"""A Celery worker that waits for messages in a blocking read, without Celery's event loop.

Celery 5.7's event loop leaves a queued ack lying until its next timer, up to 2 s: 190 allocated holds a second with a
p99 of 1.1 s, against 1,025 and 28 ms without it. Its own blocking loop sends no heartbeats for these pools and needs
4.5 s to stop, hence this one.

Note [The connection that the loop began with]: RabbitMQ drops the connection of a worker that is held up for longer than
two heartbeats. `kombu.Connection.connection` then opens another one, which has neither channel nor consumer, and
whoever reads from that waits for ever. So the loop reads from the connection of its own consumer, and ends with an
error as soon as that is gone; Celery's blueprint then makes connection, channel and consumers anew.
"""

import socket
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from celery.apps.worker import Worker
from celery.bootsteps import RUN
from celery.exceptions import WorkerShutdown
from celery.worker import state
from celery.worker.consumer import Consumer
from django.conf import settings
from kombu.message import Message

from reservations.queueing import liveness
from reservations.tasks import allocated_together

LONGEST_READ = 0.5  # seconds until a signal to stop, an ack or a heartbeat has its turn
LONGEST_PAUSE = 2.0  # seconds between two tries to reach the broker; Celery's grow to 30
REJOIN_WITHIN = 15.0  # seconds to consume again once the broker answers; a new process may do better then
EXHAUSTED = 5.0  # seconds that no thread of a pool became free
CANNOT_CONSUME = 75  # the exit code then: EX_TEMPFAIL

log = structlog.get_logger(__name__)


class ConsumerGone(ConnectionError):
    """The broker no longer knows the loop's consumer."""


def blocking_loop(
    consumer: Any,
    connection: Any,
    task_consumer: Any,
    blueprint: Any,
    _hub: None,
    qos: Any,
    heartbeat: float,
    _clock: Any,
    rate: float = 2.0,
    **_newer: Any,
) -> None:
    """Receive and hand out messages until the worker stops. Raises: connection errors, when its consumer is gone.

    Tasks of the solo pool run inside the loop, so a heartbeat waits for them: a batch that takes longer than two of
    them loses its connection, and its messages come again.
    """
    handle = consumer.create_task_handler()
    came: deque[Message] = deque()
    task_consumer.on_message = came.append
    task_consumer.consume()
    consumer.on_ready()
    transport, wire = connection.transport, task_consumer.channel.connection
    while blueprint.state == RUN and consumer.connection:
        consumer.finish()
        state.maybe_shutdown()
        require_consumer(transport, wire, task_consumer)
        if consumer.takes_work() and is_heard(wire, heartbeat):
            liveness.consumes(task_consumer_queues(task_consumer))
        if qos.prev != qos.value:
            qos.update()
        with suppress(TimeoutError):
            transport.drain_events(wire, timeout=LONGEST_READ)
            while came:
                transport.drain_events(wire, timeout=0)  # what else is here already, at most the prefetch count
        while came:
            for message in allocated_together(came):
                handle(message)
            consumer.finish()
        if heartbeat and connection.supports_heartbeats:
            transport.heartbeat_check(wire, rate=rate)


def require_consumer(transport: Any, wire: Any, task_consumer: Any) -> None:
    """Raises: ConsumerGone. See Note [The connection that the loop began with]."""
    if wire is None or not transport.verify_connection(wire):
        raise ConsumerGone("the broker's connection is lost")
    if task_consumer.channel is None or task_consumer.channel.connection is not wire:
        raise ConsumerGone("the channel is closed")


def is_heard(wire: Any, heartbeat: float) -> bool:
    """Tell whether the broker spoke within a heartbeat and a second; brokers without heartbeats always count."""
    heard = getattr(wire, "last_heartbeat_received", 0)
    return not heartbeat or not heard or bool(time.monotonic() - heard < heartbeat + 1)


def task_consumer_queues(task_consumer: Any) -> list[str]:
    return [queue.alias or queue.name for queue in task_consumer.queues]


class BlockingConsumer(Consumer):
    loop = staticmethod(blocking_loop)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.amqheartbeat = self.app.conf.broker_heartbeat  # Celery's is 0 here: its blocking loop sends none
        self._rejoining_since: float | None = None

    def connect(self) -> Any:
        """Connect, and make the queues of every kind of worker: Celery binds them all, and one that starts first would find them missing."""
        connection = super().connect()
        if settings.RABBITMQ_URL:
            for queue in self.app.amqp.queues.values():
                try:
                    with connection.channel() as channel:
                        queue(channel).declare()
                except connection.channel_errors as error:  # it is there, made otherwise: its own worker says more
                    log.warning("queue.not_declared", queue=queue.name, error=type(error).__name__)
        return connection

    def ensure_connected(self, connection: Any) -> Any:
        """Try until the broker answers. Raises: WorkerShutdown, when it does and there is no consumer all the same."""
        connection.ensure_connection(
            self._note_absence,
            interval_start=0.5,
            interval_step=0.5,
            interval_max=LONGEST_PAUSE,
            callback=state.maybe_shutdown,
        )
        now = time.monotonic()
        self._rejoining_since = self._rejoining_since or now
        if now - self._rejoining_since > REJOIN_WITHIN:
            log.critical("worker.cannot_consume", seconds=round(now - self._rejoining_since))
            raise WorkerShutdown(CANNOT_CONSUME)
        self.first_connection_attempt = False
        return connection

    def _note_absence(self, error: Exception, pause: float) -> None:
        self._rejoining_since = None
        liveness.note_progress()
        log.warning("worker.no_broker", error=type(error).__name__, again_in=pause)

    def on_connection_error_after_connected(self, error: Exception) -> None:
        """Drop the connection, whatever kombu makes of that: its Redis channel wants a connection to be closed a second time."""
        try:
            super().on_connection_error_after_connected(error)
        except AttributeError:
            if self.connection is not None:
                raise

    def takes_work(self) -> bool:
        """Tell whether a message that comes now will soon have a thread to run in."""
        self._rejoining_since = None
        exhausted = getattr(self.pool, "seconds_exhausted", None)  # the solo pool runs its tasks in the loop
        return exhausted is None or bool(exhausted() < EXHAUSTED)

    def hang_up(self) -> None:
        """Close the broker's connection, from any thread: RabbitMQ then gives the shards to a worker that isn't held up."""
        wire = getattr(self.connection, "_connection", None)
        sock = getattr(getattr(wire, "_transport", None), "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def call_soon_ack(self, acknowledge: Any, *arguments: Any) -> None:
        """Leave acks and rejects to the loop's own thread: those of the pool would write into each other's frames."""
        self._pending_operations.append(partial(self._acknowledge, acknowledge, *arguments))

    def _acknowledge(self, acknowledge: Any, logger: Any, _errors: Any, *rest: Any) -> None:
        """Raises: connection errors, where Celery only logs them. What an earlier connection brought comes again anyhow."""
        if acknowledge.__self__.channel is self.task_consumer.channel:
            acknowledge(logger, (), *rest)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Leave a message that can't be read to the dead letters, where Celery would acknowledge it."""
        log.error("worker.unreadable_message", error=type(exc).__name__, bytes=len(message.body))
        message.reject()

    def finish(self) -> None:
        """Acknowledge what is done. Raises: connection errors."""
        while self._pending_operations:
            operation = self._pending_operations.popleft()
            try:
                operation()
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Exception:
                log.exception("worker.operation_failed")


class BlockingWorker(Worker):
    def should_use_eventloop(self) -> bool:
        return False

    def setup_defaults(self, **options: Any) -> None:
        super().setup_defaults(**options | {"consumer_cls": BlockingConsumer})
