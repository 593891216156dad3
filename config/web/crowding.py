"""Limit how many sockets one address may keep open."""

from __future__ import annotations

from collections import Counter
from typing import Any

import structlog
from django.conf import settings

from base.addresses import behind, network_of
from realtime import origins

log = structlog.get_logger(__name__)


class SocketLimit:
    """Refuse sockets above the limit of an address with 403. With `settings.RATE_LIMITS` off, it admits all."""

    def __init__(self, sockets: Any) -> None:
        self._sockets = sockets
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: origins.Scope, receive: Any, send: Any) -> None:
        address = address_of(scope)
        if settings.RATE_LIMITS and self._open[address] >= settings.LIMIT_SOCKETS_ADDRESS:
            log.warning("sockets.too_many")
            await send({"type": "websocket.close"})
            return
        self._open[address] += 1
        try:
            await self._sockets(scope, receive, send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


def address_of(scope: origins.Scope) -> str:
    peer = scope.get("client")
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return network_of(behind(peer[0] if peer else "", ",".join(forwarded)))
