"""Serve the sockets. They forward, with no database and no decisions; a client sends each wish as an HTTP request."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError
from prometheus_client import Gauge

from realtime import origins, wire
from realtime.feed import CurrentVersion, Feed, UnknownSession, message, open_feed, release
from realtime.outbox import LONGEST, Outbox
from realtime.switchboard import Body, WireDown, switchboard

UNKNOWN_SESSION = 4404
NOT_SIGNED_IN = 4401
TRY_AGAIN_LATER = 1013
BEARER = "bearer"  # the subprotocol of programs: offered together with a token, answered alone

Authenticate = Callable[[origins.Scope], UUID | None]
Unfinished = Callable[[UUID], Sequence[Mapping[str, object]]]  # the messages that a buyer's page begins with

SOCKETS = Gauge("frontrow_sockets", "Open WebSockets", ["feed"], multiprocess_mode="livesum")

log = structlog.get_logger(__name__)


class Listening(AsyncWebsocketConsumer):
    """A socket that only sends. The process listens to the channel layer once; no socket has a channel of its own."""

    channel_layer_alias = "none"
    feed_name = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the connection, and clean up however it ends."""
        self.outbox = Outbox(send)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.outbox.close()
            await self.leave()

    async def leave(self) -> None:
        raise NotImplementedError

    async def websocket_receive(self, message: Body) -> None:
        """Ignore the message: clients send nothing here."""


class SessionFeed(Listening):
    """/ws/sessions/{id}: the live map, for every visitor."""

    def __init__(self, *, current_version: CurrentVersion) -> None:
        super().__init__()
        self.current_version = current_version
        self.feed: Feed | None = None

    async def connect(self) -> None:
        if not origins.may_watch(self.scope):
            await self.close()
            return
        await self.accept()
        self.feed = open_feed(self.scope["url_route"]["kwargs"]["session"], self.current_version)
        SOCKETS.labels("session").inc()
        try:
            await self.feed.watch(self.outbox)
        except UnknownSession:
            await self.close(UNKNOWN_SESSION)
        except (WireDown, OperationalError, InterfaceError):
            await self.close(TRY_AGAIN_LATER)

    async def leave(self) -> None:
        if self.feed:
            SOCKETS.labels("session").dec()
            self.feed.leave(self.outbox)
            await release(self.feed)


class BuyerFeed(Listening):
    """/ws/me: the changes of one buyer's reservations and orders."""

    def __init__(self, *, authenticate: Authenticate, unfinished: Unfinished) -> None:
        super().__init__()
        self.authenticate = authenticate
        self.unfinished = unfinished
        self.group = ""
        self.early: list[Body] | None = []  # messages that came before the first states were sent

    async def connect(self) -> None:
        try:
            buyer = await database_sync_to_async(self.authenticate, thread_sensitive=False)(self.scope)
        except (OperationalError, InterfaceError):
            buyer = None  # the cookie's owner is unknown now; the page comes back
        if buyer is None:
            await self.close()
            return
        await self.accept(BEARER if BEARER in self.scope["subprotocols"] else None)
        SOCKETS.labels("buyer").inc()
        self.group = wire.buyer_group(buyer)
        try:
            await switchboard().join(self.group, self.take)
            states = await database_sync_to_async(self.unfinished, thread_sensitive=False)(buyer)
        except (WireDown, OperationalError, InterfaceError) as error:
            log.warning("feed.refused", error=type(error).__name__)
            await self.close(TRY_AGAIN_LATER)
            return
        self.begin(states)

    def begin(self, states: list[Body]) -> None:
        """Send the states that were read, then the messages since listening began."""
        early, self.early = self.early or [], None
        for body in [*states, *early]:
            self.outbox.put(message(body))

    def take(self, body: Body) -> None:
        if body["type"] == wire.SIGNED_OUT:
            self.end(NOT_SIGNED_IN)
        elif body["type"] == wire.MISSED:
            self.end(TRY_AGAIN_LATER)
        elif self.early is not None:
            self.early.append(body)
            if len(self.early) > LONGEST:  # PostgreSQL is slow: the client must come back
                self.end(TRY_AGAIN_LATER)
        elif not self.outbox.offer(message(body)):
            # The client is too far behind, and no message may be left out: it must come back and read the states again.
            self.end(TRY_AGAIN_LATER)

    def end(self, code: int) -> None:
        self.outbox.close()
        self.closing = asyncio.create_task(self.close(code))

    async def leave(self) -> None:
        if self.group:
            SOCKETS.labels("buyer").dec()
            await switchboard().leave(self.group, self.take)


class Nothing(AsyncWebsocketConsumer):
    """Refuse any other path."""

    channel_layer_alias = "none"

    async def connect(self) -> None:
        await self.close()
