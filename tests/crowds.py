"""Simulate many slow clients from one thread: idle connections, unfinished heads, unfinished bodies.

with Crowd(port) as crowd:
    crowd.idle(2_000)
    crowd.slow_heads(200)
    ...
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
import time
from types import TracebackType
from typing import Self

from config.run.serving.descriptors import most_connections

PLAIN = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /api/v1/auth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n{"
)
ATTEMPTS, REQUESTS = 4, 60


class Crowd:
    """Open many connections to one port until the block ends. Slow ones send a byte a second."""

    def __init__(self, port: int) -> None:
        most_connections()
        self._port = port
        self._all: list[socket.socket] = []
        self._slow: list[socket.socket] = []
        self._over = threading.Event()
        self._drips = threading.Thread(target=self._drip, daemon=True)

    def __enter__(self) -> Self:
        self._drips.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._drips.join()
        for connection in self._all:
            connection.close()

    def idle(self, number: int) -> list[socket.socket]:
        """Open connections that were answered once and stay."""
        opened = self._open(number, PLAIN)
        for connection in opened:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        return opened

    def silent(self, number: int) -> list[socket.socket]:
        return self._open(number, b"")

    def slow_heads(self, number: int) -> list[socket.socket]:
        opened = self._open(number, HEAD)
        self._slow += opened
        return opened

    def slow_bodies(self, number: int) -> list[socket.socket]:
        opened = self._open(number, BODY)
        self._slow += opened
        return opened

    def sockets(self, number: int, path: str) -> list[socket.socket]:
        """Open WebSockets, none of which waits for the one before."""
        handshake = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        return self._open(number, handshake.encode())

    def greeted(self) -> int:
        """Count the sockets whose first message has come."""
        said = []
        for connection in self._all:
            with contextlib.suppress(BlockingIOError):
                said.append(connection.recv(65_536, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return sum(b'"hello"' in words for words in said)

    def _open(self, number: int, words: bytes) -> list[socket.socket]:
        opened = []
        for _ in range(number):
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=20)
            connection.sendall(words)
            opened.append(connection)
            self._all.append(connection)
        return opened

    def _drip(self) -> None:
        while not self._over.wait(1):
            for connection in self._slow:
                with contextlib.suppress(OSError):  # cut off, as expected
                    connection.send(b"a", socket.MSG_DONTWAIT)


def left_open(connections: list[socket.socket]) -> int:
    """Count the connections that the other side has neither answered nor closed."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return len(connections) - len(poll.poll(0))


def p95(port: int) -> float:
    """Time requests on new connections, reading and writing in turn, and return the 95th percentile.

    On a shared machine the best of a few attempts counts.
    """
    return min(_p95(port) for _ in range(ATTEMPTS))


def _p95(port: int) -> float:
    times = []
    for number in range(REQUESTS):
        began = time.perf_counter()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            method, path, expected = ("POST", "/api/v1/auth/guest", 201) if number % 2 else ("GET", "/health/live", 200)
            connection.request(method, path)
            response = connection.getresponse()
            response.read()
        times.append(time.perf_counter() - began)
        assert response.status == expected
    return sorted(times)[int(REQUESTS * 0.95)]
