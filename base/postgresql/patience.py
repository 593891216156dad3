"""Limit how long a process waits for PostgreSQL's answer to one statement.

`tcp_user_timeout` notices a network that acknowledges nothing. A proxy, a pooler or a stopped server acknowledges a
statement that it never answers. Then libpq waits for ever, with all locks of its thread.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import psycopg
import structlog
from psycopg import pq
from psycopg.abc import PQGen

INTERVAL = 0.1  # seconds between two checks for Ctrl-C, the same as psycopg's own

log = structlog.get_logger(__name__)

Value = TypeVar("Value")


class PatientConnection(psycopg.Connection[Any]):
    """Close the connection if PostgreSQL does not answer a statement within `limit` seconds.

    It raises psycopg.OperationalError, like any other lost connection. PostgreSQL may have done what was asked.
    """

    limit: ClassVar[float | None] = None

    def wait(self, gen: PQGen[Value], interval: float = INTERVAL, timeout: float | None = None) -> Value:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:  # the outcome of the statement is unknown
                log.warning("postgresql.silent", seconds=self.limit)
                self.pgconn.finish()
            raise


def wait_at_most(seconds: float) -> None:
    """Limit how long this process waits for one statement. Migrations and other commands keep no limit."""
    PatientConnection.limit = seconds
