"""Define the Celery application, on RabbitMQ if it is configured, otherwise on Valkey or Redis."""

import gc
import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from django.conf import settings
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from realtime import broker
from reservations.queueing.queues import JOBS, holds_queue, jobs_queue

PREFIX = settings.KEY_PREFIX
# Seconds. Beat sets the expiry by its own clock and the worker judges it by its own. With less than their difference, a
# job would be expired on arrival.
CLOCKS_APART = 600


def all_queues() -> list[Queue]:
    holds = [holds_queue(shard) for shard in range(settings.SHARDS)]
    for shard, queue in enumerate(holds):
        queue.alias = f"holds.{shard}"
    return [*holds, *(jobs_queue(name) for name in JOBS)]


# otherwise Celery would prefer it to the settings, which have already read it
os.environ.pop("CELERY_BROKER_URL", None)
app = Celery("frontrow")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=settings.BROKER_HEARTBEAT,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,  # reopen a channel that RabbitMQ closed; see BlockingConsumer
    # Celery declares 28 queues for delayed tasks (our mail's retries). As quorum queues with at-least-once
    # dead-lettering they would cost more than all of ours.
    broker_native_delayed_delivery_queue_type="classic",
    broker_transport_options={
        **broker.transport_options(settings.CELERY_BROKER_URL, read=30, write=2, confirm=True),
        **({} if broker.is_rabbitmq(settings.CELERY_BROKER_URL) else {"visibility_timeout": 600}),
    },
    task_queues=all_queues(),
    task_default_queue="housekeeping",
    task_default_exchange=f"{PREFIX}.work",
    task_default_exchange_type="topic",
    task_default_routing_key=f"{PREFIX}.housekeeping",
    task_create_missing_queues=False,
    task_routes={  # Celery 5.7 discourages naming the queue at the task itself
        "reservations.tasks.expire_holds": {"queue": "housekeeping"},
        "reservations.tasks.forget_keys": {"queue": "housekeeping"},
        "ticketing.tasks.give_uncollected_back": {"queue": "housekeeping"},
        "ticketing.tasks.*": {"queue": "payments"},
        "ticketing.mail_tasks.*": {"queue": "mail"},
    },
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    result_backend=None,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    timezone="UTC",
    beat_schedule={
        "expire-holds": {
            "task": "reservations.tasks.expire_holds",
            "schedule": 1.0,
            "options": {"expires": CLOCKS_APART + 5},
        },
        "forget-keys": {
            "task": "reservations.tasks.forget_keys",
            "schedule": 600.0,
            "options": {"expires": CLOCKS_APART + 300},
        },
        "sweep-payments": {
            "task": "ticketing.tasks.sweep_payments",
            "schedule": 5.0,
            "options": {"expires": CLOCKS_APART + 15},
        },
        "give-uncollected-back": {
            "task": "ticketing.tasks.give_uncollected_back",
            "schedule": 10.0,
            "options": {"expires": CLOCKS_APART + 10},
        },
        "resume-refunds": {
            "task": "ticketing.tasks.resume_refunds",
            "schedule": 60.0,
            "options": {"expires": CLOCKS_APART + 60},
        },
    },
)
app.autodiscover_tasks()
app.autodiscover_tasks(related_name="mail_tasks")
app.steps["consumer"].add("ticketing.mail_tasks:MailEvents")


@worker_ready.connect
def get_ready(sender: Any, **_facts: Any) -> None:
    """Prepare a worker once it has its first consumer."""
    from reservations.allocation import announcements

    gc.freeze()  # startup objects stay; scanning them again would cost allocation a tenth of its time
    gc.set_threshold(20_000, 20, 20)
    announcements.tell_from_a_thread()
