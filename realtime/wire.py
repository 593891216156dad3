"""Send messages to watchers after the commit, without making the caller wait.

Messages leave through one thread of this process, in the order they were given. A dead Redis costs the caller nothing:
a message waits a few seconds for it, then it is counted as lost. Receivers find gaps by version numbers.
"""

import atexit
import datetime as dt
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from prometheus_client import Counter

from base.threads import keep_running

LONGEST_QUEUE = 100_000  # messages waiting in one process
BATCH = 500  # messages in one trip
PATIENCE = 5.0  # seconds a message waits for Redis to come back
SEND_TIMEOUT = 1.0
RETRY_PAUSE = 0.2

MISSED = "missed"  # sent inside a process: messages for its listeners may be lost
SIGNED_OUT = "signed_out"  # a buyer's open sockets end, because their credentials did

DIFFS = Counter("frontrow_diffs", "Seat diffs sent to watchers")
LOST = Counter("frontrow_wire_lost", "Live messages dropped because Redis was down or too slow")

log = structlog.get_logger(__name__)


def session_group(session: UUID) -> str:
    return f"session.{session.hex}"


def buyer_group(buyer: UUID) -> str:
    return f"buyer.{buyer.hex}"


def send_diff(*, session: UUID, start: int, version: int, changes: dict[str, str], available: int) -> None:
    """Tell every watcher of the session what changed after map version `start`, up to `version`.

    Call it after commit.
    """
    body = {"type": "seats", "from": start, "version": version, "changes": changes, "available": available}
    _send(session_group(session), body)
    DIFFS.inc()


def send_stock(*, session: UUID, ticket_type: UUID, available: int, at: dt.datetime) -> None:
    """Tell every watcher of the session how many unnumbered places were left at that time.

    The number was read under the session's lock. Call this after commit. The time stays on the wire, where a later
    number may overtake this one.
    """
    body = {"type": "ticket:update", "ticket_type": str(ticket_type), "available": available, "at": at.timestamp()}
    _send(session_group(session), body)


def send_personal(*, buyer: UUID, message: Mapping[str, object]) -> None:
    """Tell one buyer, on every open page. `message` is ready for JSON. Call it after commit."""
    _send(buyer_group(buyer), message)


def flush(seconds: float = 2.0) -> bool:
    """Wait until all messages so far are sent or given up; return False after `seconds`. For short-lived programs."""
    return _wire is None or _wire.wait_until_idle(seconds)


@dataclass(slots=True)
class _Message:
    group: str
    body: Mapping[str, object]
    until: float


class _Wire:
    """Send messages from one thread: all that wait leave in one pipeline, so a crowd's messages share the trips.

    It publishes what the layer's own `group_send` would (channels_redis.pubsub), which costs 130 µs a message through
    an event loop. The group's channel is `<prefix>__group__<group>`, the message as the layer serialises it.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Message] = deque()
        self._pending = 0
        self._changed = threading.Condition()
        self._outage = False
        self._redis: tuple[str, redis.Redis] | None = None
        keep_running(self._run, name="wire")

    def put(self, message: _Message) -> None:
        with self._changed:
            if len(self._waiting) >= LONGEST_QUEUE:
                LOST.inc()
                return
            self._waiting.append(message)
            self._pending += 1
            self._changed.notify_all()

    def wait_until_idle(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, timeout=seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                batch = [self._waiting.popleft() for _message in range(min(len(self._waiting), BATCH))]
            self._deliver(batch)
            with self._changed:
                self._pending -= len(batch)
                self._changed.notify_all()

    def _deliver(self, batch: list[_Message]) -> None:
        """Send all, again and again until their time is over.

        Messages that arrived before a failure arrive again: receivers tell by the versions.
        """
        while batch:
            try:
                self._publish(batch)
            except Exception as error:  # noqa: BLE001 whatever is wrong with Redis, selling goes on
                self._note_outage(error)
                time.sleep(RETRY_PAUSE)
            else:
                self._note_recovery()
                return
            now = time.monotonic()
            waiting = [message for message in batch if message.until > now]
            LOST.inc(len(batch) - len(waiting))
            batch = waiting

    def _publish(self, batch: list[_Message]) -> None:
        layer = get_channel_layer()
        # django-stubs guesses the type of the setting
        config: dict[str, Any] = settings.CHANNEL_LAYERS["default"]["CONFIG"]  # type: ignore[assignment]
        pipe = self._client(config["hosts"][0]).pipeline(transaction=False)
        for message in batch:
            told = {"type": "wire.message", "group": message.group, "body": message.body}
            pipe.publish(f"{config.get('prefix', 'asgi')}__group__{message.group}", layer.serialize(told))
        pipe.execute()

    def _client(self, url: str) -> redis.Redis:
        """Return a client of the channel layer's Redis, which may be none of Django's caches, with this deadline."""
        if self._redis is None or self._redis[0] != url:
            self._redis = (
                url,
                redis.Redis.from_url(url, socket_timeout=SEND_TIMEOUT, socket_connect_timeout=SEND_TIMEOUT),
            )
        return self._redis[1]

    def _note_outage(self, error: Exception) -> None:
        if not self._outage:
            log.warning("wire.down", error=type(error).__name__)
        self._outage = True

    def _note_recovery(self) -> None:
        if self._outage:
            log.warning("wire.up")
        self._outage = False


_wire: _Wire | None = None
_starting = threading.Lock()


def _send(group: str, body: Mapping[str, object]) -> None:
    global _wire  # one a process, created when first needed
    if _wire is None:
        with _starting:
            if _wire is None:
                _wire = _Wire()
    _wire.put(_Message(group, body, time.monotonic() + PATIENCE))


def _forget_the_parents() -> None:
    """Start afresh in a forked child, which has its parent's objects but not its threads."""
    global _wire, _starting
    _wire, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_the_parents)
atexit.register(flush)
