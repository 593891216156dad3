"""Measure how far this process's clock is from the database's, again and again in a thread of its own."""

from __future__ import annotations

import datetime as dt
import threading
from functools import lru_cache

import structlog
from django.db import DatabaseError, connection

from base.clock import db_now, reckoned_now

log = structlog.get_logger(__name__)

SECONDS, SOONER = 30.0, 2.0  # between two measurements, and after a failed one


def follow() -> None:
    """Keep `reckoned_now` right from now on."""
    threading.Thread(target=_follow, name="clock", daemon=True).start()


def _follow() -> None:
    pause = threading.Event()
    while not pause.wait(SECONDS if ask() else SOONER):
        pass


def ask() -> bool:
    """Ask the database for its time, and tell whether it answered."""
    try:
        db_now()
    except DatabaseError as error:
        log.warning("clock.unknown", error=type(error).__name__)
        return False
    finally:
        connection.close()  # back to the pool
    return True


def http_date() -> bytes:
    """Return the `Date` header of an answer. Pages use it to count down to the end of a hold."""
    return _written(int(reckoned_now().timestamp()))


@lru_cache(maxsize=2)
def _written(second: int) -> bytes:
    return dt.datetime.fromtimestamp(second, dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
