"""The live map of one session in one process: subscribed once, encoded once, written to each local socket."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from channels.db import database_sync_to_async
from django.db import InterfaceError, OperationalError

from realtime import wire
from realtime.outbox import Outbox
from realtime.switchboard import Body, switchboard

REPEAT_SECONDS = 15.0

CurrentVersion = Callable[[UUID], tuple[int, int] | None]  # (map version, available), None for no such session

log = structlog.get_logger(__name__)


class UnknownSession(Exception):
    """Nothing is shown under this id."""


def encode(body: Body) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


class Feed:
    """Knows the newest version it heard of, and tells it again when nothing else was to tell.

    Note [The repeated version]: a socket that lost its last diff would wait for the next one, perhaps for ever. So
    every 15 s each feed reads the map's version from the database and sends an empty diff with it. One small query
    a watched session and process, and it needs neither Redis nor the relay to have been well.
    """

    def __init__(self, session: UUID, current_version: CurrentVersion) -> None:
        self.session = session
        self.users = 0
        self._current_version = current_version
        self._outboxes: set[Outbox] = set()
        self._version = self._available = 0
        self._group = wire.session_group(session)
        self._opened = asyncio.create_task(self._open())
        self._repeating: asyncio.Task[None] | None = None

    async def watch(self, outbox: Outbox) -> None:
        """Greet, then send every diff. Raises: UnknownSession, switchboard.WireDown, OperationalError."""
        await asyncio.shield(self._opened)
        outbox.offer(encode({"type": "hello", "session": str(self.session), "version": self._version}))
        self._outboxes.add(outbox)

    def leave(self, outbox: Outbox) -> None:
        self._outboxes.discard(outbox)

    @property
    def failed(self) -> bool:
        """It never opened. Whoever comes now deserves another try."""
        return self._opened.done() and (self._opened.cancelled() or self._opened.exception() is not None)

    async def close(self) -> None:
        self._opened.cancel()
        if self._repeating:
            self._repeating.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await self._opened
        await switchboard().leave(self._group, self._take)

    async def _open(self) -> None:
        """Listen first, read second: what changes in between is heard."""
        await switchboard().join(self._group, self._take)
        found = await self._read_version()
        if found is None:
            raise UnknownSession
        self._learn(*found)
        self._repeating = asyncio.create_task(self._repeat())

    async def _read_version(self) -> tuple[int, int] | None:
        read = database_sync_to_async(self._current_version, thread_sensitive=False)
        found: tuple[int, int] | None = await read(self.session)
        return found

    def _learn(self, version: int, available: int) -> None:
        if version >= self._version:
            self._version, self._available = version, available

    def _take(self, body: Body) -> None:
        if body["type"] == "seats":
            self._learn(body["version"], body["available"])
        self._tell(body)

    def _tell(self, body: Body) -> None:
        text = encode(body)
        for outbox in self._outboxes:
            if not outbox.offer(text):
                outbox.skip()

    async def _repeat(self) -> None:
        """See Note [The repeated version]."""
        while True:
            await asyncio.sleep(REPEAT_SECONDS)
            try:
                found = await self._read_version()
            except (OperationalError, InterfaceError) as error:
                log.warning("feed.version_unread", error=type(error).__name__)
                found = None
            if found:
                self._learn(*found)
            self._tell(
                {
                    "type": "seats",
                    "from": self._version,
                    "version": self._version,
                    "changes": {},
                    "available": self._available,
                }
            )


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, Feed]] = WeakKeyDictionary()


def open_feed(session: UUID, current_version: CurrentVersion) -> Feed:
    """The one of this process, made when the first socket wants it. Every call is paid back with `release`."""
    feeds = _feeds.setdefault(asyncio.get_running_loop(), {})
    if session not in feeds or feeds[session].failed:
        feeds[session] = Feed(session, current_version)
    feeds[session].users += 1
    return feeds[session]


async def release(feed: Feed) -> None:
    """The last one out closes it."""
    feed.users -= 1
    if feed.users == 0:
        feeds = _feeds[asyncio.get_running_loop()]
        if feeds.get(feed.session) is feed:
            del feeds[feed.session]
        await feed.close()
