"""Limit the requests of one address and one buyer by token buckets in Redis; in this process while Redis is away.

A view names its limit in `throttle_scope`. By default reading and writing have one each (`settings.LIMITS`).
"""

from __future__ import annotations

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
from base.rates import token_bucket
from config.web import cache as shared

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it loads this module


@dataclass(frozen=True)
class Bucket:
    """Describe a bucket: `key` names its owner, `rate` is tokens per second, `burst` is how many tokens it holds."""

    key: str
    rate: float
    burst: int

    @property
    def cost(self) -> int:
        """Return the microseconds until a token comes back."""
        return max(1, round(token_bucket.MICROSECONDS / self.rate))

    @property
    def capacity(self) -> int:
        """Return the microseconds until an empty bucket is full."""
        return self.cost * self.burst


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
    return shared.client().register_script(token_bucket.LUA + (Path(__file__).parent / "bucket.lua").read_text())


def take(buckets: list[Bucket]) -> float:
    """Take a token of each bucket in one trip. Return 0, or the seconds to wait if one has none."""
    try:
        with shared.breaker:
            return _take_shared(buckets)
    except shared.FAILURES:
        now = time.monotonic_ns() // 1_000
        waits = [_local.take(one.key, now, cost=one.cost, capacity=one.capacity) for one in buckets]
        return max(waits) / token_bucket.MICROSECONDS


def _take_shared(buckets: list[Bucket]) -> float:
    pipe = shared.client().pipeline(transaction=False)
    for bucket in buckets:
        _script()(keys=[bucket.key], args=[bucket.cost, bucket.capacity], client=pipe)
    return float(max(int(wait) for wait in pipe.execute())) / token_bucket.MICROSECONDS


_local = token_bucket.Buckets()


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
