"""What is written to one socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

LONGEST = 64  # messages that wait for a slow reader

Message = dict[str, Any]  # as ASGI wants it
Write = Callable[[Message], Awaitable[None]]


def text(words: str) -> Message:
    """Made once for all sockets that get the same."""
    return {"type": "websocket.send", "text": words}


class Outbox:
    """Writes at once; only what a slow reader can't take yet waits, and delays nobody else. A dead one takes messages and drops them.

    Note [Writing without a task]: waking a task for each socket and message costs more than the message. A server's `send` is a
    coroutine that runs to its end without waiting while the socket takes what it is given, so it is run right here, as
    `asyncio.eager_task_factory` would from Python 3.12 on. One that does wait goes on in a task of its own.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: deque[Message] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._dead = False

    def offer(self, message: Message) -> bool:
        """False, and nothing is kept, when the reader is too far behind."""
        if len(self._waiting) >= LONGEST:
            return False
        self.put(message)
        return True

    def put(self, message: Message) -> None:
        """As `offer`, however far behind the reader is."""
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
        """Forget what waits; the reader finds the gap by the versions and reads the map again."""
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
    """What is left of a coroutine that was begun outside a task and waits for `future` now."""

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
    """See Note [Writing without a task]. None: it is written."""
    if not isinstance(writing, Coroutine):
        raise TypeError(f"{writing!r} is no coroutine")
    try:
        return _Rest(writing, writing.send(None))
    except StopIteration:
        return None
