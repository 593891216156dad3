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

from base import ids
from realtime import events, relay
from realtime.events import NewEvent
from realtime.leadership import Leadership, NotActive
from realtime.models import Event
from tests import services
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True)


class Broker:
    """A real broker, with a queue that gets every event."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = relay.connect(url)
        exchange = kombu.Exchange(f"{settings.KEY_PREFIX}.events", type="topic")
        queue = kombu.Queue(f"{settings.KEY_PREFIX}.everything", exchange, routing_key="#")
        self.queue = queue(self.connection.default_channel)
        self.queue.declare()
        self.queue.purge()

    def messages(self) -> list[kombu.Message]:
        """Take out and return the messages that arrived."""
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


@pytest.fixture
def lead() -> Iterator[Leadership]:
    lead = Leadership()
    yield lead
    lead.give_up()


def happen(count: int = 1, *, buyer: uuid.UUID | None = None) -> list[Event]:
    row = NewEvent(event="reservation.held", session=uuid.uuid4(), buyer=buyer, facts={"seats": ["A1"]})
    made = Event.objects.in_bulk(events.record_many([row] * count))
    return [made[identity] for identity in sorted(made)]


class TestPublishing:
    def test_sends_the_event(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership, ana: uuid.UUID
    ) -> None:
        (event,) = happen(buyer=ana)

        assert relay.publish_batch(publisher, lead) == 1

        (message,) = broker.messages()
        assert message.payload == {
            "id": str(event.id),
            "event": "reservation.held",
            "session": str(event.session),
            "buyer": str(ana),
            "map_version": None,
            "facts": {"seats": ["A1"]},
            "cause": None,
            "actor": None,
            "occurred_at": event.occurred_at.isoformat(),
        }
        assert message.delivery_info["routing_key"] == "reservation.held"
        assert message.properties["delivery_mode"] == 2
        assert message.properties["message_id"] == str(event.id)

    def test_sends_an_event_once(self, broker: Broker, publisher: relay.Publisher, lead: Leadership) -> None:
        happen()

        assert [relay.publish_batch(publisher, lead) for _round in range(2)] == [1, 0]
        assert len(broker.messages()) == 1
        assert Event.objects.get().published_at is not None

    def test_keeps_the_order_over_batches(self, broker: Broker, publisher: relay.Publisher, lead: Leadership) -> None:
        ids = [str(event.id) for event in happen(25)]

        assert [relay.publish_batch(publisher, lead, limit=10) for _round in range(4)] == [10, 10, 5, 0]
        assert [body["id"] for body in broker.bodies()] == ids

    def test_publishes_an_event_that_was_committed_after_a_later_one(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership
    ) -> None:
        parameters = connection.get_connection_params() | {"cursor_factory": None, "context": None}
        with psycopg.connect(**parameters) as other:
            early = ids.uuid7()
            other.execute("INSERT INTO realtime_event (id, name, facts) VALUES (%s, 'reservation.held', '{}')", [early])
            (late,) = happen()
            relay.publish_batch(publisher, lead)

        assert relay.publish_batch(publisher, lead) == 1
        assert [body["id"] for body in broker.bodies()] == [str(late.id), str(early)]

    def test_keeps_the_order_of_commits_where_ids_run_backwards(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The clock of the first process is ahead of the other's."""
        session = uuid.uuid4()
        ahead = (time.time_ns() + 1_000_000_000 << 12) // 1_000_000
        for versions, last in ((range(1, 101), ahead), (range(101, 104), 0)):
            changes = [
                NewEvent(event="seat.held", session=session, map_version=number, facts={}) for number in versions
            ]
            monkeypatch.setattr(ids, "_last", last)  # another process
            events.record_many(changes)
        by_id = Event.objects.order_by("id").values_list("map_version", flat=True)
        assert list(by_id) != list(range(1, 104))

        relay.publish_batch(publisher, lead)

        assert [body["map_version"] for body in broker.bodies()] == list(range(1, 104))

    def test_puts_the_map_version_where_a_filter_can_read_it(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership
    ) -> None:
        event = events.record(event="seat.held", session=uuid.uuid4(), map_version=7, facts={})

        relay.publish_batch(publisher, lead)

        (message,) = broker.messages()
        assert message.headers["map_version"] == message.payload["map_version"] == 7
        assert message.properties["message_id"] == str(event.id)

    def test_publishes_nothing_while_another_relay_is_active(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership
    ) -> None:
        other = Leadership()
        assert other.renew()
        happen()

        assert relay.publish_batch(publisher, lead) == 0
        other.give_up()
        until(lambda: relay.publish_batch(publisher, lead) == 1, what="the lock being free")

    def test_stops_within_a_batch_when_its_lock_is_lost(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = [str(event.id) for event in happen(5)]
        sure = iter([True, True, False])

        def require() -> None:
            if not next(sure):
                raise NotActive

        monkeypatch.setattr(lead, "require", require)
        assert relay.publish_batch(publisher, lead) == 0
        monkeypatch.undo()
        assert Event.objects.filter(published_at__isnull=True).count() == 5

        assert relay.publish_batch(publisher, lead) == 5
        assert [body["id"] for body in broker.bodies()] == ids[:2] + ids

    def test_locks_no_row_while_the_broker_is_asked(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A relay that is stopped here must not stand in the way of the one that takes over."""
        happen(3)
        publish = publisher.publish

        def take_over_meanwhile(told: list[Event], **how: Any) -> None:
            parameters = connection.get_connection_params() | {"cursor_factory": None, "context": None}
            with psycopg.connect(**parameters) as other:
                locked = other.execute("SELECT FROM realtime_event FOR UPDATE NOWAIT")
                assert locked.rowcount == 3
            publish(told, **how)

        monkeypatch.setattr(publisher, "publish", take_over_meanwhile)

        assert relay.publish_batch(publisher, lead) == 3

    def test_sends_again_what_a_crash_left_unmarked(
        self, broker: Broker, publisher: relay.Publisher, lead: Leadership, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (event,) = happen()
        publish = publisher.publish

        def publish_and_die(told: list[Event], **how: Any) -> None:
            publish(told, **how)
            raise KeyboardInterrupt

        monkeypatch.setattr(publisher, "publish", publish_and_die)
        with pytest.raises(KeyboardInterrupt):
            relay.publish_batch(publisher, lead)
        monkeypatch.undo()
        relay.publish_batch(publisher, lead)

        assert [body["id"] for body in broker.bodies()] == [str(event.id)] * 2

    def test_needs_no_consumer(self, broker: Broker, publisher: relay.Publisher, lead: Leadership) -> None:
        broker.queue.delete()
        happen()

        assert relay.publish_batch(publisher, lead) == 1


class TestWithoutABroker:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relay, "DEADLINE", 0.2)

    @pytest.mark.parametrize("scheme", ["amqp", "redis"])
    @pytest.mark.parametrize("silent", [True, False])
    def test_publishing_marks_nothing_and_fails_soon(self, lead: Leadership, scheme: str, silent: bool) -> None:
        happen()
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            if silent:
                server.listen(64)
            publisher = relay.Publisher(f"{scheme}://127.0.0.1:{server.getsockname()[1]}//")

            began = time.monotonic()
            with pytest.raises(relay.NotPublished):
                relay.publish_batch(publisher, lead)
            other = Leadership()
            until(other.renew, what="another relay having its turn")
            other.give_up()
            took = time.monotonic() - began

        assert took < 5
        assert Event.objects.get().published_at is None


@pytest.mark.rabbitmq
class TestConfirms:
    def test_refused_event_is_not_marked(self, lead: Leadership) -> None:
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
                relay.publish_batch(publisher, lead)
            assert Event.objects.filter(published_at__isnull=True).count() == 5
        finally:
            full.delete()

        assert relay.publish_batch(publisher, lead) == 5
        publisher.close()
        broker.close()
