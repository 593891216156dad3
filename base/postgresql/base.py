"""Count statements as django-prometheus does, but cheaply, because a worker's batch is only a dozen statements.

django-prometheus makes a class for each connection and looks up its labels at each statement. Measured, that costs 27
µs of CPU per statement and 130 µs per connection from the pool. Here both are done once per process.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from django.db.backends.postgresql import base
from django_prometheus.db import errors_total, execute_many_total, execute_total, query_duration_seconds
from django_prometheus.db.backends.postgresql.base import DatabaseWrapper as Counting


@cache
def counted(kind: Any, alias: str, vendor: str) -> Any:
    """Return a cursor class that counts and times every statement and counts every error by its class."""
    executed, of_many = execute_total.labels(alias, vendor), execute_many_total.labels(alias, vendor)
    took = query_duration_seconds.labels(alias=alias, vendor=vendor)

    class Counted(kind):
        def execute(self, *arguments: Any, **named: Any) -> Any:
            executed.inc()
            return timed(super().execute, arguments, named)

        def executemany(self, query: Any, rows: Any, *arguments: Any, **named: Any) -> Any:
            rows = list(rows)
            executed.inc(len(rows))
            of_many.inc(len(rows))
            return timed(super().executemany, (query, rows, *arguments), named)

    def timed(run: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        started = time.perf_counter()
        try:
            return run(*arguments, **named)
        except Exception as error:
            errors_total.labels(alias, vendor, type(error).__name__).inc()
            raise
        finally:
            took.observe(time.perf_counter() - started)

    return Counted


class DatabaseWrapper(Counting):
    def get_connection_params(self) -> dict[str, Any]:
        found: dict[str, Any] = base.DatabaseWrapper.get_connection_params(self)
        return {**found, "cursor_factory": counted(found["cursor_factory"], self.alias, self.vendor)}
