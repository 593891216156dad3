"""Tell every process which sessions changed, so that the next reader of a copy sees it at once.

Note [Read what was written]
A program that holds a seat and then reads the session expects the seat to be gone. So each change is published after
its commit, and the processes outdate their copies of that session and of the lists. In a rush that would make pages for
every change: each copy is outdated `BURST` times in a row, and then at most `A_SECOND` times a second. Beyond that, and
if a message is lost, a reader sees the change when the copy is renewed by its age.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from functools import cache
from uuid import UUID, uuid4

import msgspec
import redis
import structlog
from django.conf import settings
from django_redis import get_redis_connection

from base.breaker import BreakerOpen
from base.copies.sharing import CACHE_ERRORS, breaker
from base.threads import keep_running

log = structlog.get_logger(__name__)

BURST, A_SECOND = 10, 2
SIGN_WITHIN = 5.0  # seconds in which Redis must answer when it is asked
CHANGES = ("seat.", "stock.", "session.", "reservation.")  # events after which a page or a list may say another thing
CHANGES_NOTHING = "reservation.rejected"


class Changed(msgspec.Struct, array_like=True):
    """Tell which sessions changed. The process that tells it has outdated its own copies already.

    `process` is a random id, because processes in two containers may have the same number.
    """

    process: UUID
    sessions: list[UUID]


_listening_in = 0  # the process whose listener was started
_outdate: Callable[[UUID], None] | None = None
_starting = threading.Lock()


def is_change(event: str) -> bool:
    """Tell whether copies may differ after the event."""
    return event.startswith(CHANGES) and event != CHANGES_NOTHING


def _ourselves() -> UUID:
    """Return the id of this process, also after a fork."""
    return _id_of(os.getpid())


@cache
def _id_of(_process: int) -> UUID:
    return uuid4()


def _channel() -> str:
    return f"{settings.KEY_PREFIX}:copies:changed"


def tell(sessions: Collection[UUID]) -> None:
    """Publish that the sessions changed; call it after the commit. While Redis is away, copies only age."""
    if not settings.COPY_SECONDS:
        return
    if _outdate is not None:
        for session in sessions:
            _outdate(session)
    try:
        with breaker:
            get_redis_connection("default").publish(
                _channel(), msgspec.json.encode(Changed(_ourselves(), list(sessions)))
            )
    except (*CACHE_ERRORS, BreakerOpen) as error:
        log.info("copies.change_not_told", error=type(error).__name__)


def listen(outdate: Callable[[UUID], None]) -> None:
    """Call `outdate` for each session that changes, from a thread of this process; also after a fork."""
    global _listening_in, _outdate
    if _listening_in == os.getpid():
        return
    with _starting:
        if _listening_in != os.getpid():
            _listening_in, _outdate = os.getpid(), outdate
            keep_running(lambda: _listen(outdate), name="copies")


def _hear(said: bytes, outdate: Callable[[UUID], None]) -> None:
    told = msgspec.json.decode(said, type=Changed)
    if told.process != _ourselves():
        for session in told.sessions:
            outdate(session)


def _listen(outdate: Callable[[UUID], None]) -> None:
    """Take messages until Redis is lost. Silence is no proof of life, so ping Redis in between."""
    connection = redis.Redis.from_url(settings.CACHE_URL, socket_timeout=SIGN_WITHIN, socket_connect_timeout=1)
    try:
        with connection, connection.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(_channel())
            heard = time.monotonic()
            while time.monotonic() - heard < SIGN_WITHIN:
                message = pubsub.get_message(timeout=1.0)
                if message is None:
                    pubsub.ping()
                    continue
                heard = time.monotonic()
                if message["type"] == "message":
                    _hear(message["data"], outdate)
        log.warning("copies.lost", error="no sign of life")
    except (redis.ConnectionError, redis.TimeoutError) as error:
        log.warning("copies.lost", error=repr(error))
        time.sleep(0.5)  # Redis is away; copies only age
