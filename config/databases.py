"""How processes are connected to PostgreSQL and Redis."""

from __future__ import annotations

import urllib.parse
from typing import Any

import dj_database_url

from base.postgresql.patience import PatientConnection


def postgresql(url: str, *, pool_size: int, pool_seconds: int, lock_timeout_ms: int) -> dict[str, Any]:
    """Return one of Django's databases, with a pool of connections in each process."""
    database: dict[str, Any] = dict(dj_database_url.parse(url))
    database["ENGINE"] = "base.postgresql"  # Django's, with every statement counted
    database["CONN_HEALTH_CHECKS"] = True  # a restarted PostgreSQL costs nobody an error
    options: dict[str, Any] = {
        "pool": {
            "min_size": 1,
            "max_size": pool_size,
            "connection_class": PatientConnection,
            "timeout": pool_seconds,
            # The pool tries again after 1, 2, 4, 8 … seconds: after an outage it would stay empty for as long as that had been.
            # Giving up soon lets the next request begin anew.
            "reconnect_timeout": 1.0,
        },
        "connect_timeout": 2,
        # A server that is gone without a word, machine and all, is noticed within twenty seconds
        "keepalives_idle": 5,
        "keepalives_interval": 3,
        "keepalives_count": 4,
        "tcp_user_timeout": 15_000,
        "application_name": "frontrow",
        "options": f"-c lock_timeout={lock_timeout_ms} -c idle_in_transaction_session_timeout=30000 -c jit=off",
    }
    database["OPTIONS"] = {**database.get("OPTIONS", {}), **options}
    return database


def redis_cache(url: str, *, name: str, prefix: str, timeout_ms: int, **of_connections: Any) -> dict[str, Any]:
    """Return one of Django's caches. `name`: of its connections in Redis' CLIENT LIST; django-redis keeps a pool for each URL."""
    parts = urllib.parse.urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return {
        "BACKEND": "django_prometheus.cache.backends.redis.RedisCache",  # django-redis', with hits and misses counted
        "LOCATION": urllib.parse.urlunsplit(parts._replace(query=f"{query}client_name={name}")),
        "KEY_PREFIX": prefix,
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",  # a foreign writer to Redis runs nothing here
            "CONNECTION_POOL_KWARGS": {"max_connections": 256, **of_connections},
            "SOCKET_CONNECT_TIMEOUT": timeout_ms / 1000,
            "SOCKET_TIMEOUT": timeout_ms / 1000,
        },
    }
