"""Choose the active relay where several run: its connection to PostgreSQL holds an advisory lock.

Note [How the lock is lost]
PostgreSQL gives the lock back when its connection ends, so the relay that holds it has a connection for nothing else. A
killed process closes it at once. A process that is stopped, or whose machine or network is gone, closes nothing:
PostgreSQL itself ends a connection that sent no query for `SILENCE_SECONDS`, and the holder sends several in that time.
The holder in turn counts its lock as lost `SURE_SECONDS` after the last query that was answered, which is sooner, and
as soon as its connection has unasked data: PostgreSQL sends that only to end it.

Note [Why no message overtakes when the relay changes]
A stopped relay may wake between its last look at the lock and the write to the broker. That does no harm: both relays
publish unmarked events, in the same order and from the same row on. So an event that one sends late, the other has sent
before or sends next. A consumer gets such an event twice, and its first copy in order.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

import psycopg
import structlog
from django.db import connection
from prometheus_client import Gauge

SILENCE_SECONDS = 2.0
SURE_SECONDS = 1.5
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtext('frontrow.relay'), 0)"

ACTIVE = Gauge(
    "frontrow_relay_active", "1 in the relay that publishes, 0 in a relay on standby", multiprocess_mode="max"
)

log = structlog.get_logger(__name__)


class NotActive(Exception):
    """Another relay may be publishing by now."""


class Leadership:
    """This process's claim to be the active relay. For one thread."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None
        self._active = False
        self._sure_until = 0.0
        self._gave_up = False

    def renew(self) -> bool:
        """Keep the lock, or try to get it; return whether this relay is active now.

        Raises: Django's database errors.
        """
        if self._active and not self._is_answered():
            self._hang_up()
            log.warning("relay.not_active_any_more")
        if not self._active and self._try_lock():
            self._active = True
            (log.debug if self._gave_up else log.info)("relay.active")
            self._gave_up = False
        ACTIVE.set(self._active)
        return self._active

    @property
    def is_active(self) -> bool:
        """Tell whether this relay was the active one when it last looked."""
        return self._active

    def require(self) -> None:
        """Require that the lock is surely ours. It takes no query, so that it can precede each message.

        Raises: NotActive.
        """
        if not self._active or time.monotonic() >= self._sure_until or self._speaks_unasked():
            raise NotActive

    def give_up(self) -> None:
        """Let another relay try. Takes effect at once; `renew` applies anew."""
        self._gave_up = self._active
        self._hang_up()

    def _try_lock(self) -> bool:
        with connection.wrap_database_errors:
            asked_at = time.monotonic()
            try:
                found = self._ask(TRY_LOCK)
            except psycopg.OperationalError:  # the connection was old; a new one may do
                self._hang_up()
                asked_at = time.monotonic()
                found = self._ask(TRY_LOCK)
        self._sure_until = asked_at + SURE_SECONDS
        return bool(found)

    def _is_answered(self) -> bool:
        asked_at = time.monotonic()
        try:
            self._ask("SELECT 1")
        except psycopg.Error as error:
            log.warning("relay.lock_lost", error=type(error).__name__)
            return False
        self._sure_until = asked_at + SURE_SECONDS
        return True

    def _ask(self, question: str) -> Any:
        if self._connection is None:
            self._connection = _connect()
        row = self._connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]

    def _speaks_unasked(self) -> bool:
        if self._connection is None or self._connection.closed:
            return True
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _hang_up(self) -> None:
        self._active = False
        ACTIVE.set(0)
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect() -> psycopg.Connection[Any]:
    """Open a connection outside Django's pool, which would lend it to others and reopen it.

    See Note [How the lock is lost].
    """
    parameters = connection.get_connection_params()
    for of_django in ("context", "cursor_factory"):
        parameters.pop(of_django, None)
    parameters |= {
        "autocommit": True,
        "application_name": f"frontrow relay {os.getpid()}",
        "connect_timeout": 2,
        "keepalives_idle": 1,
        "keepalives_interval": 1,
        "keepalives_count": 2,
        "tcp_user_timeout": 2_000,  # milliseconds
        "options": f"{parameters.get('options', '')} -c idle_session_timeout={SILENCE_SECONDS * 1000:.0f}",
    }
    return psycopg.connect(**parameters)
