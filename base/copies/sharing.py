"""Share copies between processes through Django's cache, which may forget them or be away."""

from __future__ import annotations

import msgspec
import redis
import structlog
from django.core.cache import cache

from base.breaker import Breaker, BreakerOpen
from base.copies.copy import Copy

log = structlog.get_logger(__name__)

TURN_SECONDS = 5  # after which another process may make what the first one has not finished
CACHE_ERRORS = (redis.RedisError, OSError)

breaker = Breaker("copies", errors=CACHE_ERRORS)


def shared(name: str) -> Copy | None:
    """Return the copy that a process shared last."""
    try:
        with breaker:
            found = cache.get(f"copy:{name}")
        return msgspec.json.decode(found, type=Copy) if found else None
    except (*CACHE_ERRORS, BreakerOpen, msgspec.DecodeError):
        return None


def share(name: str, copy: Copy) -> None:
    """Share a copy with the other processes, if Redis is there."""
    try:
        with breaker:
            cache.set(f"copy:{name}", msgspec.json.encode(copy).decode(), timeout=TURN_SECONDS)
    except (*CACHE_ERRORS, BreakerOpen) as error:
        log.info("copies.not_shared", error=type(error).__name__)


def take_turn(name: str) -> bool:
    """Tell whether this process is the one to make it. Without Redis every process is."""
    try:
        with breaker:
            return bool(cache.add(f"copy:{name}:turn", 1, timeout=TURN_SECONDS))
    except (*CACHE_ERRORS, BreakerOpen):
        return True


def end_turn(name: str) -> None:
    """Let another process make the next one."""
    try:
        with breaker:
            cache.delete(f"copy:{name}:turn")
    except (*CACHE_ERRORS, BreakerOpen) as error:
        log.info("copies.turn_not_ended", error=type(error).__name__)
