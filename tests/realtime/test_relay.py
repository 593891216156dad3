import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

import kombu
import psycopg
import pytest
from django.conf import settings
from django.db import connection

from realtime import events, relay
from realtime.events import NewEvent
from realtime.models import Event
from tests import services

pytestmark = pytest.mark.django_db(transaction=True)


class Broker:
    """A real one, with a queue that gets every event."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = relay.connect(url)
        exchange = kombu.Exchange(f"{settings.KEY_PREFIX}.events", type="topic")
        queue = kombu.Queue(f"{settings.KEY_PREFIX}.everything", exchange, routing_key="#")
        self.queue = queue(self.connection.default_channel)
        self.queue.declare()
        self.queue.purge()

    def messages(self) -> list[kombu.Message]:
        """What arrived, taken out."""
        arrived = []
        while message := self.queue.get(no_ack=True):
            arrived.append(message)
        return arrived

    def bodies(self) -> list[dict[str, Any]]:
        return [message.payload for message in self.messages()]

    def close(self) -> None:
        self.queue.delete()
        self.connection.release()


def broker_url(kind: str) -> str:
    return services.current().rabbitmq_url if kind == "rabbitmq" else str(settings.CELERY_BROKER_URL)


@pytest.fixture(params=["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    broker = Broker(broker_url(request.param))
    yield broker
    broker.close()


@pytest.fixture
def publisher(broker: Broker) -> Iterator[relay.Publisher]:
    publisher = relay.Publisher(broker.url)
    yield publisher
    publisher.close()


def happen(count: int = 1, *, buyer: uuid.UUID | None = None) -> list[Event]:
    row = NewEvent(event="reservation.held", session=uuid.uuid4(), buyer=buyer, facts={"seats": ["A1"]})
    made = Event.objects.in_bulk(events.record_many([row] * count))
    return [made[identity] for identity in sorted(made)]


class TestPublishing:
    def test_tells_what_happened(self, broker: Broker, publisher: relay.Publisher, ana: uuid.UUID) -> None:
        (event,) = happen(buyer=ana)

        assert relay.publish_batch(publisher) == 1

        (message,) = broker.messages()
        assert message.payload == {
            "id": str(event.id),
            "event": "reservation.held",
            "session": str(event.session),
            "buyer": str(ana),
            "facts": {"seats": ["A1"]},
            "occurred_at": event.occurred_at.isoformat(),
        }
        assert message.delivery_info["routing_key"] == "reservation.held"
        assert message.properties["delivery_mode"] == 2

    def test_tells_it_once(self, broker: Broker, publisher: relay.Publisher) -> None:
        happen()

        assert [relay.publish_batch(publisher) for _round in range(2)] == [1, 0]
        assert len(broker.messages()) == 1
        assert Event.objects.get().published_at is not None

    def test_keeps_the_order_over_batches(self, broker: Broker, publisher: relay.Publisher) -> None:
        ids = [str(event.id) for event in happen(25)]

        assert [relay.publish_batch(publisher, limit=10) for _round in range(4)] == [10, 10, 5, 0]
        assert [body["id"] for body in broker.bodies()] == ids

    def test_finds_an_event_that_was_committed_after_a_later_one(
        self, broker: Broker, publisher: relay.Publisher
    ) -> None:
        early = Event(name="reservation.held")
        (late,) = happen()
        relay.publish_batch(publisher)
        early.save(force_insert=True)

        assert early.id < late.id
        assert relay.publish_batch(publisher) == 1
        assert [body["id"] for body in broker.bodies()] == [str(late.id), str(early.id)]

    def test_leaves_to_another_relay_what_that_one_is_at(self, broker: Broker, publisher: relay.Publisher) -> None:
        theirs, ours = happen(2)
        with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None, "context": None}) as other:
            other.execute("SELECT FROM realtime_event WHERE id = %s FOR NO KEY UPDATE", [theirs.id])

            relay.publish_batch(publisher)

        assert [body["id"] for body in broker.bodies()] == [str(ours.id)]

    def test_tells_again_what_a_crash_left_unmarked(
        self, broker: Broker, publisher: relay.Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (event,) = happen()
        publish = publisher.publish

        def publish_and_die(told: list[Event]) -> None:
            publish(told)
            raise KeyboardInterrupt

        monkeypatch.setattr(publisher, "publish", publish_and_die)
        with pytest.raises(KeyboardInterrupt):
            relay.publish_batch(publisher)
        monkeypatch.undo()
        relay.publish_batch(publisher)

        assert [body["id"] for body in broker.bodies()] == [str(event.id)] * 2

    def test_needs_nobody_to_listen(self, broker: Broker, publisher: relay.Publisher) -> None:
        broker.queue.delete()
        happen()

        assert relay.publish_batch(publisher) == 1

    def test_counts_what_waits(self) -> None:
        happen(3)

        assert relay.count_waiting() == 3


class TestWithoutABroker:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relay, "DEADLINE", 0.2)

    @pytest.mark.parametrize("scheme", ["amqp", "redis"])
    @pytest.mark.parametrize("silent", [True, False])
    def test_marks_nothing_and_says_so_soon(self, scheme: str, silent: bool) -> None:
        happen()
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            if silent:
                server.listen(64)
            publisher = relay.Publisher(f"{scheme}://127.0.0.1:{server.getsockname()[1]}//")

            began = time.monotonic()
            with pytest.raises(relay.NotPublished):
                relay.publish_batch(publisher)
            took = time.monotonic() - began

        assert took < 5
        assert Event.objects.get().published_at is None


@pytest.mark.rabbitmq
class TestConfirms:
    def test_a_refused_event_is_not_marked(self) -> None:
        broker = Broker(broker_url("rabbitmq"))
        publisher = relay.Publisher(broker.url)
        full = kombu.Queue(
            f"{settings.KEY_PREFIX}.full",
            relay.exchange(),
            routing_key="#",
            queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
        )(broker.connection.default_channel)
        full.declare()
        happen(5)

        try:
            with pytest.raises(relay.NotPublished):
                relay.publish_batch(publisher)
            assert Event.objects.filter(published_at__isnull=True).count() == 5
        finally:
            full.delete()

        assert relay.publish_batch(publisher) == 5
        publisher.close()
        broker.close()
