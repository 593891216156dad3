"""Configure the connections of processes to PostgreSQL and Redis."""

from __future__ import annotations

import urllib.parse
from typing import Any

import dj_database_url

from base.postgresql.patience import PatientConnection


def postgresql(url: str, *, pool_size: int, pool_seconds: int, lock_timeout_ms: int) -> dict[str, Any]:
    """Return one of Django's databases, with a pool of connections in each process."""
    database: dict[str, Any] = dict(dj_database_url.parse(url))
    database["ENGINE"] = "base.postgresql"  # Django's engine, with every statement counted
    database["CONN_HEALTH_CHECKS"] = True  # no error after a restart of PostgreSQL
    options: dict[str, object] = {
        "pool": {
            "min_size": 1,
            "max_size": pool_size,
            "connection_class": PatientConnection,
            "timeout": pool_seconds,
            # The pool retries after 1, 2, 4, 8 … seconds, so after an outage it would stay empty for as long as the
            # outage was. Giving up soon lets the next request start again.
            "reconnect_timeout": 1.0,
        },
        "connect_timeout": 2,
        # Notice within twenty seconds that a server and its machine are gone silently
        "keepalives_idle": 5,
        "keepalives_interval": 3,
        "keepalives_count": 4,
        "tcp_user_timeout": 15_000,
        "application_name": "frontrow",
        "options": f"-c lock_timeout={lock_timeout_ms} -c idle_in_transaction_session_timeout=30000 -c jit=off",
    }
    database["OPTIONS"] = {**database.get("OPTIONS", {}), **options}
    return database


def redis_cache(url: str, *, name: str, prefix: str, timeout_ms: int, **of_connections: Any) -> dict[str, object]:
    """Return one of Django's caches. `name` shows in Redis' CLIENT LIST. django-redis has a pool for each URL."""
    parts = urllib.parse.urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return {
        "BACKEND": "django_prometheus.cache.backends.redis.RedisCache",  # django-redis' cache with counters
        "LOCATION": urllib.parse.urlunsplit(parts._replace(query=f"{query}client_name={name}")),
        "KEY_PREFIX": prefix,
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",  # data in Redis cannot run code here
            "CONNECTION_POOL_KWARGS": {"max_connections": 256, **of_connections},
            "SOCKET_CONNECT_TIMEOUT": timeout_ms / 1000,
            "SOCKET_TIMEOUT": timeout_ms / 1000,
        },
    }
