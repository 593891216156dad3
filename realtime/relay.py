"""Publish the event log: unpublished rows go to one exchange, and are marked once the broker has them.

A crash in between publishes a batch twice: consumers know an event by its id, which is the message's `message_id`.

Note [The order of a session's events]
Changes of a session's map are written under the lock of its row, each with the next `position` of the log. So positions
of one session rise in the order of the commits, as its map versions do. Ids don't: each process counts its own
milliseconds, and is ahead of the clock after a large batch. One relay at a time publishes (`leadership`), by position.
An event that was written without that lock may be committed after a higher position, and is published then: rows are
found by their state.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import amqp
import kombu
import structlog
from django.conf import settings
from django.db.models.functions import Now
from kombu.exceptions import KombuError
from prometheus_client import Counter

from realtime import broker
from realtime.leadership import Leadership, NotActive
from realtime.models import IN_ORDER, Event

BATCH = 500
DEADLINE = 2  # seconds of silence after which a broker counts as gone; a blocked one stays silent for ever

PUBLISHED = Counter("frontrow_events_published", "Events published")

log = structlog.get_logger(__name__)


class NotPublished(Exception):
    """The broker is away, silent, or refused. It may have some of the events all the same."""


def exchange() -> kombu.Exchange:
    """Return the topic exchange of events; the routing key is the event's name."""
    return kombu.Exchange(f"{settings.KEY_PREFIX}.events", type="topic", durable=True)


def message(event: Event) -> dict[str, object]:
    """Return the message that consumers get."""
    return {
        "id": str(event.id),
        "event": event.name,
        "session": str(event.session) if event.session else None,
        "buyer": str(event.buyer) if event.buyer else None,
        "map_version": event.map_version,
        "facts": event.facts,
        "cause": event.cause or None,
        "actor": str(event.actor) if event.actor else None,
        "occurred_at": event.occurred_at.isoformat(),
    }


def connect(url: str, *, deadline: float = DEADLINE, confirm: bool = False) -> kombu.Connection:
    """Return a connection to the broker, with a deadline in seconds for each step.

    With `confirm`, RabbitMQ confirms each message. The connection is tried once: by default, kombu tries a refused or
    silent broker again, in the caller's thread.
    """
    options = broker.transport_options(url, read=deadline, write=deadline, confirm=confirm)
    options["max_retries"] = 0
    if not broker.is_rabbitmq(url):
        options |= {"socket_timeout": deadline, "socket_connect_timeout": deadline, "retry_on_timeout": False}
    return kombu.Connection(url, connect_timeout=deadline, heartbeat=0, transport_options=options)


class Publisher:
    """One connection to the broker, opened when needed and given up at the first doubt."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url)
        self._producer: kombu.Producer | None = None
        self._confirms: Confirms | None = None

    def publish(self, events: Sequence[Event], *, before_each: Callable[[], None]) -> None:
        """Return when the broker has all of them. Raises: NotPublished; and anything that `before_each` raises."""
        try:
            producer, confirms = self._open()
            with confirms.of(len(events)):
                for event in events:
                    before_each()
                    producer.publish(
                        message(event),
                        exchange=exchange(),
                        routing_key=event.name,
                        message_id=str(event.id),
                        type=event.name,
                        headers={} if event.map_version is None else {"map_version": event.map_version},
                        delivery_mode=2,
                        retry=False,
                    )
        except NotActive:
            self.close()
            raise
        except (OSError, KombuError, amqp.AMQPError, *self._connection.connection_errors) as error:
            self.close()
            raise NotPublished(type(error).__name__) from error

    def close(self) -> None:
        self._producer = self._confirms = None
        self._connection.collect()  # skips the broker's goodbye, which may never come

    def _open(self) -> tuple[kombu.Producer, "Confirms"]:
        if self._producer is None or self._confirms is None:
            channel = self._connection.default_channel
            exchange()(channel).declare()
            self._producer = self._connection.Producer(channel, serializer="json", auto_declare=False)
            self._confirms = Confirms(channel)
        return self._producer, self._confirms


class Confirms:
    """RabbitMQ's receipts for the messages of one channel, awaited once a batch: one by one is 15 times slower.

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
        """Wait, when the block ends, for the receipts of the `count` messages published in it.

        Raises: OSError, KombuError.
        """
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


def publish_batch(publisher: Publisher, lead: Leadership, *, limit: int = BATCH) -> int:
    """Publish the next events, at most `limit`, and return how many; none while another relay is the active one.

    Note [No transaction while the broker is asked]
    A relay that stops in the middle must not keep rows locked. Otherwise the relay that takes over would have to wait
    for them, or to pass over them and so change their order.

    Raises: NotPublished; then another relay, which the broker may answer, can become the active one.
    """
    if not lead.renew():
        return 0
    events = list(Event.objects.filter(published_at__isnull=True).order_by(*IN_ORDER)[:limit])
    if not events:
        return 0
    try:
        publisher.publish(events, before_each=lead.require)
    except NotActive:
        log.warning("relay.stopped_within_a_batch", events=len(events))
        return 0
    except NotPublished:
        lead.give_up()
        raise
    Event.objects.filter(pk__in=[event.pk for event in events], published_at__isnull=True).update(published_at=Now())
    PUBLISHED.inc(len(events))
    return len(events)
