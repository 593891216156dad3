"""Read request bodies in the event loop, within limits of time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BODY_SECONDS = 10.0  # seconds for the whole body, plus …
SLOWEST_BYTES = 16 * 1024  # … one second for each time this many bytes have come
LARGEST_BODY = 10 * 1024 * 1024  # bytes, as in deploy/proxy/Caddyfile; the API and Django's forms accept less
MOST_BUFFERED = 256 * 1024 * 1024  # bytes of all bodies that a process has read and still needs

Scope = MutableMapping[str, Any]  # of ASGI, as are these
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class TooSlow(Exception):
    """Report that the body did not come in time."""


class TooLarge(Exception):
    """Report that the body is larger than anything this site accepts."""


class NoRoom(Exception):
    """Report that all bodies together are more than this process keeps in memory."""


class Gone(Exception):
    """Report that the client went away before its request was complete."""


class Bodies:
    """Read the bodies of one process, and count their bytes."""

    def __init__(self) -> None:
        self._buffered = 0

    async def read(self, receive: Receive, *, length: int | None) -> bytes:
        """Return the whole body, of the announced `length` if there is one; the caller must `forget` it.

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

    def _take(self, message: Message, body: bytearray) -> bool:
        """Add the next part, and tell whether more parts will come. Raises: TooLarge, NoRoom, Gone."""
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
        """Free the bytes of a body whose request is finished."""
        self._buffered -= len(body)
