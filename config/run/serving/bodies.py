"""Reading a request's body in the event loop, within limits of time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

BODY_SECONDS = 10.0  # for the whole body, and …
SLOWEST_BYTES = 16 * 1024  # … one second more for each of these that have come
LARGEST_BODY = 10 * 1024 * 1024  # bytes, as in deploy/proxy/Caddyfile; the API and Django's forms take less
MOST_BUFFERED = 256 * 1024 * 1024  # bytes of all bodies that a process has read and not finished with

Receive = Callable[[], Awaitable[dict[str, Any]]]


class TooSlow(Exception):
    """The body did not come in time."""


class TooLarge(Exception):
    """The body is larger than anything this site takes."""


class NoRoom(Exception):
    """All bodies together are more than this process keeps in memory."""


class Gone(Exception):
    """The client went away before its request was complete."""


class Bodies:
    """The bodies that one process reads."""

    def __init__(self) -> None:
        self._buffered = 0

    async def read(self, receive: Receive, *, length: int | None) -> bytes:
        """Return the whole body; `length` is what the client announced, if it did. Give it back with `forget`.

        Raises: TooSlow, TooLarge, NoRoom, Gone.
        """
        if length is not None and length > LARGEST_BODY:
            raise TooLarge
        body = bytearray()
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(began + BODY_SECONDS) as patience:
                while self._take(await receive(), body):
                    if not patience.expired():
                        patience.reschedule(began + BODY_SECONDS + len(body) / SLOWEST_BYTES)
        except BaseException as error:
            self._buffered -= len(body)
            if isinstance(error, TimeoutError):
                raise TooSlow from None
            raise
        return bytes(body)

    def _take(self, message: dict[str, Any], body: bytearray) -> bool:
        """Add the next part, and tell whether more are to come. Raises: TooLarge, NoRoom, Gone."""
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        body += part
        self._buffered += len(part)
        if len(body) > LARGEST_BODY:
            raise TooLarge
        if self._buffered > MOST_BUFFERED:
            raise NoRoom
        return bool(message.get("more_body"))

    def forget(self, body: bytes) -> None:
        """Make room: this body's request is finished."""
        self._buffered -= len(body)
