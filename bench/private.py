"""Run our own PostgreSQL on its own port, which may crash without touching another one.

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

PATIENCE = 60.0  # seconds to start, and to replay its log after a crash


class PrivatePostgres:
    """Run the embedded PostgreSQL, as durable as an operator's: after a crash it must know what it answered."""

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
        """Return the URL of a database that always exists."""
        return self._service.url("postgres")

    @property
    def url(self) -> str:
        """Return the URL of an empty database."""
        return self._service.url()

    @property
    def name(self) -> str:
        return urllib.parse.urlsplit(self.url).path.strip("/")

    def start(self) -> None:
        """Start, and wait until it answers. It ends with the thread that starts it. Raises: NotInTimeError."""
        self._child = Child(self._service.program())
        self._child.start()
        until(self._service.ready, seconds=PATIENCE, what="a PostgreSQL of our own")

    def crash(self) -> None:
        """End all processes at once without writing anything down.

        The next start finds in the log what was answered.
        """
        assert self._child
        assert self._child.process
        self._child.process.send_signal(signal.SIGQUIT)
        self._child.process.wait()
