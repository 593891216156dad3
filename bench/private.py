"""A PostgreSQL of our own on a port of its own, that may crash: nobody else's is ever touched.

with PrivatePostgres(folder) as postgres:
    postgres.crash()
    postgres.start()
"""

from __future__ import annotations

import signal
import time
import urllib.parse
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from bench.processes import until
from config.run.embedded import DATABASE, Postgres
from config.run.supervisor import Child

PATIENCE = 60.0  # seconds to start, and to read its log again after a crash


class PrivatePostgres:
    """The embedded one, durable as an operator's: what it answered it must know after a crash."""

    def __init__(self, folder: Path) -> None:
        self._service = Postgres(folder / "postgres", folder / "postgres.log")
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        with psycopg.connect(self.home, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child:
            self._child.ask_to_stop()
            self._child.gone_by(time.monotonic() + 10)

    @property
    def home(self) -> str:
        """A database that is always there."""
        return self._service.url("postgres")

    @property
    def url(self) -> str:
        """An empty one."""
        return self._service.url()

    @property
    def name(self) -> str:
        return urllib.parse.urlsplit(self.url).path.strip("/")

    def start(self) -> None:
        """Until it answers. It ends with the thread that starts it. Raises: NotInTimeError."""
        self._child = Child(self._service.program())
        self._child.start()
        until(self._service.ready, seconds=PATIENCE, what="a PostgreSQL of our own")

    def crash(self) -> None:
        """All its processes end at once and write nothing down; it finds what it answered in its log when it starts again."""
        assert self._child
        assert self._child.process
        self._child.process.send_signal(signal.SIGQUIT)
        self._child.process.wait()
