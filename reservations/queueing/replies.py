"""Send outcomes to waiting web processes (`Prefer: wait`): one channel a process, one message a process and batch."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import msgspec
import redis
import structlog
from django.conf import settings

from base import parking
from base.threads import keep_running
from reservations.claims import claims, keys
from reservations.queueing import liveness

log = structlog.get_logger(__name__)

MOST_PARKED = 4_000  # requests that wait without a thread; each takes 30 kB
SIGN_WITHIN = 5.0  # seconds in which Redis must answer when it is asked

Outcome = dict[str, Any]  # as JSON brought it


class ReplyDesk:
    """The place where one web process waits. Its listener starts with the first waiter and dies with the process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.address = keys.key("replies", self.pid, uuid.uuid4().hex[:12])
        self._waiting: dict[str, concurrent.futures.Future[Outcome]] = {}
        self._places = threading.BoundedSemaphore(max(settings.WEB_THREADS // 2, 1))
        self._parking = threading.BoundedSemaphore(MOST_PARKED)
        self._listening = threading.Event()
        self._ready_by = time.monotonic() + 1.0
        keep_running(self._listen, name="replies")

    def _listen(self) -> None:
        """Take answers until Redis is lost. Silence is no proof of life, so ping Redis in between.

        A subscription needs a connection of its own, and longer deadlines than a request has.
        """
        connection = redis.Redis.from_url(
            settings.REDIS_URL, decode_responses=True, socket_timeout=SIGN_WITHIN, socket_connect_timeout=1
        )
        try:
            with connection, connection.pubsub() as pubsub:  # type: ignore[no-untyped-call]
                pubsub.subscribe(self.address)
                heard = time.monotonic()
                while time.monotonic() - heard < SIGN_WITHIN:
                    message = pubsub.get_message(timeout=1.0)
                    if message is not None:
                        heard = time.monotonic()
                        self._take(message)
                    else:
                        pubsub.ping()
            log.warning("replies.lost", error="no sign of life")
        except (redis.ConnectionError, redis.TimeoutError) as error:
            log.warning("replies.lost", error=repr(error))
            time.sleep(0.5)  # Redis is away; waiters get their 202
        finally:
            self._listening.clear()

    def _is_listening(self) -> bool:
        """Tell whether answers can reach this desk; a new desk gets a moment."""
        if self._listening.is_set():
            return True
        patience = max(0.0, self._ready_by - time.monotonic())
        return patience > 0 and parking.aside(partial(self._listening.wait, patience))

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._listening.set()
        if message["type"] != "message":
            return
        for name, outcome in msgspec.json.decode(message["data"]):
            future = self._waiting.get(name)
            if future is not None and not future.done():
                future.set_result(outcome)

    @contextmanager
    def expect(
        self, name: uuid.UUID, *, of: Literal["worker", "payments"]
    ) -> Iterator[concurrent.futures.Future[Outcome] | None]:
        """Yield a future of the outcome, or None if waiting is useless.

        It is useless if half of the threads wait already, or no such worker consumes. A parked request takes no thread
        (see Note [Parked requests] in `base.parking`).
        """
        places = self._parking if parking.is_parkable() else self._places
        # the liveness first: it is remembered, and says no at once while Redis is away
        if not liveness.is_alive(of) or not self._is_listening() or not places.acquire(blocking=False):
            yield None
            return
        future: concurrent.futures.Future[Outcome] = concurrent.futures.Future()
        self._waiting[str(name)] = future
        try:
            yield future
        finally:
            self._waiting.pop(str(name), None)
            places.release()


_desk: ReplyDesk | None = None
_desk_lock = threading.Lock()


def desk() -> ReplyDesk:
    """Return the desk of this process, also after a fork."""
    global _desk
    with _desk_lock:
        if _desk is None or _desk.pid != os.getpid():
            _desk = ReplyDesk()
        return _desk


def send(outcomes: Mapping[str, Sequence[tuple[uuid.UUID, Mapping[str, object]]]]) -> None:
    """Send each web process (by address) the outcomes it waits for. Raises: claims.NoClaims."""
    if not outcomes:
        return
    try:
        with claims.breaker:
            pipe = claims.client().pipeline(transaction=False)
            for address, told in outcomes.items():
                pipe.publish(address, msgspec.json.encode(told))
            pipe.execute()
    except claims.FAILURES as error:
        raise claims.NoClaims from error


def wait(future: concurrent.futures.Future[Outcome], *, seconds: float) -> Outcome | None:
    try:
        return parking.wait(future, seconds=seconds)
    except TimeoutError:
        return None
