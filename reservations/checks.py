"""Check each thing that an installation needs in order to sell, for `/health` and for the metrics of every process.

A check returns facts, or raises. Each uses a connection of its own: a busy pool is not a dead database.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from base.examination import Check
from realtime import relay
from reservations.queueing import liveness
from reservations.queueing.liveness import Part

DATABASE_SECONDS = 1
MIGRATED_SECONDS = 30
ENOUGH_MEMORY = 64 * 2**20  # bytes left on the machine
ENOUGH_DISK = 256 * 2**20  # bytes left where the process runs

Facts = dict[str, object]


class Silent(Exception):
    """No process of this kind does its work at the moment."""


class ShortOfMemory(Exception):
    """The machine is about to run out of memory."""


class ShortOfDisk(Exception):
    """The disk that the process runs on is almost full."""


class NotMigrated(Exception):
    """The database lacks tables or columns that this version of the code uses: run `manage.py migrate`."""


@contextmanager
def own_connection(*, seconds: float = DATABASE_SECONDS) -> Iterator[psycopg.Connection[Any]]:
    """Connect to PostgreSQL outside of the pool; a statement may take this many seconds."""
    parameters = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in {"dbname", "user", "password", "host", "port", "sslmode", "sslrootcert"}
    }
    limits = f"-c statement_timeout={int(seconds * 1000)} -c jit=off"
    with psycopg.connect(**parameters, connect_timeout=1, autocommit=True, options=limits) as own:
        yield own


def database() -> Facts:
    with own_connection() as own:
        own.execute("SELECT 1")
    return {}


@cache
def client(url: str) -> redis.Redis:
    """Return a client with deadlines and its own connection: the requests' pool may ail while Redis works."""
    return redis.Redis.from_url(url, socket_timeout=0.8, socket_connect_timeout=0.8)


def caches() -> Facts:
    """Ping the Redis of the claims and that of Django's cache, which may be another."""
    for url in {settings.REDIS_URL, settings.CACHE_URL}:
        client(url).ping()
    return {}


def broker() -> Facts:
    with relay.connect(settings.CELERY_BROKER_URL, deadline=0.8) as asked:
        asked.ensure_connection(max_retries=1, timeout=0.8, interval_start=0)
    return {"queue": settings.QUEUE}


def works(part: Part) -> Facts:
    age = liveness.ages(client(settings.REDIS_URL))[part]
    if age is None or age > liveness.SILENT_AFTER[part]:
        raise Silent(part)
    return {"seconds_ago": round(age, 1)}


def memory() -> Facts:
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    available = _available_memory()
    if available is not None and available < ENOUGH_MEMORY:
        raise ShortOfMemory(available)
    return {"process_peak_bytes": process, "available_bytes": available}


def _available_memory() -> int | None:
    """Return the memory that is left, or None where the system does not tell (macOS)."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def disk() -> Facts:
    free = shutil.disk_usage(settings.BASE_DIR).free
    if free < ENOUGH_DISK:
        raise ShortOfDisk(free)
    return {"available_bytes": free}


_migrated_until = float("-inf")


def migrations() -> Facts:
    """Require that the database has every migration of this code; one that is ahead is fine, as during a deploy.

    A migrated database stays so: it is checked again after half a minute only. Raises: NotMigrated.
    """
    global _migrated_until
    if time.monotonic() < _migrated_until:
        return {}
    with own_connection() as own:
        applied = set(own.execute("SELECT app, name FROM django_migrations").fetchall())
    missing = _known_migrations() - applied
    if missing:
        raise NotMigrated(len(missing))
    _migrated_until = time.monotonic() + MIGRATED_SECONDS
    return {}


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


DEPENDENCIES: dict[str, Check] = {"database": database, "cache": caches, "broker": broker}
MACHINE: dict[str, Check] = {"memory": memory, "disk": disk}
ALL: dict[str, Check] = {
    **DEPENDENCIES,
    **{part: partial(works, part) for part in liveness.PARTS},
    **MACHINE,
    "migrations": migrations,
}
