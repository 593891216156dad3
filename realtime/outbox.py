"""Write messages to one socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any

LONGEST = 64  # messages that wait for a slow reader

Message = Mapping[str, object]  # in the form of ASGI
Write = Callable[[Message], Awaitable[None]]


def text(words: str) -> Message:
    """Build a message, once for all sockets that get it."""
    return {"type": "websocket.send", "text": words}


class Outbox:
    """Write to a socket at once; messages for a slow reader wait, without delay for others. A dead socket drops them.

    Note [Writing without a task]
    Waking a task for each socket and message costs more than the message. A server's `send` is a coroutine that runs to
    its end without waiting while the socket takes its data, so it is run right here, as `asyncio.eager_task_factory`
    would from Python 3.12 on. A coroutine that does wait goes on in a task of its own.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: deque[Message] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._dead = False

    def offer(self, message: Message) -> bool:
        """Write a message; return False, and keep nothing, when the reader is too far behind."""
        if len(self._waiting) >= LONGEST:
            return False
        self.put(message)
        return True

    def put(self, message: Message) -> None:
        """Write a message, however far behind the reader is."""
        if self._dead:
            return
        if self._writer:
            self._waiting.append(message)
            return
        try:
            rest = _begun(self._write(message))
        except (OSError, RuntimeError):  # the socket is gone; its consumer will be told
            self._dead = True
        else:
            if rest:
                self._writer = asyncio.create_task(self._go_on(rest))

    def skip(self) -> None:
        """Drop the waiting messages; the reader finds the gap by the versions and reads the map again."""
        self._waiting.clear()

    def close(self) -> None:
        self._dead = True
        self._waiting.clear()
        if self._writer:
            self._writer.cancel()

    async def _go_on(self, rest: Awaitable[None]) -> None:
        try:
            await rest
            while self._waiting:
                await self._write(self._waiting.popleft())
        except (OSError, RuntimeError):
            self._dead = True
            self._waiting.clear()
        finally:
            self._writer = None


class _Rest:
    """The rest of a coroutine that was begun outside a task and now waits for `future`."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], future: Any) -> None:
        self._coroutine = coroutine
        self._future = future

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._future
        except BaseException:
            self._coroutine.close()
            raise
        yield from self._coroutine.__await__()


def _begun(writing: Awaitable[None]) -> _Rest | None:
    """Begin to write; return the rest, or None once it is written. See Note [Writing without a task]."""
    if not isinstance(writing, Coroutine):
        raise TypeError(f"{writing!r} is no coroutine")
    try:
        return _Rest(writing, writing.send(None))
    except StopIteration:
        return None
