"""The Redis that may forget: limits and kept answers. Apart from the claims' one, so that eviction never touches a claim."""

from __future__ import annotations

from functools import cache

import redis
from django.conf import settings

from reservations.breaker import Breaker, BreakerOpen

LOST = (redis.ConnectionError, redis.TimeoutError)
FAILURES = (*LOST, BreakerOpen)

breaker = Breaker("cache", errors=LOST)


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
