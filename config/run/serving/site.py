"""Serve Django's WSGI application on an ASGI server.

Note [Connections and work]
A connection, an unfinished head and an unfinished body wait in the server's event loop, where each costs some
kilobytes. Only a complete request takes one of `WEB_THREADS` threads. At most `WEB_WAITING` others wait for a thread;
further requests get 503 at once. So slow or idle clients never take a thread from other clients, however many they are.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from prometheus_client import Counter, Gauge

from config.run.serving import refusals
from config.run.serving.bodies import Bodies, Gone, Message, NoRoom, Receive, Scope, TooLarge, TooSlow
from config.run.serving.clock import http_date
from config.run.serving.environ import File, environ
from config.run.serving.refusals import Refusal
from config.run.serving.threads import Busy, Threads
from config.run.serving.together import Together
from config.web import ready
from config.web.crowding import address_of
from config.web.middleware import noted
from config.web.short_way import VIEWS

Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

REPORT_SECONDS = 1.0
CHUNK_SECONDS = 30.0  # for a client to receive one piece of an answer that is sent in pieces

IN_PROGRESS = Gauge("frontrow_requests_in_progress", "Requests that a thread works on.", multiprocess_mode="livesum")
WAITING = Gauge("frontrow_requests_waiting", "Requests that wait for a thread.", multiprocess_mode="livesum")
refused = Counter("frontrow_requests_refused_total", "Requests that never reached a view, by reason.", ["reason"])


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold a whole answer; `path` names the file that is its body."""

    status: int
    headers: Headers
    body: bytes = b""
    path: str | None = None


class Site:
    """Serve a WSGI application."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._threads: WeakKeyDictionary[asyncio.AbstractEventLoop, Threads] = WeakKeyDictionary()
        self._together: WeakKeyDictionary[asyncio.AbstractEventLoop, Together] = WeakKeyDictionary()
        self._bodies = Bodies()
        self._addresses: collections.Counter[str] = collections.Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if await _sent_ready(scope, send):
            return
        address = address_of(scope)
        if settings.RATE_LIMITS and self._addresses[address] >= settings.LIMIT_CONNECTIONS_ADDRESS:
            await self._refuse(scope, send, "address", refusals.CROWDED)
            return
        self._addresses[address] += 1
        try:
            await self._serve(scope, receive, send)
        except Gone:
            return
        finally:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, run the application and send the answer. Raises: Gone."""
        try:
            length = _announced(scope)
            body = await self._bodies.read(receive, length=length) if length != 0 else b""
        except TooSlow:
            return await self._refuse(scope, send, "slow_body", refusals.TOO_SLOW)
        except TooLarge:
            return await self._refuse(scope, send, "large_body", refusals.TOO_LARGE)
        except NoRoom:
            return await self._refuse(scope, send, "memory", refusals.BUSY)
        loop = asyncio.get_running_loop()
        try:
            work = partial(self._work, scope, body, partial(_send_now, loop, send))
            answer = await self._runner(loop, scope).run(work)
        except Busy:
            return await self._refuse(scope, send, "busy", refusals.BUSY)
        finally:
            self._bodies.forget(body)
        if answer is not None:
            await _deliver(answer, scope, send)
        return None

    def _runner(self, loop: asyncio.AbstractEventLoop, scope: Scope) -> Threads | Together:
        """Return where the request is served: requests for places together, all others in a thread each."""
        if scope["method"] != "POST" or scope["path"] not in VIEWS:
            return self._pool(loop)
        together = self._together.get(loop)
        if together is None:
            together = self._together[loop] = Together(loop)
        return together if together.takes_more else self._pool(loop)

    def _pool(self, loop: asyncio.AbstractEventLoop) -> Threads:
        pool = self._threads.get(loop)
        if pool is None:
            pool = Threads(loop, size=settings.WEB_THREADS, most_waiting=settings.WEB_WAITING)
            self._threads[loop] = pool
            _report(loop, pool)
        return pool

    def _work(self, scope: Scope, body: bytes, send_now: Callable[[Message], None]) -> Answer | None:
        """Let Django answer, in a thread. Return None if the answer was already sent in pieces."""
        told: list[Any] = []
        said = self._application(environ(scope, body), lambda status, headers, *_more: told.extend((status, headers)))
        status = int(told[0][:3])
        # removes the space of " cookie=…"
        headers = [(name.encode("latin-1"), value.strip().encode("latin-1")) for name, value in told[1]]
        if isinstance(said, list):
            return Answer(status, headers, b"".join(said))
        try:
            if isinstance(said, File):
                if scope["method"] == "GET" and said.path and _takes_paths(scope):
                    return Answer(status, headers, path=said.path)
                return Answer(status, headers, b"".join(said))
            _stream(status, headers, said, send_now)
            return None
        finally:
            if hasattr(said, "close"):
                said.close()

    async def _refuse(self, scope: Scope, send: Send, reason: str, refusal: Refusal) -> None:
        refused.labels(reason).inc()
        response = refusals.respond(WSGIRequest(environ(scope, b"")), refusal)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
        await _deliver(Answer(response.status_code, headers, response.content), scope, send)


async def _sent_ready(scope: Scope, send: Send) -> bool:
    """Send the copy that lies ready for this request, if one does."""
    began = time.perf_counter()
    reply = ready.reply(scope)
    if reply is None:
        return False
    request_id = noted(
        reply.request_id,
        method=scope["method"],
        path=scope["path"],
        view=reply.view,
        status=reply.status,
        seconds=time.perf_counter() - began,
    )
    headers = [*reply.headers, (b"x-request-id", request_id.encode()), (b"date", http_date())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
    return True


def _report(loop: asyncio.AbstractEventLoop, pool: Threads) -> None:
    """Report the load to the metrics once a second. Counting at every request would cost more."""
    IN_PROGRESS.set(pool.working)
    WAITING.set(pool.waiting)
    loop.call_later(REPORT_SECONDS, _report, loop, pool)


def _announced(scope: Scope) -> int | None:
    """Return the announced length of the body; None if it comes in chunks."""
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)  # servers accept only digits here
    return length


def _takes_paths(scope: Scope) -> bool:
    return "http.response.pathsend" in (scope.get("extensions") or {})


def _stream(status: int, headers: Headers, parts: Iterable[bytes], send_now: Callable[[Message], None]) -> None:
    headers = [*headers, (b"date", http_date())]
    send_now({"type": "http.response.start", "status": status, "headers": headers})
    for part in parts:
        send_now({"type": "http.response.body", "body": part, "more_body": True})
    send_now({"type": "http.response.body", "body": b""})


def _send_now(loop: asyncio.AbstractEventLoop, send: Send, message: Message) -> None:
    """Send from a thread, and wait until the client has received it. Raises: TimeoutError."""
    sending: Any = send(message)
    asyncio.run_coroutine_threadsafe(_awaited(sending), loop).result(CHUNK_SECONDS)


async def _awaited(sending: Awaitable[None]) -> None:
    await sending


async def _deliver(answer: Answer, scope: Scope, send: Send) -> None:
    headers = [*answer.headers, (b"date", http_date())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.path is not None:
        await send({"type": "http.response.pathsend", "path": answer.path})
        return
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body})
