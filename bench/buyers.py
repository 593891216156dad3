"""Listen for buyers with an open socket each, and note when each heard the end of an order.

A thread of this process does it.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Self

from websockets import Subprotocol
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bench.processes import until
from realtime import wire

OPEN_AT_ONCE = 10
PATIENCE = 60.0  # seconds until all buyers listen
COME_BACK = (0.25, 0.75)  # seconds until a disconnected buyer reconnects, as a page does
ENDS = frozenset({"COMPLETED", "FAILED"})
PROBE = "bench:probe"


class Buyers:
    """Hold buyers by id, each with a token.

    `heard` says by the order's id when its end reached the buyer's socket (POSIX seconds).
    """

    def __init__(self, port: int, tokens: Mapping[uuid.UUID, str]) -> None:
        self.heard: dict[str, float] = {}
        self.sent_away = 0
        self._port, self._tokens = port, tokens
        self._listening: set[uuid.UUID] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="buyers", daemon=True)

    def __enter__(self) -> Self:
        """Wait until each buyer listens. Raises: NotInTimeError."""
        self._thread.start()
        until(self._all_hear, seconds=PATIENCE, what="every buyer's socket", every=0.5)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _all_hear(self) -> bool:
        for buyer in self._tokens.keys() - self._listening:
            wire.send_personal(buyer=buyer, message={"type": PROBE})
        return len(self._listening) == len(self._tokens)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        doors = asyncio.Semaphore(OPEN_AT_ONCE)
        pages = [self._loop.create_task(self._stay(buyer, doors)) for buyer in self._tokens]
        self._loop.run_forever()
        for page in pages:
            page.cancel()
        self._loop.run_until_complete(asyncio.gather(*pages, return_exceptions=True))
        self._loop.close()

    async def _stay(self, buyer: uuid.UUID, doors: asyncio.Semaphore) -> None:
        while True:
            try:
                await self._listen(buyer, doors)
            except (ConnectionClosed, OSError, TimeoutError):
                self.sent_away += 1
            await asyncio.sleep(random.uniform(*COME_BACK))

    async def _listen(self, buyer: uuid.UUID, doors: asyncio.Semaphore) -> None:
        offered = [Subprotocol("bearer"), Subprotocol(self._tokens[buyer])]
        async with doors:
            socket = await connect(f"ws://127.0.0.1:{self._port}/ws/me", subprotocols=offered, open_timeout=PATIENCE)
        async with socket:
            async for text in socket:
                self._note(buyer, json.loads(text), time.time())

    def _note(self, buyer: uuid.UUID, message: dict[str, str], now: float) -> None:
        if message["type"] == PROBE:
            self._listening.add(buyer)
        elif message["type"] == "order:update" and message["status"] in ENDS:
            self.heard.setdefault(message["id"], now)
