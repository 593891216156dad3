"""Frontrow's real processes for a test.

    with fresh_database() as database, Processes(folder=tmp_path, DATABASE_URL=database) as site:
        web, worker = site.web(), site.worker()
        site.wait_until_ready(web)
        worker.kill()

They run against the services of `tests.services`, under a key prefix of their own, so several may run at once.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from bench import processes
from bench.processes import NotInTimeError, Process, free_port, healthy, listens, until
from tests import services

__all__ = [
    "NotInTimeError",
    "Process",
    "Processes",
    "free_port",
    "fresh_database",
    "healthy",
    "listens",
    "until",
]


@contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the URL of a database of empty tables that lives as long as the block.

    Its commits do not wait for the disk: only processes die here, not machines.
    """
    with processes.fresh_database(services.home(), prefix="frontrow_test", template=services.template()) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
        yield url


class Processes(processes.Processes):
    """Run processes; further keywords are environment variables."""

    def __init__(self, *, folder: Path, **environment: str) -> None:
        super().__init__(folder=folder, environment=shared_environment() | environment)


def shared_environment() -> dict[str, str]:
    found = services.current()
    return (
        dict(os.environ)
        | {
            "DATABASE_URL": found.database_url,
            "REDIS_URL": found.redis_url,
            "RABBITMQ_URL": found.rabbitmq_url or "",
            "QUEUE": "",  # the tests' own process allocates by itself; real processes stand in a real queue
            "COPY_MS": "",
            "KEY_PREFIX": f"test-{uuid.uuid4().hex[:8]}",
            "PYTHONWARNINGS": "default",
        }
    )
