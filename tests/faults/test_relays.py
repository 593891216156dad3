"""Run two relays as real processes: one publishes, and the order of a session survives every change between them."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from django.conf import settings
from django.db import connection

from base import ids
from realtime import events, relay
from realtime.events import NewEvent
from realtime.models import Event
from tests import services
from tests.processes import Process, Processes, until

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq, pytest.mark.django_db(transaction=True)]

EVENTS = 6_000
CHUNK = 100
TAKEOVER_SECONDS = 3.0
ACTIVE = """
SELECT split_part(owner.application_name, ' ', 3)::int FROM pg_locks AS held
JOIN pg_stat_activity AS owner ON owner.pid = held.pid
WHERE held.locktype = 'advisory' AND held.granted AND owner.datname = current_database()
    AND owner.application_name LIKE 'frontrow relay %'
"""


class Listener:
    """Consume every event in a thread; `versions` are the map versions in the order of their arrival."""

    def __init__(self, url: str) -> None:
        self.versions: list[int] = []
        self.messages: list[dict[str, Any]] = []
        self._broker = relay.connect(url)
        self._queue = kombu.Queue(f"{settings.KEY_PREFIX}.watched", relay.exchange(), routing_key="#")
        self._over = threading.Event()
        bound = self._queue(self._broker.default_channel)
        bound.declare()
        bound.purge()
        self._consumer = kombu.Consumer(self._broker.default_channel, [self._queue], no_ack=True, on_message=self._take)
        self._consumer.consume()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _take(self, message: kombu.Message) -> None:
        self.versions.append(message.headers["map_version"])
        self.messages.append(message.properties)

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                self._broker.drain_events(timeout=0.2)
            except TimeoutError:
                continue

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._queue(self._broker.default_channel).delete()
        self._broker.release()

    def first_copies(self) -> list[int]:
        return list(dict.fromkeys(self.versions))


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    listener = Listener(services.current().rabbitmq_url)
    yield listener
    listener.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Processes]:
    """Run relays on this test's own database."""
    where = urllib.parse.urlsplit(services.current().database_url)
    url = where._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    with Processes(folder=tmp_path, DATABASE_URL=url, KEY_PREFIX=settings.KEY_PREFIX) as site:
        yield site


def active() -> int | None:
    """Return the process that holds the lock."""
    with connection.cursor() as cursor:
        cursor.execute(ACTIVE)
        found = cursor.fetchone()
    return found[0] if found else None


def other_is_active(than: int) -> bool:
    return active() not in {None, than}


def happen(session: uuid.UUID, versions: range) -> None:
    """Record one event per version, by several processes whose ids disagree about the time."""
    for first in versions[::CHUNK]:
        with pytest.MonkeyPatch.context() as patch:
            ahead = first // CHUNK % 2  # seconds
            patch.setattr(ids, "_last", (time.time_ns() + ahead * 1_000_000_000 << 12) // 1_000_000)
            some = range(first, min(first + CHUNK, versions.stop))
            events.record_many(
                [NewEvent(event="seat.held", session=session, map_version=version, facts={}) for version in some]
            )


def test_order_of_a_session_holds_while_relays_are_killed_and_stopped(site: Processes, listener: Listener) -> None:
    session = uuid.uuid4()
    third = EVENTS // 3
    relays: dict[int, Process] = {}

    def start() -> Process:
        process = site.relay()
        relays[process.popen.pid] = process
        return process

    start()
    start()
    until(active, seconds=60, what="a relay becoming active")

    happen(session, range(1, third + 1))
    until(lambda: len(listener.versions) > third // 4, seconds=30, what="the first relay publishing")
    killed = active()
    assert killed is not None
    relays.pop(killed).kill()
    until(lambda: other_is_active(killed), seconds=TAKEOVER_SECONDS, what="the second relay taking over")

    start()
    until(lambda: both_are_connected(list(relays.values())), seconds=60, what="another relay standing by")
    happen(session, range(third + 1, 2 * third + 1))
    until(lambda: max(listener.versions) > third + third // 4, seconds=30, what="the second relay publishing")
    stopped = active()
    assert stopped is not None
    relays[stopped].pause()
    until(lambda: other_is_active(stopped), seconds=TAKEOVER_SECONDS, what="the third relay taking over")
    happen(session, range(2 * third + 1, EVENTS + 1))
    relays[stopped].resume()

    until(lambda: len(listener.first_copies()) == EVENTS, seconds=60, what="every event")
    assert listener.first_copies() == list(range(1, EVENTS + 1))
    until(lambda: not Event.objects.filter(published_at__isnull=True).exists(), what="every event being marked")
    assert active() not in {None, stopped}


@pytest.mark.chaos
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_another_relay_takes_over_within_three_seconds(
    site: Processes, listener: Listener, how: signal.Signals
) -> None:
    relays = [site.relay(), site.relay()]
    until(active, seconds=60, what="a relay becoming active")
    until(lambda: both_are_connected(relays), seconds=60, what="the other standing by")
    first = active()
    assert first is not None

    os.kill(first, how)
    happen(uuid.uuid4(), range(1, 2))

    until(lambda: listener.versions == [1], seconds=TAKEOVER_SECONDS, what="the other relay publishing")
    until(lambda: other_is_active(first), seconds=TAKEOVER_SECONDS, what="the other relay holding the lock alone")


def both_are_connected(relays: list[Process]) -> bool:
    names = [f"frontrow relay {process.popen.pid}" for process in relays]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = ANY(%s)", [names])
        return bool(cursor.fetchone() == (len(relays),))
