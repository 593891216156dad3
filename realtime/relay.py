"""Publishing the event log: rows nobody has been told of yet go to one exchange, and are marked once the broker has them.

A crash between the two publishes a batch twice: consumers know an event by its id.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import amqp
import kombu
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from kombu.exceptions import KombuError
from prometheus_client import Counter, Gauge

from realtime.models import Event

BATCH = 500
DEADLINE = 2  # seconds of silence after which a broker counts as gone; a blocked one says nothing for ever

PUBLISHED = Counter("frontrow_events_published", "Events published")
WAITING = Gauge("frontrow_events_waiting", "Events not published yet", multiprocess_mode="max")


class NotPublished(Exception):
    """The broker is away, silent, or refused. It may have some of the events all the same."""


def exchange() -> kombu.Exchange:
    """Topic; the routing key is the event's name."""
    return kombu.Exchange(f"{settings.KEY_PREFIX}.events", type="topic", durable=True)


def message(event: Event) -> dict[str, Any]:
    """What consumers get."""
    return {
        "id": str(event.id),
        "event": event.name,
        "session": str(event.session) if event.session else None,
        "buyer": str(event.buyer) if event.buyer else None,
        "facts": event.facts,
        "occurred_at": event.occurred_at.isoformat(),
    }


def connect(url: str) -> kombu.Connection:
    """To the broker, with a deadline on every step."""
    timeouts = (
        {"read_timeout": DEADLINE, "write_timeout": DEADLINE}
        if url.startswith("amqp")
        else {
            "socket_timeout": DEADLINE,
            "socket_connect_timeout": DEADLINE,
            "global_keyprefix": f"{settings.KEY_PREFIX}:celery:",  # as in config/celery.py
        }
    )
    return kombu.Connection(url, connect_timeout=DEADLINE, heartbeat=0, transport_options=timeouts)


class Publisher:
    """One connection to the broker, opened when needed and given up at the first doubt."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url)
        self._producer: kombu.Producer | None = None
        self._confirms: Confirms | None = None

    def publish(self, events: Sequence[Event]) -> None:
        """Until the broker has all of them. Raises: NotPublished."""
        try:
            producer, confirms = self._open()
            with confirms.of(len(events)):
                for event in events:
                    producer.publish(
                        message(event), exchange=exchange(), routing_key=event.name, delivery_mode=2, retry=False
                    )
        except (OSError, KombuError, amqp.AMQPError, *self._connection.connection_errors) as error:
            self.close()
            raise NotPublished(type(error).__name__) from error

    def close(self) -> None:
        self._producer = self._confirms = None
        self._connection.collect()  # without the broker's goodbye, which may never come

    def _open(self) -> tuple[kombu.Producer, "Confirms"]:
        if self._producer is None or self._confirms is None:
            channel = self._connection.default_channel
            exchange()(channel).declare()
            self._producer = self._connection.Producer(channel, serializer="json", auto_declare=False)
            self._confirms = Confirms(channel)
        return self._producer, self._confirms


class Confirms:
    """RabbitMQ's receipts for what one channel published, waited for once a batch: one by one is 15 times slower.

    Valkey and Redis give none: there a publish returns when it is stored.
    """

    def __init__(self, channel: Any) -> None:
        self._connection = channel.connection
        self._published = 0
        self._missing: set[int] = set()
        self._refused = False
        self._receives = isinstance(channel, amqp.Channel)
        if self._receives:
            channel.events["basic_ack"].add(self._confirm)
            channel.events["basic_nack"].add(self._refuse)
            channel.confirm_select()

    @contextmanager
    def of(self, count: int) -> Iterator[None]:
        """Inside, `count` messages are published; leaving waits for their receipts. Raises: OSError, KombuError."""
        if not self._receives:
            yield
            return
        self._missing |= set(range(self._published + 1, self._published + count + 1))
        self._published += count
        yield
        while self._missing:
            self._connection.drain_events(timeout=DEADLINE)
        if self._refused:
            raise KombuError("refused by the broker")

    def _confirm(self, tag: int, multiple: bool) -> None:
        self._missing -= {missing for missing in self._missing if missing <= tag} if multiple else {tag}

    def _refuse(self, tag: int, multiple: bool) -> None:
        self._refused = True
        self._confirm(tag, multiple)


def publish_batch(publisher: Publisher, *, limit: int = BATCH) -> int:
    """Publish what waits, at the most `limit` events, and return how many. Raises: NotPublished.

    Note [Publishing while the rows are locked]: the rows stay locked while the broker answers, so that a second relay
    takes others instead of sending the same. Nobody else ever locks them, and `DEADLINE` bounds the wait. They are
    found by their state: an id may commit after a higher one.
    """
    with transaction.atomic(durable=True):
        events = list(
            Event.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(published_at__isnull=True)
            .order_by("id")[:limit]
        )
        if events:
            publisher.publish(events)
            Event.objects.filter(pk__in=[event.pk for event in events]).update(published_at=Now())
    PUBLISHED.inc(len(events))
    return len(events)


def count_waiting() -> int:
    waiting = Event.objects.filter(published_at__isnull=True).count()
    WAITING.set(waiting)
    return waiting
