"""Limit the requests of one address and one buyer by token buckets in Redis; in this process while Redis is away.

A view names its limit in `throttle_scope`. By default reading and writing have one each (`settings.LIMITS`).
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from base.addresses import network_of_request
from base.asking import Buyer, asking
from config.web import cache as shared

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it loads this module

MOST_LOCAL_BUCKETS = 50_000


@dataclass(frozen=True)
class Bucket:
    """Describe a bucket: `key` names its owner, `rate` is tokens per second, `burst` is how many tokens it holds."""

    key: str
    rate: float
    burst: int

    @property
    def interval(self) -> int:
        """Return the microseconds until a token comes back."""
        return max(1, round(1_000_000 / self.rate))


def buckets_of(request: Request | HttpRequest, scope: str) -> list[Bucket]:
    sent = request._request if isinstance(request, Request) else request  # noqa: SLF001 the only name
    return _buckets(sent, asking(request), scope)


def buckets_of_form(request: HttpRequest, scope: str) -> list[Bucket]:
    """Return the buckets of a page's visitor."""
    return _buckets(request, request.visit.buyer, scope)  # type: ignore[attr-defined] # BuyerMiddleware puts it there


def _buckets(sent: HttpRequest, buyer: Buyer | None, scope: str) -> list[Bucket]:
    limits = settings.LIMITS[scope]
    who = {"address": network_of_request(sent)}
    if buyer is not None and "buyer" in limits:
        who["buyer"] = str(buyer.id)
    prefix = f"{settings.KEY_PREFIX}:limit:{scope}"
    return [Bucket(f"{prefix}:{kind}:{name}", *limits[kind]) for kind, name in who.items()]


@cache
def _script() -> Any:
    return shared.client().register_script((Path(__file__).parent / "bucket.lua").read_text())


def take(buckets: list[Bucket]) -> float:
    """Take a token of each bucket in one trip. Return 0, or the seconds to wait if one has none."""
    try:
        with shared.breaker:
            return _take_shared(buckets)
    except shared.FAILURES:
        return max(_local.take(bucket) for bucket in buckets)


def _take_shared(buckets: list[Bucket]) -> float:
    pipe = shared.client().pipeline(transaction=False)
    for bucket in buckets:
        _script()(keys=[bucket.key], args=[bucket.interval, bucket.burst], client=pipe)
    return float(max(int(wait) for wait in pipe.execute())) / 1_000_000


class LocalBuckets:
    """Apply the rule of `bucket.lua` in one process."""

    def __init__(self) -> None:
        self._full_at: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, bucket: Bucket) -> float:
        now = time.monotonic_ns() // 1_000
        with self._lock:
            if len(self._full_at) > MOST_LOCAL_BUCKETS:
                self._forget_some(now)
            full_at = max(self._full_at.get(bucket.key, 0), now) + bucket.interval
            wait = full_at - now - bucket.interval * bucket.burst
            if wait > 0:
                return wait / 1_000_000
            self._full_at[bucket.key] = full_at
            return 0.0

    def _forget_some(self, now: int) -> None:
        """Forget buckets that are full again; if these are too few, also the older half of the others."""
        left = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        if len(left) > MOST_LOCAL_BUCKETS // 2:
            left = dict(itertools.islice(left.items(), len(left) // 2, None))
        self._full_at = left


_local = LocalBuckets()


class AddressAndBuyerThrottle(BaseThrottle):
    """Throttle requests for DRF. With `settings.RATE_LIMITS` off, all pass."""

    def __init__(self) -> None:
        self._wait = 0.0

    def allow_request(self, request: Request | HttpRequest, view: APIView) -> bool:
        if not settings.RATE_LIMITS:
            return True
        default = "read" if request.method in SAFE_METHODS else "write"
        self._wait = take(buckets_of(request, getattr(view, "throttle_scope", None) or default))
        return not self._wait

    def wait(self) -> float:
        return self._wait
