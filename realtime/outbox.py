"""What waits to be written to one socket."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

LONGEST = 64  # messages that wait for a slow reader


class Outbox:
    """Writes in a task of its own, so that a slow reader delays nobody else. A dead one takes messages and drops them."""

    def __init__(self, write: Callable[[str], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: deque[str] = deque()
        self._something = asyncio.Event()
        self._writer = asyncio.create_task(self._run())

    def offer(self, text: str) -> bool:
        """False, and nothing is kept, when the reader is too far behind."""
        if len(self._waiting) >= LONGEST:
            return False
        self.put(text)
        return True

    def put(self, text: str) -> None:
        """As `offer`, however far behind the reader is."""
        if not self._writer.done():
            self._waiting.append(text)
            self._something.set()

    def skip(self) -> None:
        """Forget what waits; the reader finds the gap by the versions and reads the map again."""
        self._waiting.clear()

    def close(self) -> None:
        self._writer.cancel()

    async def _run(self) -> None:
        try:
            while True:
                await self._something.wait()
                self._something.clear()
                while self._waiting:
                    await self._write(self._waiting.popleft())
        except (OSError, RuntimeError):  # the socket is gone; its consumer will be told
            self._waiting.clear()
