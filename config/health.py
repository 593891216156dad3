"""Whether this installation can sell, and what watches it: `/health/live`, `/health/ready`, `/health`, `/metrics`.

Only PostgreSQL is needed. Without Redis, the broker or a worker selling goes on, slower or later (a 202 is kept), so
those only make the state `degraded`: a proxy that took such a web process out would stop what still works.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlinePassed
from functools import cache, partial
from pathlib import Path
from typing import Any

import kombu
import psycopg
import redis
import structlog
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView

from reservations import liveness
from reservations.liveness import Part

log = structlog.get_logger(__name__)

DEADLINE_SECONDS = 1.0
NEEDED = frozenset({"database"})
ENOUGH_MEMORY = 64 * 2**20  # bytes left on the machine

OK, GONE = "ok", "gone"


def _database() -> dict[str, Any]:
    """On a connection of its own: a busy pool is not a dead database."""
    parameters = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in {"dbname", "user", "password", "host", "port", "sslmode", "sslrootcert"}
    }
    with psycopg.connect(**parameters, connect_timeout=1, autocommit=True, options="-c statement_timeout=1000") as own:
        own.execute("SELECT 1")
    return {}


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.8, socket_connect_timeout=0.8)


def _cache() -> dict[str, Any]:
    _redis().ping()
    return {}


def _broker() -> dict[str, Any]:
    with kombu.Connection(settings.CELERY_BROKER_URL, connect_timeout=0.8, heartbeat=0) as broker:
        broker.ensure_connection(max_retries=1, timeout=0.8, interval_start=0)
    return {"line": settings.LINE}


def _consumes(part: Part) -> dict[str, Any]:
    if part in liveness.silent(_redis()):
        raise Silent
    return {}


class Silent(Exception):
    """No worker of this kind consumes all of its queues."""


class ShortOfMemory(Exception):
    """The machine is about to run out of memory."""


def _memory() -> dict[str, Any]:
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    available = _available_memory()
    if available is not None and available < ENOUGH_MEMORY:
        raise ShortOfMemory(available)
    return {"process_peak_bytes": process, "available_bytes": available}


def _available_memory() -> int | None:
    """None where the system does not tell (macOS)."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


CHECKS: dict[str, Callable[[], dict[str, Any]]] = {
    "database": _database,
    "cache": _cache,
    "broker": _broker,
    "worker": partial(_consumes, "worker"),
    "payments": partial(_consumes, "payments"),
    "jobs": partial(_consumes, "jobs"),
    "memory": _memory,
}


Found = tuple[dict[str, Any] | Exception, float]
_under_way: dict[str, Future[Found]] = {}


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=2 * len(CHECKS), thread_name_prefix="health")


def _begin(name: str) -> Future[Found]:
    """The check's answer to come. One that hangs is waited for again, not begun again: it holds one thread, not all."""
    hanging = _under_way.get(name)
    if hanging is None or hanging.done():
        hanging = _under_way[name] = _threads().submit(_timed, CHECKS[name])
    return hanging


def _timed(check: Callable[[], dict[str, Any]]) -> Found:
    started = time.perf_counter()
    try:
        found: dict[str, Any] | Exception = check()
    except Exception as error:  # noqa: BLE001 whatever a driver raises means the same here, and is told
        found = error
    return found, round((time.perf_counter() - started) * 1000, 1)


def _outcome(name: str, future: Future[Found], *, deadline: float) -> dict[str, Any]:
    """What one check found. The reason of a failure is told by its class alone: messages may name hosts and users."""
    try:
        found, milliseconds = future.result(timeout=max(0.0, deadline - time.monotonic()))
    except DeadlinePassed:
        return {"status": GONE, "milliseconds": DEADLINE_SECONDS * 1000, "reason": "deadline passed"}
    if isinstance(found, Exception):
        log.warning("health.gone", check=name, error=repr(found))
        return {"status": GONE, "milliseconds": milliseconds, "reason": type(found).__name__}
    return {"status": OK, "milliseconds": milliseconds, **found}


def examine() -> dict[str, dict[str, Any]]:
    """Every check at once, none for longer than the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    futures = {name: _begin(name) for name in CHECKS}
    return {
        name: {**_outcome(name, future, deadline=deadline), "needed": name in NEEDED}
        for name, future in futures.items()
    }


@require_safe
def live(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": OK})


@require_safe
def ready(_request: HttpRequest) -> HttpResponse:
    checks = examine()
    gone = {name for name, found in checks.items() if found["status"] == GONE}
    status = "unavailable" if gone & NEEDED else "degraded" if gone else OK
    answer = JsonResponse({"status": status, "checks": checks}, status=503 if gone & NEEDED else 200)
    answer["Cache-Control"] = "no-store"
    if gone & NEEDED:
        answer["Retry-After"] = "1"
    return answer


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    answer: HttpResponse = ExportToDjangoView(request)
    return answer


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/health": ready,
    "/health/live": live,
    "/health/ready": ready,
    "/metrics": metrics,
}
