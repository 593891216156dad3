"""From the event exchange to the mail server: a queue of events, a task for each with retries, and a queue for what can't be sent."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, bootsteps, shared_task
from django.conf import settings
from django.db import OperationalError
from kombu import Consumer, Exchange, Queue, binding
from kombu.exceptions import KombuError

from realtime import relay
from ticketing import mail

PREFETCH = 20

log = structlog.get_logger(__name__)


def events_queue() -> Queue:
    """The events that mail goes out for."""
    exchange = relay.exchange()
    return Queue(
        f"{settings.KEY_PREFIX}.events.mail",
        bindings=[binding(exchange, routing_key=kind) for kind in mail.LETTERS],
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-dead-letter-exchange": _dead_letter_exchange().name,
            "x-dead-letter-routing-key": "mail",
        },
    )


def dead_letters() -> Queue:
    """Where a person looks for mail that nobody got."""
    return Queue(
        f"{settings.KEY_PREFIX}.mail.dead",
        _dead_letter_exchange(),
        routing_key="mail",
        queue_arguments={"x-queue-type": "quorum"},
    )


def _dead_letter_exchange() -> Exchange:
    return Exchange(f"{settings.KEY_PREFIX}.dead", type="topic")


class MailTask(Task):
    """Tries again by itself; what still fails goes to the dead letters, on any broker."""

    abstract = True
    autoretry_for = (OSError, OperationalError)  # SMTPException is an OSError
    max_retries = 5
    retry_backoff = 30  # seconds, doubled each time
    retry_backoff_max = 600
    retry_jitter = True

    def on_failure(self, exc: Exception, _task_id: str, _args: Any, kwargs: dict[str, Any], _einfo: Any) -> None:
        event = kwargs["event"]
        log.error("mail.given_up", event_id=event["id"], kind=event["event"], error=type(exc).__name__)
        with self.app.producer_or_acquire() as producer:
            queue = dead_letters()
            producer.publish(event, exchange=queue.exchange, routing_key="mail", declare=[queue], delivery_mode=2)


@shared_task(base=MailTask, acks_late=True, ignore_result=True)
def send_mail(*, event: dict[str, Any], **_newer: Any) -> None:
    mail.send_for(event)


class MailEvents(bootsteps.ConsumerStep):
    """Part of a worker that serves the queue `mail`: makes a task of every event."""

    requires = ("celery.worker.consumer:Tasks",)

    def include_if(self, worker: Any) -> bool:
        return any(queue.alias == "mail" for queue in worker.app.amqp.queues.consume_from.values())

    def get_consumers(self, channel: Any) -> list[Consumer]:
        dead_letters()(channel).declare()
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
        log.error("mail.not_an_event", bytes=len(message.body))
        message.reject()
