"""Use the Redis that may forget: limits and kept answers. It is apart from the claims', so eviction touches no claim.

It is Django's default cache: `django.core.cache.cache` for values, and its connection for what needs a script in one
trip.
"""

from __future__ import annotations

from functools import cache
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django_redis import get_redis_connection

from base.breaker import Breaker
from reservations.claims import claims

FAILURES = claims.FAILURES


@cache
def client() -> redis.Redis:
    """Return the cache's own connection. It is kept, because fetching it costs 15 µs each time."""
    held: redis.Redis = get_redis_connection("default")
    return held


def _probe() -> None:
    client().connection_pool.disconnect(inuse_connections=False)
    client().set(f"{settings.KEY_PREFIX}:probe", 1, px=1_000)


def _breaker() -> Breaker:
    """Return the claims' breaker if both use one server, so that its loss is noticed once and not twice."""
    if urlsplit(settings.CACHE_URL).netloc == urlsplit(settings.REDIS_URL).netloc:
        return claims.breaker
    return Breaker("cache", errors=claims.LOST, probe=_probe)


breaker = _breaker()
