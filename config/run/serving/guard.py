"""Extend uvicorn's HTTP protocol with limits that it lacks.

They bound the time for a head, idle connections, and the connections of an address.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from django.conf import settings
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from base.addresses import is_trusted, peer_of

HEAD_SECONDS = 10.0  # to send a whole head, counted from the start or from the last answer

_open: Counter[str] = Counter()  # HTTP connections by peer address; SocketLimit counts the WebSockets


def _too_many(address: str) -> bool:
    limited = settings.RATE_LIMITS and _open[address] > settings.LIMIT_CONNECTIONS_ADDRESS
    return limited and not is_trusted(address)


class GuardedProtocol(H11Protocol):
    """Close a connection that has sent no request for `HEAD_SECONDS`, and those above the limit per address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._counted = peer_of(self.client[0]) if self.client else ""
        _open[self._counted] += 1
        if _too_many(self._counted):
            transport.abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._forget()
        super().handle_websocket_upgrade(event)

    def _watch(self) -> None:
        """Run the timer while no request is being answered."""
        if self.transport.is_closing() or not self._counted:
            return
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's types know no None
        idle = cycle is None or cycle.response_complete
        if idle and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)
        elif not idle and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        """Close the connection, unless the client still receives what was sent to it."""
        self._timer = None
        left = self.transport.get_write_buffer_size()
        if left and left != self._unsent:
            self._unsent = left
            self._watch()
        else:
            self.transport.abort()

    def _forget(self) -> None:
        """Stop counting and timing, because the connection ends or becomes a WebSocket."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._counted:
            _open[self._counted] -= 1
            if not _open[self._counted]:
                del _open[self._counted]
            self._counted = ""
