"""Send the live map of one session from one process: subscribed once, encoded once, written to each local socket."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from channels.db import database_sync_to_async
from django.conf import settings

from realtime import wire
from realtime.heard import GAPS, Heard
from realtime.outbox import Message, Outbox, text
from realtime.switchboard import Body, switchboard

REPEAT_SECONDS = 15.0
SHORTEST_WAIT = 0.001
ON_ITS_WAY = 0.5  # seconds in which a committed diff comes over the wire, or counts as lost

CurrentVersion = Callable[[UUID], tuple[int, int] | None]  # (map version, available), None for no such session

log = structlog.get_logger(__name__)


class UnknownSession(Exception):
    """No session has this id."""


def message(body: Body) -> Message:
    """Encode a message for every socket."""
    return text(json.dumps(body, separators=(",", ":"), ensure_ascii=False))


class Feed:
    """Send to its watchers what it hears: the first change at once, then a tenth of a second's changes as one.

    Note [The repeated version]
    A socket that lost its last diff would wait for the next one, perhaps for ever. So every 15 s each feed reads the
    map's version from the database and sends an empty diff with it. This costs one small query a watched session and
    process, and works even if Redis or the relay failed.
    """

    def __init__(self, session: UUID, current_version: CurrentVersion) -> None:
        self.session = session
        self.users = 0
        self._current_version = current_version
        self._outboxes: set[Outbox] = set()
        self._heard = Heard()
        self._told = self._available = 0  # the version last sent to watchers, and the free seats at that version
        self._next = 0.0  # by the loop's clock: when the watchers may be told again
        self._pause = 1 / settings.DIFFS_A_SECOND if settings.DIFFS_A_SECOND else 0.0
        self._telling: asyncio.TimerHandle | None = None
        self._missed = asyncio.Event()
        self._group = wire.session_group(session)
        self._opened = asyncio.create_task(self._open())
        self._repeating: asyncio.Task[None] | None = None

    async def watch(self, box: Outbox) -> None:
        """Greet, then send every diff. Raises: UnknownSession, switchboard.WireDown, OperationalError."""
        await asyncio.shield(self._opened)
        box.offer(message({"type": "hello", "session": str(self.session), "version": self._told}))
        self._outboxes.add(box)

    def leave(self, box: Outbox) -> None:
        self._outboxes.discard(box)

    @property
    def failed(self) -> bool:
        """Tell whether it never opened, so that the next socket needs a new one."""
        return self._opened.done() and (self._opened.cancelled() or self._opened.exception() is not None)

    async def close(self) -> None:
        self._opened.cancel()
        if self._repeating:
            self._repeating.cancel()
        self._forget_to_tell()
        with suppress(Exception, asyncio.CancelledError):
            await self._opened
        await switchboard().leave(self._group, self._take)

    async def _open(self) -> None:
        """Listen first, read second: a change in between is heard."""
        await switchboard().join(self._group, self._take)
        found = await self._read_version()
        if found is None:
            raise UnknownSession
        self._learn(*found)
        self._tell()
        self._repeating = asyncio.create_task(self._repeat())

    async def _read_version(self) -> tuple[int, int] | None:
        read = database_sync_to_async(self._current_version, thread_sensitive=False)
        found: tuple[int, int] | None = await read(self.session)
        return found

    def _learn(self, version: int, available: int) -> None:
        if version >= self._told:
            self._told, self._available = version, available

    def _take(self, body: Body) -> None:
        if body["type"] == wire.MISSED:
            self._missed.set()
            return
        now = asyncio.get_running_loop().time()
        self._heard.add(body, at=now)
        if self._opened.done():
            self._tell_at(self._next, now)

    def _tell_at(self, due: float, now: float) -> None:
        """Send now if it is due, else at the due time; an earlier time replaces a later one."""
        if due <= now:
            self._tell()
        elif self._telling is None or due < self._telling.when():
            self._forget_to_tell()
            self._telling = asyncio.get_running_loop().call_at(due, self._tell)

    def _forget_to_tell(self) -> None:
        if self._telling:
            self._telling.cancel()
            self._telling = None

    def _tell(self) -> None:
        """Send everything that can be sent by now.

        If this is late, the next is later too: a crowd piles up no backlog.
        """
        self._forget_to_tell()
        now = asyncio.get_running_loop().time()
        told = self._heard.taken(after=self._told, now=now)
        if told:
            self._next = now + self._pause
        for body in told:
            if body["type"] == "seats":
                self._learn(body["version"], body["available"])
            self._send(body)
        waits_until = self._heard.waits_until
        if waits_until is not None:
            self._tell_at(max(waits_until, now + SHORTEST_WAIT), now)

    def _send(self, body: Body) -> None:
        told = message(body)
        for box in self._outboxes:
            if not box.offer(told):
                box.skip()

    async def _repeat(self) -> None:
        """Send the version again and again. See Note [The repeated version]."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._missed.wait(), REPEAT_SECONDS)
            self._missed.clear()
            try:
                found = await self._read_version()
            except Exception as error:  # noqa: BLE001 whatever the error is, watchers must hear of what they missed
                log.warning("feed.version_unread", error=type(error).__name__)
                found = None
            if found and found[0] > self._told:
                await asyncio.sleep(ON_ITS_WAY)
            self._tell()  # the diffs that were heard come first
            if found and found[0] > self._told:
                GAPS.inc()
                self._learn(*found)
            version = {"from": self._told, "version": self._told}
            self._send({"type": "seats", **version, "changes": {}, "available": self._available})


_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, Feed]] = WeakKeyDictionary()


def open_feed(session: UUID, current_version: CurrentVersion) -> Feed:
    """Return this process's feed of the session; the first socket opens it. Each call needs a `release`."""
    feeds = _feeds.setdefault(asyncio.get_running_loop(), {})
    if session not in feeds or feeds[session].failed:
        feeds[session] = Feed(session, current_version)
    feeds[session].users += 1
    return feeds[session]


async def release(feed: Feed) -> None:
    """Give the feed back; the last socket closes it."""
    feed.users -= 1
    if feed.users == 0:
        feeds = _feeds[asyncio.get_running_loop()]
        if feeds.get(feed.session) is feed:
            del feeds[feed.session]
        await feed.close()
