"""One subscription a process: what comes over the wire goes to whoever in this process listens to its group."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from channels.layers import get_channel_layer

Body = dict[str, Any]
Listener = Callable[[Body], None]

ANSWER_TIMEOUT = 2.0  # seconds in which Redis must bring back our own probe
JOINING_AT_ONCE = 32  # who comes with a crowd waits for its turn, and the time-out is of its own trip
PATIENCE = 15.0  # seconds for the turn and the trip; a browser comes back later by itself

log = structlog.get_logger(__name__)


class WireDown(Exception):
    """Redis can't be reached: whoever wants to listen should come back later."""


class Switchboard:
    """Belongs to one event loop. Listeners are plain functions: they take a message and don't wait."""

    def __init__(self) -> None:
        self._layer = get_channel_layer()
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._probes: dict[str, asyncio.Future[None]] = {}
        self._channel: str | None = None
        self._opening = asyncio.Lock()
        self._turns = asyncio.Semaphore(JOINING_AT_ONCE)
        self._reader: asyncio.Task[None] | None = None

    async def join(self, group: str, listener: Listener) -> None:
        """From its return on, `listener` gets whatever is sent to `group`. Raises: WireDown."""
        self._listeners[group].add(listener)
        try:
            async with asyncio.timeout(PATIENCE), self._turns, asyncio.timeout(ANSWER_TIMEOUT):
                await self._layer.group_add(group, await self._own_channel())
                await self._hear_itself(group)
        except Exception as error:
            log.warning("wire.unheard", error=type(error).__name__)
            await self.leave(group, listener)
            raise WireDown from error

    async def leave(self, group: str, listener: Listener) -> None:
        listeners = self._listeners.get(group, set())
        listeners.discard(listener)
        if listeners:
            return
        self._listeners.pop(group, None)
        if self._channel:
            with suppress(Exception):  # Redis is away and has forgotten us already
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await self._layer.group_discard(group, self._channel)

    async def _own_channel(self) -> str:
        async with self._opening:
            if self._channel is None:
                self._channel = await self._layer.new_channel()
                self._reader = asyncio.create_task(self._read(self._channel))
            return self._channel

    async def _hear_itself(self, group: str) -> None:
        """Wait for a message of our own: subscribing has happened when it comes back, not when it was asked for."""
        probe = uuid.uuid4().hex
        self._probes[probe] = asyncio.get_running_loop().create_future()
        try:
            await self._layer.group_send(group, {"type": "wire.probe", "probe": probe})
            await self._probes[probe]
        finally:
            del self._probes[probe]

    async def _read(self, channel: str) -> None:
        while True:
            try:
                self._hand_out(await self._layer.receive(channel))
            except Exception:
                log.exception("wire.message_refused")  # one bad message must not make the process deaf

    def _hand_out(self, message: dict[str, Any]) -> None:
        if message["type"] == "wire.probe":
            probe = self._probes.get(message["probe"])
            if probe and not probe.done():
                probe.set_result(None)
            return
        for listener in tuple(self._listeners.get(message["group"], ())):
            listener(message["body"])


_boards: WeakKeyDictionary[asyncio.AbstractEventLoop, Switchboard] = WeakKeyDictionary()


def switchboard() -> Switchboard:
    """The one of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _boards:
        _boards[loop] = Switchboard()
    return _boards[loop]
