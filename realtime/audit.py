"""What must never be true of the event log; `manage.py audit` asks. Each check is a query that finds nothing in a sound database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection

MOST_FINDINGS = 100  # of one check; a broken installation is known to be broken by then


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`sql` answers a row a fault, its first column the subject; `says` is what such a row means."""

    name: str
    says: str
    sql: str
    parameters: Sequence[Any] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    check: str
    says: str
    facts: dict[str, Any]


def run(checks: Sequence[Check]) -> Iterator[Finding]:
    """All of the checks, one snapshot each; at most `MOST_FINDINGS` of each."""
    for check in checks:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM ({check.sql}) AS faults LIMIT {MOST_FINDINGS}", check.parameters)  # noqa: S608 our own constant
            names = [column.name for column in cursor.description or ()]
            for row in cursor.fetchall():
                yield Finding(check=check.name, says=check.says, facts=dict(zip(names, map(_plain, row), strict=True)))


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | bool | None | list | dict) else str(value)


CHECKS = [
    Check(
        name="events_unpublished",
        says="an event was not published within a minute: is `relay` running?",
        sql="SELECT id AS event, name, occurred_at FROM realtime_event"
        " WHERE published_at IS NULL AND occurred_at < clock_timestamp() - interval '1 minute' ORDER BY id",
    ),
    Check(
        name="map_version_gap",
        says="the session's map skips or repeats a version in the log",
        sql="SELECT session, map_version, before FROM (SELECT session, map_version,"
        " lag(map_version, 1, 0) OVER (PARTITION BY session ORDER BY map_version) AS before"
        " FROM realtime_event WHERE map_version IS NOT NULL) AS log WHERE map_version <> before + 1",
    ),
]
