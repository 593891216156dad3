"""Connect a process and a service by a wire that a test can cut and mend."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.parse
from types import TracebackType
from typing import Literal, Self

CHUNK = 65_536


class Proxy:
    """Run a wire: `with Proxy(url) as wire:`. `wire.url` is the same service through the wire."""

    def __init__(self, url: str) -> None:
        self._parts = urllib.parse.urlsplit(url)
        assert self._parts.hostname
        assert self._parts.port
        self._target = (self._parts.hostname, self._parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._mode: Literal["up", "down", "hole", "frozen"] = "up"
        self._thawed = threading.Event()
        self._seconds = 0.0

    @property
    def url(self) -> str:
        credentials, at, _address = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self._port}").geturl()

    @property
    def connections(self) -> int:
        """Count the open connections."""
        return len(self._open) // 2

    def __enter__(self) -> Self:
        self._listen()
        return self

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _close(self) -> None:
        """Close the listener. The thread that waits for connections holds the port until it is woken."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._hang_up()

    def up(self, *, hang_up: bool = True) -> None:
        """Carry again. Connections with lost bytes end; with `hang_up=False` they live on without these bytes."""
        if self._mode == "hole" and hang_up:
            self._hang_up()
        if self._mode == "down":
            self._listener = socket.create_server(("127.0.0.1", self._port))
            self._listen()
        self._mode, self._seconds = "up", 0.0
        self._thawed.set()

    def down(self) -> None:
        """Reset all connections and refuse new ones."""
        self._mode = "down"
        self._close()
        self._hang_up()

    def hole(self) -> None:
        """Swallow everything, like a network that lost its other half."""
        self._mode = "hole"

    def cut_off(self) -> None:
        """Reset all connections; accept new ones and answer nothing."""
        self._mode = "hole"
        self._hang_up()

    def slow(self, seconds: float) -> None:
        """Delay everything by this time."""
        self._seconds = seconds

    def freeze(self) -> None:
        """Keep everything until `up`, and pass it on then, though its sender gave up: a broker under a disk alarm."""
        self._thawed.clear()
        self._mode = "frozen"

    def _hang_up(self) -> None:
        while True:  # one at a time: a connection that is made in the meantime must not be forgotten
            try:
                end = self._open.pop()
            except KeyError:
                return
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = listener.accept()
                threading.Thread(target=self._join, args=[near], daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._open |= {near, far}
        if self._mode == "down":
            self._hang_up()
        threading.Thread(target=self._carry, args=[far, near], daemon=True).start()
        self._carry(near, far)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._mode == "frozen":
                    self._thawed.wait()
                if self._seconds:
                    time.sleep(self._seconds)
                if self._mode == "up":
                    sink.sendall(data)
        for end in (source, sink):  # the other direction closes it too, whichever comes last
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._open.discard(end)
