"""Define the usual Celery application: a durable queue, publishing with confirms, one task per request."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from celery import Celery
from django.conf import settings
from kombu import Exchange, Queue

from bench.usual import holding

QUEUE = f"{settings.KEY_PREFIX}.usual"

app = Celery("usual")
app.conf.update(
    broker_url=settings.RABBITMQ_URL,
    broker_transport_options={"confirm_publish": True},
    task_queues=[Queue(QUEUE, Exchange(QUEUE), QUEUE, queue_arguments={"x-queue-type": "quorum"})],
    task_default_queue=QUEUE,
    task_default_exchange=QUEUE,
    task_default_routing_key=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,
    result_backend=None,
)


@app.task(name="usual.hold")
def hold(*, reservation: str, session: str, seats: Sequence[str], buyer: str) -> None:
    holding.hold(session_id=UUID(session), labels=seats, buyer=UUID(buyer), reservation_id=UUID(reservation))
