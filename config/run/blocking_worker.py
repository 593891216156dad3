"""Run a Celery worker that waits for messages in a blocking read, without Celery's event loop.

Celery 5.7's event loop delays a queued ack until its next timer, up to 2 s. With it we measured 190 allocated holds a
second and a p99 of 1.1 s; without it, 1,025 holds and 28 ms. Celery's own blocking loop sends no heartbeats for these
pools and needs 4.5 s to stop, so this module has its own loop.

Note [The connection that the loop began with]: RabbitMQ drops the connection of a worker that is held up for longer
than two heartbeats. `kombu.Connection.connection` then opens another one, which has neither channel nor consumer, and a
read from it waits for ever. So the loop reads from the connection of its own consumer, and ends with an error as soon
as that is gone. Celery's blueprint then makes connection, channel and consumers again.
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

LONGEST_READ = 0.5  # seconds; the longest delay of a stop signal, an ack or a heartbeat
LONGEST_PAUSE = 2.0  # seconds between two attempts to reach the broker; Celery's pauses grow to 30
REJOIN_WITHIN = 15.0  # seconds to consume again once the broker answers; after that a new process may do better
EXHAUSTED = 5.0  # seconds without a free thread in the pool
CANNOT_CONSUME = 75  # the exit code of a worker that cannot consume: EX_TEMPFAIL

log = structlog.get_logger(__name__)


class ConsumerGone(ConnectionError):
    """Report that the broker no longer knows the loop's consumer."""


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

    Tasks of the solo pool run inside the loop, so heartbeats wait for them. If a batch takes longer than two
    heartbeats, the worker loses its connection and the messages come again.
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
                # messages that have already arrived, at most the prefetch count
                transport.drain_events(wire, timeout=0)
        while came:
            for message in allocated_together(came):
                handle(message)
            consumer.finish()
        if heartbeat and connection.supports_heartbeats:
            transport.heartbeat_check(wire, rate=rate)


def require_consumer(transport: Any, wire: Any, task_consumer: Any) -> None:
    """Check that the loop's consumer exists, see Note [The connection that the loop began with].

    Raises: ConsumerGone.
    """
    if wire is None or not transport.verify_connection(wire):
        raise ConsumerGone("the broker's connection is lost")
    if task_consumer.channel is None or task_consumer.channel.connection is not wire:
        raise ConsumerGone("the channel is closed")


def is_heard(wire: Any, heartbeat: float) -> bool:
    """Tell whether the broker spoke within a heartbeat and a second. A broker without heartbeats always counts."""
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
        """Connect, and declare all kinds of queues: Celery binds all, and the first worker would miss some."""
        connection = super().connect()
        if settings.RABBITMQ_URL:
            for queue in self.app.amqp.queues.values():
                try:
                    with connection.channel() as channel:
                        queue(channel).declare()
                # it exists with other arguments: its own worker reports more
                except connection.channel_errors as error:
                    log.warning("queue.not_declared", queue=queue.name, error=type(error).__name__)
        return connection

    def ensure_connected(self, connection: Any) -> Any:
        """Try until the broker answers. Raises: WorkerShutdown, if it answers but the worker still has no consumer."""
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
        """Drop the connection even if kombu fails at it: its Redis channel wants to close a connection twice."""
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
        """Close the broker's connection from any thread, so that RabbitMQ gives the shards to another worker."""
        wire = getattr(self.connection, "_connection", None)
        sock = getattr(getattr(wire, "_transport", None), "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def call_soon_ack(self, acknowledge: Any, *arguments: Any) -> None:
        """Leave acks and rejects to the loop's own thread. Threads of the pool would write into each other's frames."""
        self._pending_operations.append(partial(self._acknowledge, acknowledge, *arguments))

    def _acknowledge(self, acknowledge: Any, logger: Any, _errors: Any, *rest: Any) -> None:
        """Acknowledge a message of this connection; earlier ones come again. Raises: connection errors."""
        if acknowledge.__self__.channel is self.task_consumer.channel:
            acknowledge(logger, (), *rest)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Send an unreadable message to the dead letters. Celery would acknowledge it."""
        log.error("worker.unreadable_message", error=type(exc).__name__, bytes=len(message.body))
        message.reject()

    def finish(self) -> None:
        """Acknowledge all finished messages. Raises: connection errors."""
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
