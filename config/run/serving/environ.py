"""Translate a request from ASGI to WSGI."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import IO
from wsgiref.types import WSGIEnvironment

from config.run.serving.bodies import Scope

BLOCK = 64 * 1024  # bytes


class File:
    """Wrap an open file as the body of an answer: WSGI's `file_wrapper`."""

    def __init__(self, file: IO[bytes], block_size: int = BLOCK) -> None:
        self.file = file
        self._block = block_size

    @property
    def path(self) -> str | None:
        """Return the path of the file if it is sent whole and has a name; otherwise None."""
        name = getattr(self.file, "name", None)
        return name if isinstance(name, str) else None

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(self._block), b"")

    def close(self) -> None:
        self.file.close()


@lru_cache(maxsize=512)  # bounded, because clients choose the names
def _name(header: bytes) -> str:
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"


def environ(scope: Scope, body: bytes) -> WSGIEnvironment:
    """Return PEP 3333's environment. A body that came in chunks has a length now, because all of it is here.

    Headers with an underscore are left out: in WSGI they would pass for those with a hyphen, such as X-Forwarded-For.
    """
    client, server = scope.get("client"), scope.get("server")
    made: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0] if server else "localhost",
        "SERVER_PORT": str(server[1] if server else 80),
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": File,
    }
    for header, value in scope["headers"]:
        if b"_" in header:
            continue
        name, text = _name(header), value.decode("latin-1")
        if name in made:
            text = f"{made[name]}{'; ' if name == 'HTTP_COOKIE' else ','}{text}"
        made[name] = text
    if made.pop("HTTP_TRANSFER_ENCODING", None) is not None or body:
        made["CONTENT_LENGTH"] = str(len(body))
    return made
