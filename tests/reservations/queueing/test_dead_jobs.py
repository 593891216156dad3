"""Given up messages of payments, housekeeping and mail: none is lost; the command, audit and metric see them.

A person can retry them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
from celery import bootsteps
from django.core.management import CommandError, call_command
from kombu.utils.imports import symbol_by_name
from prometheus_client import REGISTRY

from config.celery import app
from config.run.blocking_worker import BlockingConsumer
from realtime import relay
from reservations.audit import dead_letters_waiting
from reservations.queueing import queues
from reservations.queueing.queues import WorkQueue
from reservations.staff import dead_letters
from tests import services
from tests.processes import until
from ticketing import mail_tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.rabbitmq]

SOURCES = {
    "payments": "payments",
    "housekeeping": "housekeeping",
    "mail": "mail",
    "events.mail": "mail",
}  # to dead_jobs


def queue_of(source: str) -> Any:
    return mail_tasks.events_queue() if source == "events.mail" else queues.jobs_queue(source)


@pytest.fixture
def channel(settings: Any) -> Iterator[Any]:
    """Make RabbitMQ the broker of the site, with these queues, empty."""
    settings.RABBITMQ_URL = settings.CELERY_BROKER_URL = services.current().rabbitmq_url
    with relay.connect(settings.RABBITMQ_URL, confirm=True) as connection:
        channel = connection.default_channel
        queues = [queue_of(source)(channel) for source in SOURCES]
        for queue in queues:
            queue.declare()
            queue.purge()
            queue.behind(channel).purge()
        yield channel
        for queue in queues:
            queue.behind(channel).delete()
            queue.delete()


def publish(channel: Any, source: str) -> str:
    """Publish a message that no code understands; return its body."""
    body = json.dumps([[], {"nobody": source}, {}])
    kombu.Producer(channel).publish(
        body,
        exchange="",
        routing_key=queue_of(source).name,
        headers={"task": "nobody.knows", "id": f"id-{source}", "retries": 3, "lang": "py"},
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=f"id-{source}",
    )
    return body


def refuse(channel: Any, source: str) -> None:
    """Refuse a message as a worker does that doesn't understand it."""
    queue = queue_of(source)(channel)
    before = size(channel, queue.behind)
    queue.get().reject()
    until(lambda: size(channel, queue.behind) == before + 1, what="the dead letter")


def size(channel: Any, queue: kombu.Queue) -> int:
    counted: int = queue(channel).queue_declare(passive=True).message_count
    return counted


def command(*words: str) -> str:
    out = StringIO()
    call_command("dead_letters", *words, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("source", SOURCES)
class TestEveryQueue:
    def test_poison_is_seen_in_the_command_the_audit_and_the_metric(self, channel: Any, source: str) -> None:
        publish(channel, source)
        refuse(channel, source)
        job = SOURCES[source]

        assert f"id-{source}  {job:12}  3 tries" in command("list")
        assert "RabbitMQ gave up delivering it: rejected" in command("list")
        assert list(dead_letters_waiting()) == [{"queue": job, "letters": 1}]
        assert REGISTRY.get_sample_value("frontrow_dead_letters_waiting", {"queue": job}) == 1
        shown = json.loads(command("show", f"id-{source}"))
        assert shown["message"] == {"task": "nobody.knows", "arguments": [[], {"nobody": source}, {}]}
        until(lambda: size(channel, queues.dead_jobs(job)) == 1, what="the letter lying there still")

    def test_retry_puts_a_message_back_where_it_came_from(self, channel: Any, source: str) -> None:
        body = publish(channel, source)
        refuse(channel, source)

        assert "back in the queue" in command("retry", f"id-{source}")

        message = queue_of(source)(channel).get()
        assert message.body == body
        said = {name: value for name, value in message.headers.items() if not name.startswith("x-delivery")}
        as_new = {"retries": 0, "eta": None, "expires": None}
        assert said == {"task": "nobody.knows", "id": f"id-{source}", "lang": "py", **as_new}
        assert message.properties["correlation_id"] == f"id-{source}"
        message.ack()
        assert list(dead_letters_waiting()) == []

    def test_poison_that_is_tried_again_can_die_again(self, channel: Any, source: str) -> None:
        publish(channel, source)
        refuse(channel, source)
        command("retry", "--all")

        refuse(channel, source)

        assert f"id-{source}" in command("list", "--queue", SOURCES[source])

    def test_discard_ends_a_message_and_prints_it(self, channel: Any, source: str) -> None:
        publish(channel, source)
        refuse(channel, source)

        assert f'"nobody": "{source}"' in command("discard", "--all", "--queue", SOURCES[source], "--yes")
        assert command("list") == "0 dead letters.\n"


def test_no_queue_that_a_worker_consumes_is_forgotten(channel: Any) -> None:
    """Each has another queue behind it, of which the command, the audit and the metric know."""
    found = [symbol_by_name(step) for step in app.steps["consumer"]]
    steps = [step(None) for step in found if issubclass(step, bootsteps.ConsumerStep)]
    consumed = [
        *app.amqp.queues.values(),
        *(queue for step in steps for of in step.get_consumers(channel) for queue in of.queues),
    ]
    seen = {queues.given_up().name, *(queues.dead_jobs(job).name for job in queues.JOBS)}

    assert {queue.name for queue in consumed} >= {queue_of(source).name for source in SOURCES}
    for queue in consumed:
        assert isinstance(queue, WorkQueue), queue
        assert queue.behind is not None, queue
        assert queue.behind.name in seen
        arguments = queue.queue_arguments
        assert arguments["x-dead-letter-exchange"] == queue.behind.exchange.name
        key, pattern = arguments["x-dead-letter-routing-key"], queue.behind.routing_key
        assert key == pattern or (pattern.endswith("#") and key.startswith(pattern.rstrip("#")))


def test_publisher_alone_declares_the_queue_behind(channel: Any) -> None:
    """No worker has been started: the first message of a web process may be the one that is given up."""
    dead = queues.dead_jobs("payments")
    dead(channel).delete()
    queues.jobs_queue("payments")(channel).delete()
    courier = queues.Courier(services.current().rabbitmq_url)
    courier.send("nobody.knows", queues.jobs_queue("payments"))
    courier.close()

    queues.jobs_queue("payments")(channel).get().reject()

    until(lambda: size(channel, dead) == 1, what="the dead letter")


def test_shows_in_its_own_list_only(channel: Any) -> None:
    for source in ("payments", "mail"):
        publish(channel, source)
        refuse(channel, source)

    assert "id-mail" not in command("list", "--queue", "payments")
    assert "id-mail" in command("list", "--queue", "mail")
    with pytest.raises(CommandError, match="Name some dead letters"):
        command("retry", "id-mail", "--queue", "mail")


def test_worker_leaves_a_message_that_it_cannot_decode_to_the_dead_letters(channel: Any) -> None:
    kombu.Producer(channel).publish(
        b"\xff",
        exchange="",
        routing_key=queue_of("payments").name,
        content_type="application/json",
        content_encoding="utf-8",
    )
    consumer = SimpleNamespace()
    message = queue_of("payments")(channel).get()

    # The method needs nothing of a worker.
    BlockingConsumer.on_decode_error(consumer, message, ValueError("no JSON"))  # type: ignore[arg-type]

    until(lambda: size(channel, queues.dead_jobs("payments")) == 1, what="the dead letter")
    assert dead_letters.count_waiting()["payments"] == 1
    assert "  payments  " in command("list")
    command("discard", "--all", "--yes")


def test_mail_that_failed_for_good_is_tried_again_as_an_event(settings: Any, channel: Any) -> None:
    with kombu.Producer(channel, auto_declare=False) as producer:
        event = {"id": "an-event", "event": "reservation.confirmed"}
        mail_tasks.give_up(producer, event, reason="SMTPException", tries=6)
    until(lambda: size(channel, queues.dead_jobs("mail")) == 1, what="the letter")

    assert "an-event  mail          6 tries" in command("list")
    command("retry", "an-event")

    assert mail_tasks.events_queue()(channel).get(no_ack=True).payload == event


def test_dead_mail_is_seen_without_rabbitmq_too(settings: Any) -> None:
    settings.RABBITMQ_URL = ""
    with relay.connect(settings.CELERY_BROKER_URL) as connection:
        mail_tasks.events_queue()(connection.default_channel).declare()
        with kombu.Producer(connection.default_channel, auto_declare=False) as producer:
            mail_tasks.give_up(producer, {"id": "an-event"}, reason="SMTPException", tries=6)

        for _look in range(2):  # looking takes nothing away
            assert "an-event  mail  " in command("list")
        assert list(dead_letters_waiting()) == [{"queue": "mail", "letters": 1}]
        command("retry", "an-event")
        assert list(dead_letters_waiting()) == []
        assert mail_tasks.events_queue()(connection.default_channel).get(no_ack=True).payload == {"id": "an-event"}
