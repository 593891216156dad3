"""A limit to how long a process waits for PostgreSQL's answer to one statement.

`tcp_user_timeout` notices a network that acknowledges nothing. A proxy, a pooler or a stopped server acknowledges what it never
answers, and libpq then waits without end, with every lock that its thread holds.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import psycopg
import structlog
from psycopg import pq
from psycopg.abc import PQGen

INTERVAL = 0.1  # seconds between two looks at whether Ctrl-C was pressed, as psycopg has it

log = structlog.get_logger(__name__)

Value = TypeVar("Value")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when PostgreSQL leaves a statement without an answer for `limit` seconds.

    Then psycopg.OperationalError is raised, as for any other lost connection: PostgreSQL may have done what was asked.
    """

    limit: ClassVar[float | None] = None

    def wait(self, gen: PQGen[Value], interval: float = INTERVAL, timeout: float | None = None) -> Value:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:  # nothing more is known of the statement
                log.warning("postgresql.silent", seconds=self.limit)
                self.pgconn.finish()
            raise


def wait_at_most(seconds: float) -> None:
    """Limit how long this process waits for one statement. Commands that people run have no limit: a migration may take its time."""
    PatientConnection.limit = seconds
