"""A wire between a process and a service that a test can cut and mend: `down` refuses, `hole` swallows, `freeze` keeps, `up` carries."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
from types import TracebackType
from typing import Literal, Self

CHUNK = 65_536


class Proxy:
    """`with Proxy(url) as wire:` — `wire.url` is the same service through the wire."""

    def __init__(self, url: str) -> None:
        self._parts = urllib.parse.urlsplit(url)
        assert self._parts.hostname
        assert self._parts.port
        self._target = (self._parts.hostname, self._parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._mode: Literal["up", "down", "hole", "frozen"] = "up"
        self._thawed = threading.Event()

    @property
    def url(self) -> str:
        credentials, at, _address = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self._listener.getsockname()[1]}").geturl()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._hang_up()

    def up(self) -> None:
        """Carry again; what fell into the hole stays lost, so its connections end."""
        if self._mode == "hole":
            self._hang_up()
        self._mode = "up"
        self._thawed.set()

    def down(self) -> None:
        """Reset all connections and refuse new ones."""
        self._mode = "down"
        self._hang_up()

    def hole(self) -> None:
        """Take everything and pass nothing on: a network that lost its other half."""
        self._mode = "hole"

    def freeze(self) -> None:
        """Keep everything until `up`, and pass it on then, though its sender gave up: a broker under a disk alarm."""
        self._thawed.clear()
        self._mode = "frozen"

    def _hang_up(self) -> None:
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self._listener.accept()
                threading.Thread(target=self._join, args=[near], daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        if self._mode == "down":
            near.close()
            return
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._open |= {near, far}
        threading.Thread(target=self._carry, args=[far, near], daemon=True).start()
        self._carry(near, far)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._mode == "frozen":
                    self._thawed.wait()
                if self._mode == "up":
                    sink.sendall(data)
        for end in (source, sink):  # closed by the other direction too, whichever comes last
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._open.discard(end)
