"""The Redis that may forget: limits and kept answers. Apart from the claims' one, so that eviction never touches a claim."""

from __future__ import annotations

from functools import cache
from urllib.parse import urlsplit

import redis
from django.conf import settings

from reservations import claims
from reservations.breaker import Breaker

FAILURES = claims.FAILURES


@cache
def client() -> redis.Redis:
    seconds = settings.REDIS_TIMEOUT_MS / 1000
    return redis.Redis.from_url(
        settings.CACHE_URL,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        decode_responses=True,
        max_connections=256,
    )


def _probe() -> None:
    client().connection_pool.disconnect(inuse_connections=False)
    client().set(f"{settings.KEY_PREFIX}:probe", 1, px=1_000)


def _breaker() -> Breaker:
    """The claims' own where both are one server: it is lost once, not twice."""
    if urlsplit(settings.CACHE_URL).netloc == urlsplit(settings.REDIS_URL).netloc:
        return claims.breaker
    return Breaker("cache", errors=(redis.RedisError,), probe=_probe)


breaker = _breaker()
