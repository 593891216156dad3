"""Check what must never be true of the event log, for `manage.py audit`. A sound installation has no findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from django.db import connection

Fault = Mapping[str, object]  # the facts of one fault, ready for JSON
MOST_FINDINGS = 100  # of one check; a broken installation is known to be broken by then


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check: `sql` returns one row for each fault, with its subject in the first column; `says` explains such a row.

    A check of facts outside the tables has no `sql`; its `look` yields the facts of each fault.
    """

    name: str
    says: str
    sql: str = ""
    parameters: Sequence[Any] = ()
    look: Callable[[], Iterable[Fault]] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    check: str
    says: str
    facts: Fault


def run(checks: Sequence[Check]) -> Iterator[Finding]:
    """Run all of the checks, each on its own snapshot; yield at most `MOST_FINDINGS` of each."""
    for check in checks:
        look = check.look or partial(_rows, check)
        for facts in islice(look(), MOST_FINDINGS):
            yield Finding(check=check.name, says=check.says, facts=facts)


def _rows(check: Check) -> Iterator[Fault]:
    with connection.cursor() as cursor:
        # The query is our own constant.
        cursor.execute(f"SELECT * FROM ({check.sql}) AS faults LIMIT {MOST_FINDINGS}", check.parameters)  # noqa: S608
        names = [column.name for column in cursor.description or ()]
        for row in cursor.fetchall():
            yield dict(zip(names, map(_plain, row), strict=True))


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
    Check(
        name="transaction_left_open",
        says="a transaction has been idle for long and still keeps its locks",
        sql="SELECT pid, application_name AS program, state, state_change AS since FROM pg_stat_activity"
        " WHERE datname = current_database() AND state IN ('idle in transaction', 'idle in transaction (aborted)')"
        " AND state_change < clock_timestamp() - %s::interval",
        parameters=["10 seconds"],  # the relay's waits for its broker for 2; the processes' own end at 30
    ),
    Check(
        name="advisory_lock_orphaned",
        says="a connection keeps an advisory lock and has been idle for long",
        sql="SELECT held.pid, held.classid, held.objid, owner.application_name AS program, owner.state_change AS since"
        " FROM pg_locks AS held JOIN pg_stat_activity AS owner ON owner.pid = held.pid"
        " WHERE held.locktype = 'advisory' AND held.granted AND owner.datname = current_database()"
        " AND owner.state = 'idle' AND owner.state_change < clock_timestamp() - %s::interval",
        parameters=["1 minute"],  # longer than any wait for a mail server under the lock of its letter
    ),
]
