"""Hand messages from the wire to the listeners of their group in this process, with one subscription a process.

Note [Deaf without knowing]
A subscription only hears, so it stays silent for ever after a network lost its other half, or after Redis came back
without it. Each process therefore sends itself a message every few seconds. If that doesn't come back, the process
subscribes anew, again and again until it hears itself, and tells its listeners that they may have missed something.
"""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from channels.layers import get_channel_layer
from prometheus_client import Counter

from realtime.wire import MISSED

Body = Mapping[str, Any]
Listener = Callable[[Body], None]

ANSWER_TIMEOUT = 2.0  # seconds in which Redis must bring back our own probe
PROBE_SECONDS = 0.1  # after which it is sent again
JOINING_AT_ONCE = 32  # in a crowd each one waits for its turn, and the time-out counts its own trip only
EXAMINED_SECONDS = 5.0  # how often a process makes sure that it hears
AGAIN_SECONDS = 1.0  # while it doesn't
PATIENCE = 15.0  # seconds for the turn and the trip; a browser comes back later by itself

DEAF = Counter(
    "frontrow_subscription_deaf", "How often a process did not receive its own message over Redis and subscribed again."
)

log = structlog.get_logger(__name__)


class WireDown(Exception):
    """Redis can't be reached: the listener should come back later."""


class Switchboard:
    """The subscription of one event loop. Listeners are plain functions: they take a message and don't wait."""

    def __init__(self) -> None:
        self._layer = get_channel_layer()
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._probes: dict[str, asyncio.Future[None]] = {}
        self._channel: str | None = None
        self._opening = asyncio.Lock()
        self._turns = asyncio.Semaphore(JOINING_AT_ONCE)
        self._reader: asyncio.Task[None] | None = None
        self._examiner: asyncio.Task[None] | None = None

    async def join(self, group: str, listener: Listener) -> None:
        """Give `listener` every message sent to `group` from the return of this call on. Raises: WireDown."""
        self._listeners[group].add(listener)
        try:
            async with asyncio.timeout(PATIENCE), self._turns, asyncio.timeout(ANSWER_TIMEOUT):
                await self._layer.group_add(group, await self._own_channel())
                await self._hear_itself(lambda probe: self._layer.group_send(group, probe))
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
                self._examiner = self._examiner or asyncio.create_task(self._examine())
            return self._channel

    async def _hear_itself(self, say: Callable[[Body], Awaitable[None]]) -> None:
        """Wait for a message of our own: the subscription works once it comes back, not when it was asked for.

        The message is sent again after a pause that doubles: messages and subscriptions go over two connections, so
        Redis may see the message first.
        """
        probe, pause = uuid.uuid4().hex, PROBE_SECONDS
        heard = self._probes[probe] = asyncio.get_running_loop().create_future()
        try:
            while not heard.done():
                await say({"type": "wire.probe", "probe": probe})
                await asyncio.wait([heard], timeout=pause)
                pause *= 2
        finally:
            del self._probes[probe]

    async def _examine(self) -> None:
        """Check again and again that the process hears. See Note [Deaf without knowing]."""
        hears = True
        while True:
            await asyncio.sleep(EXAMINED_SECONDS if hears else AGAIN_SECONDS)
            if hears and await self._hears():
                continue
            if hears:
                DEAF.inc()
                log.warning("wire.deaf", groups=len(self._listeners))
            hears = await self._subscribe_anew()
            if hears:
                log.warning("wire.hears", groups=len(self._listeners))
                for group in tuple(self._listeners):
                    self._tell(group, {"type": MISSED})

    async def _hears(self) -> bool:
        channel = self._channel
        if channel is None:
            return False
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._hear_itself(lambda probe: self._layer.send(channel, probe))
        except Exception as error:  # noqa: BLE001 whatever the error is, nothing is heard
            log.info("wire.unheard", error=type(error).__name__)
            return False
        return True

    async def _subscribe_anew(self) -> bool:
        """Subscribe with new connections; return whether the process hears itself on them."""
        async with self._opening:
            with suppress(Exception):  # a broken connection may not close
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    await self._layer.flush()
            if self._reader:
                self._reader.cancel()
            self._channel = None
        try:
            async with asyncio.timeout(PATIENCE):
                channel = await self._own_channel()
                for group in tuple(self._listeners):
                    await self._layer.group_add(group, channel)
        except Exception as error:  # noqa: BLE001 Redis is still away
            log.info("wire.unheard", error=type(error).__name__)
            return False
        return await self._hears()

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
        self._tell(message["group"], message["body"])

    def _tell(self, group: str, body: Body) -> None:
        for listener in tuple(self._listeners.get(group, ())):
            listener(body)


_boards: WeakKeyDictionary[asyncio.AbstractEventLoop, Switchboard] = WeakKeyDictionary()


def switchboard() -> Switchboard:
    """Return the switchboard of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _boards:
        _boards[loop] = Switchboard()
    return _boards[loop]
