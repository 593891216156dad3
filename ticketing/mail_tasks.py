"""Carry events to the mail server: a queue of events, a task for each with retries, and dead letters."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, bootsteps, shared_task
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone
from kombu import Consumer, Producer, Queue, binding
from kombu.exceptions import KombuError

from realtime import relay
from reservations.queueing import queues
from reservations.queueing.letters import CAME_FROM, REASON, SINCE, TRIES
from ticketing.letters import mail

PREFETCH = 20

log = structlog.get_logger(__name__)


def events_queue() -> Queue:
    """Return the queue with all events that cause letters."""
    exchange = relay.exchange()
    return queues.WorkQueue(
        f"{settings.KEY_PREFIX}.events.mail",
        bindings=[binding(exchange, routing_key=kind) for kind in mail.LETTERS],
        **queues.what_becomes_of_the_dead("mail"),
    )


class MailTask(Task):
    """Retry by itself. A task that still fails goes to the dead letters, on any broker."""

    abstract = True
    autoretry_for = (OSError, OperationalError)  # SMTPException is an OSError
    max_retries = 5
    retry_backoff = 30  # seconds, doubled at each retry
    retry_backoff_max = 600
    retry_jitter = True

    def on_failure(self, exc: Exception, _task_id: str, _args: Any, kwargs: dict[str, Any], _einfo: Any) -> None:
        event, error = kwargs["event"], type(exc).__name__
        log.error("mail.given_up", event_id=event.get("id"), kind=event.get("event"), error=error)
        with self.app.producer_or_acquire() as producer:
            give_up(producer, event, reason=error, tries=self.request.retries + 1)


def give_up(producer: Producer, said: Any, *, reason: str, tries: int, **how: Any) -> None:
    """Put an event into the dead letters for a person, on any broker."""
    queue = queues.dead_jobs("mail")
    headers = {REASON: reason, TRIES: tries, SINCE: timezone.now().isoformat(), CAME_FROM: events_queue().name}
    producer.publish(
        said, exchange=queue.exchange, routing_key="mail", headers=headers, declare=[queue], delivery_mode=2, **how
    )


@shared_task(base=MailTask, acks_late=True, ignore_result=True)
def send_mail(*, event: dict[str, Any], **_newer: Any) -> None:
    mail.send_for(event)


class MailEvents(bootsteps.ConsumerStep):
    """Extend a worker of the queue `mail`: make a task of every event."""

    requires = ("celery.worker.consumer:Tasks",)

    def include_if(self, worker: Any) -> bool:
        return any(queue.alias == "mail" for queue in worker.app.amqp.queues.consume_from.values())

    def get_consumers(self, channel: Any) -> list[Consumer]:
        return [
            Consumer(
                channel,
                queues=[events_queue()],
                callbacks=[self.take],
                accept=["json"],
                prefetch_count=PREFETCH,
                on_decode_error=self.refuse,
            )
        ]

    def take(self, event: Any, message: Any) -> None:
        if not (isinstance(event, dict) and event.get("event") in mail.LETTERS):
            self.refuse(message)
            return
        try:
            send_mail.delay(event=event)
        except (OSError, KombuError) as error:
            log.warning("mail.not_queued", error=type(error).__name__)
            message.requeue()
        else:
            message.ack()

    def refuse(self, message: Any, *_error: Any) -> None:
        """Put it into the dead letters here, because only RabbitMQ does so itself."""
        log.error("mail.not_an_event", bytes=len(message.body))
        encoded = {"content_type": message.content_type, "content_encoding": message.content_encoding or "utf-8"}
        try:
            with Producer(message.channel, auto_declare=False) as producer:
                give_up(producer, message.body, reason="not an event", tries=1, **encoded)
        except (OSError, KombuError) as error:
            log.warning("mail.not_set_aside", error=type(error).__name__)
            message.requeue()
        else:
            message.ack()
