"""Simulate a crowd of sockets: `python -m bench.watchers PORT PATH`, a process of its own that obeys lines of JSON.

It speaks just enough WebSocket (RFC 6455) to listen: one thread, `epoll`, and each frame is parsed once, however many
sockets receive it, so that it takes little of the machine that it measures.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
import select
import socket
import struct
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterator
from typing import Any

import redis

from bench.figures import percentile
from bench.generator import content_length

SILENCE = 5.0  # seconds without any frame until missing frames count as lost
AT_ONCE = 100  # sockets that open at the same time
PROMPTLY = (0.25, 0.75)  # seconds until a page with a broken connection comes back (static/realtime/socket.js)
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="  # key of the handshake; it protects against old proxies, which are not used here
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NEVER = float("inf")


@dataclasses.dataclass(slots=True)
class Told:
    """Hold one message, the sockets that received it, and when."""

    kind: str
    start: int
    version: int
    changes: dict[str, str]
    times: array[float]


class Watcher:
    """Simulate one page. `seats` is its picture of the hall, if it keeps one."""

    __slots__ = ("asks", "back_at", "fetching", "greeted", "received", "seats", "socket", "version", "waiting")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.received = b""
        self.greeted = False
        self.version = 0
        self.seats = ""
        self.back_at = NEVER
        self.fetching: socket.socket | None = None
        self.asks = b""
        self.waiting: list[Told] = []


class Crowd:
    """Run all sockets. `web` is where pages fetch the seats, if they keep a picture."""

    def __init__(self, port: int, path: str, web: int = 0, snapshot: str = "") -> None:
        self.watchers: list[Watcher] = []
        self.told: dict[bytes, Told] = {}
        self.delivered = self.gaps = self.fetched = self.closed = 0
        self.last = time.monotonic()  # when the latest frame came
        self._port, self._web = port, web
        self._shake = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._fetch = (
            f"GET {snapshot} HTTP/1.1\r\nHost: 127.0.0.1:{web}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        ).encode()
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Watcher] = {}
        self._answers: dict[int, tuple[Watcher, bytearray]] = {}
        self._places: dict[str, int] = {}
        self._pictures: dict[tuple[str, str], str] = {}

    # --- commands

    def join(self, number: int) -> dict[str, Any]:
        """Open this many more sockets, and wait until each is greeted."""
        began = time.monotonic()
        coming = deque(Watcher() for _watcher in range(number))
        self.watchers += coming
        opening: list[Watcher] = []
        while coming or opening:
            opening = [watcher for watcher in opening if not watcher.greeted]
            while coming and len(opening) < AT_ONCE:
                opening.append(coming.popleft())
                self._open(opening[-1])
            self.turn(0.1)
            if time.monotonic() - max(self.last, began) > SILENCE:
                break
        return {"greeted": sum(watcher.greeted for watcher in self.watchers), "seconds": time.monotonic() - began}

    def forget(self) -> dict[str, Any]:
        """Start counting again from zero."""
        self.told.clear()
        self.delivered = self.gaps = self.closed = self.fetched = 0
        return {}

    def listen(self, version: int, times: dict[str, float]) -> dict[str, Any]:
        """Listen until all have seen `version` or no more frames come.

        `times` says when each version was about to be committed.
        """
        waiting_since = time.monotonic()
        while self._behind(version) and time.monotonic() - max(self.last, waiting_since) < SILENCE:
            self.turn(0.1)
        waits = array("d", self._waits({int(key): began for key, began in times.items()}))
        return {
            "delivered": self.delivered,
            "frames": sum(len(told.times) for told in self.told.values() if told.changes),
            "ended": max((max(told.times) for told in self.told.values() if told.changes), default=0.0),
            "p99_ms": percentile(waits, 99) * 1000 if waits else None,
            "behind": self._behind(version),
            "gaps": self.gaps,
            "closed": self.closed,
            "cpu": time.process_time(),
        }

    def publish(self, url: str, channel: str, messages: list[str], window: int) -> dict[str, Any]:
        """Send these messages as fast as the sockets receive them, with `window` of them on their way at once."""
        began, sent, each = time.monotonic(), 0, len(self.watchers)
        with redis.Redis.from_url(url) as client:
            while self.delivered < len(messages) * each and time.monotonic() - max(self.last, began) < SILENCE:
                while sent < len(messages) and self.delivered > (sent - window) * each:
                    client.publish(channel, bytes.fromhex(messages[sent]))
                    sent += 1
                self.turn(0.1)
        return {"delivered": self.delivered, "seconds": self.last - began, "behind": self._behind(len(messages))}

    def drop(self) -> dict[str, Any]:
        """Break every connection at once. The simulated pages reconnect as pages do, and fetch what they missed."""
        now = time.monotonic()
        for watcher in self.watchers:
            self._hang_up(watcher)
            watcher.back_at = now + random.uniform(*PROMPTLY)
        return {}

    def right(self, version: int, seats: str, seconds: float) -> dict[str, Any]:
        """Wait until every picture equals `seats`, which has one letter per seat."""
        began = time.monotonic()

        def wrong() -> int:
            return sum(watcher.version != version or watcher.seats != seats for watcher in self.watchers)

        while (left := wrong()) and time.monotonic() - began < seconds:
            self.turn(0.02)
        return {"wrong": left, "at": time.monotonic(), "fetched": self.fetched, "closed": self.closed}

    def picture(self, labels: list[str], version: int, seats: str) -> dict[str, Any]:
        """Give each page a picture of its own, which starts with these seats."""
        self._places = {label: place for place, label in enumerate(labels)}
        for watcher in self.watchers:
            watcher.version, watcher.seats = version, seats
        return {}

    # --- the sockets

    def turn(self, patience: float) -> None:
        """Handle everything that has come."""
        self._come_back()
        for descriptor, _events in self._poll.poll(patience):
            if descriptor in self._answers:
                self._hear_snapshot(descriptor)
            elif descriptor in self._by_descriptor:
                self._hear(self._by_descriptor[descriptor])

    def close(self) -> None:
        for watcher in self.watchers:
            self._hang_up(watcher)
        self._poll.close()

    def watch(self, descriptor: int) -> None:
        """Wake up for this descriptor, too."""
        self._poll.register(descriptor, select.EPOLLIN)

    def _open(self, watcher: Watcher) -> None:
        opened = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        opened.sendall(self._shake)
        opened.setblocking(False)
        watcher.socket, watcher.received, watcher.greeted = opened, b"", False
        self._by_descriptor[opened.fileno()] = watcher
        self.watch(opened.fileno())

    def _come_back(self) -> None:
        if not self._places:
            return
        now = time.monotonic()
        for watcher in self.watchers:
            if watcher.back_at <= now:
                watcher.back_at = NEVER
                self._open(watcher)

    def _hang_up(self, watcher: Watcher) -> None:
        watcher.greeted = False
        if watcher.socket is None:
            return
        self._by_descriptor.pop(watcher.socket.fileno(), None)
        # closes without a farewell
        watcher.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        watcher.socket.close()
        watcher.socket = None

    def _hear(self, watcher: Watcher) -> None:
        assert watcher.socket is not None
        try:
            some = watcher.socket.recv(65_536)
        except OSError:
            some = b""
        now = time.monotonic()
        if not some:
            self._lost(watcher, now)
            return
        self.last = now
        received = watcher.received + some if watcher.received else some
        if not watcher.greeted and received.startswith(b"HTTP/"):
            head, end, rest = received.partition(b"\r\n\r\n")
            if not end:
                watcher.received = received
                return
            if b" 101 " not in head[:20]:
                raise Refused(head.decode())
            received = rest
        watcher.received = self._frames(watcher, received, now)

    def _lost(self, watcher: Watcher, now: float) -> None:
        self.closed += 1
        self._hang_up(watcher)
        watcher.back_at = now + random.uniform(*PROMPTLY)

    def _frames(self, watcher: Watcher, received: bytes, now: float) -> bytes:
        """Handle all whole frames, and return the rest of the bytes."""
        at = 0
        while len(received) >= at + 2:
            length, start = received[at + 1], at + 2
            if length == 126:
                if len(received) < at + 4:
                    break
                length, start = int.from_bytes(received[at + 2 : at + 4]), at + 4
            elif length == 127:
                if len(received) < at + 10:
                    break
                length, start = int.from_bytes(received[at + 2 : at + 10]), at + 10
            end = start + length
            if len(received) < end:
                break
            self._frame(watcher, received[at] & 0x0F, received[start:end], now)
            at = end
        return received[at:]

    def _frame(self, watcher: Watcher, kind: int, payload: bytes, now: float) -> None:
        if kind == PING and watcher.socket:
            watcher.socket.send(bytes([0x80 | PONG, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        if kind != TEXT:
            return
        told = self.told.get(payload)
        if told is None:
            told = self.told[payload] = parsed(payload)
        told.times.append(now)
        if told.kind == "hello":
            self._greet(watcher, told)
        else:
            self._take(watcher, told)

    def _take(self, watcher: Watcher, told: Told) -> None:
        """Apply a diff, or let it wait if the seats are being fetched."""
        if watcher.fetching:
            watcher.waiting.append(told)
        else:
            self._apply(watcher, told)

    def _greet(self, watcher: Watcher, told: Told) -> None:
        watcher.greeted = True
        if not self._places:
            watcher.version = told.version
        elif told.version != watcher.version:
            self._ask(watcher)

    def _apply(self, watcher: Watcher, told: Told) -> None:
        """Apply a diff as static/realtime/feed.js does."""
        if told.version <= watcher.version:
            return
        if told.start > watcher.version:
            self.gaps += 1
            if self._places:
                watcher.waiting.append(told)
                self._ask(watcher)
                return
        self.delivered += told.version - max(told.start, watcher.version)
        watcher.version = told.version
        if self._places:
            watcher.seats = self._changed(watcher.seats, told)

    def _changed(self, seats: str, told: Told) -> str:
        key = (seats, repr(told.changes))
        if key not in self._pictures:
            letters = list(seats)
            for label, letter in told.changes.items():
                letters[self._places[label]] = letter
            self._pictures[key] = "".join(letters)
        return self._pictures[key]

    def _behind(self, version: int) -> int:
        return sum(watcher.version < version for watcher in self.watchers)

    def _waits(self, began: dict[int, float]) -> Iterator[float]:
        """Yield the seconds from each change to each socket that received it."""
        for told in self.told.values():
            for version in range(told.start + 1, told.version + 1):
                if version in began:
                    yield from (at - began[version] for at in told.times)

    # --- the snapshot

    def _ask(self, watcher: Watcher) -> None:
        self.fetched += 1
        asking = socket.create_connection(("127.0.0.1", self._web), timeout=10)
        asking.sendall(self._fetch)
        asking.setblocking(False)
        watcher.fetching = asking
        self._answers[asking.fileno()] = (watcher, bytearray())
        self.watch(asking.fileno())

    def _hear_snapshot(self, descriptor: int) -> None:
        watcher, received = self._answers[descriptor]
        assert watcher.fetching is not None
        received += (some := watcher.fetching.recv(65_536))
        head, end, body = bytes(received).partition(b"\r\n\r\n")
        if some and not (end and len(body) >= content_length(head)):
            return
        watcher.fetching.close()
        watcher.fetching = None
        del self._answers[descriptor]
        if b" 200 " not in head[:20]:
            self._ask(watcher)
            return
        found = json.loads(gzip.decompress(body))
        if found["version"] >= watcher.version:
            watcher.version, watcher.seats = found["version"], found["seats"]
        waiting, watcher.waiting = sorted(watcher.waiting, key=lambda told: told.start), []
        for told in waiting:
            self._take(watcher, told)


class Refused(Exception):
    """Report that no socket was opened, with the head of the answer."""


def parsed(payload: bytes) -> Told:
    body = json.loads(payload)
    changes = body.get("changes", {})
    return Told(body["type"], body.get("from", 0), body.get("version", 0), changes, array("d"))


def main(port: int, path: str, web: int, snapshot: str) -> None:
    """Read commands, each a line `[what, arguments]`, and answer each with a line. Sockets are read all the time."""
    crowd = Crowd(port, path, web, snapshot)
    crowd.watch(sys.stdin.fileno())
    asked = select.poll()
    asked.register(sys.stdin, select.POLLIN)
    while True:
        crowd.turn(0.1)
        if asked.poll(0):
            line = sys.stdin.readline()
            if not line:
                return
            what, arguments = json.loads(line)
            sys.stdout.write(json.dumps(getattr(crowd, what)(**arguments)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
