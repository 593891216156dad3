"""Start production while PostgreSQL is away: it looks for public passwords as soon as it can."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import OWNER
from tests.processes import Process, Processes, fresh_database, until
from tests.proxy import Proxy

pytestmark = pytest.mark.fault

PRODUCTION = {
    "FRONTROW_ENV": "production",
    "ALLOWED_HOSTS": "127.0.0.1",
    "SANDBOX_IN_PRODUCTION": "on",
    "RATE_LIMITS": "on",
}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Processes, Proxy]]:
    """Run an installation in production, with a wire to PostgreSQL."""
    with (
        fresh_database() as database,
        Proxy(database) as wire,
        Processes(
            folder=tmp_path, DATABASE_URL=wire.url, SECRET_KEY=secrets.token_urlsafe(48), **PRODUCTION
        ) as processes,
    ):
        yield processes, wire


def said(process: Process, event: str) -> bool:
    return event in process.last_words(200)


def start_without_database(started: list[Process]) -> None:
    until(lambda: all(said(one, "start.unchecked") for one in started), seconds=60, what="all having started")
    assert [one.name for one in started if not one.alive] == []


def test_every_process_ends_once_it_finds_an_account_of_the_demo(house: tuple[Processes, Proxy]) -> None:
    processes, wire = house
    processes.manage("shell", "-c", OWNER)
    wire.down()
    started = [
        *(processes.web(), processes.live(), processes.both()),
        *(processes.worker(), processes.worker("--jobs"), processes.beat(), processes.relay()),
    ]
    start_without_database(started)

    wire.up()
    until(lambda: not any(one.alive for one in started), seconds=60, what="all having ended")
    assert [one.name for one in started if one.popen.returncode == 0] == []
    assert [one.name for one in started if not said(one, "start.refused")] == []


def test_a_process_goes_on_that_finds_none(house: tuple[Processes, Proxy]) -> None:
    processes, wire = house
    wire.down()
    web = processes.web()
    start_without_database([web])

    wire.up()
    until(lambda: said(web, "start.checked"), seconds=30, what="having looked")
    processes.wait_until_ready(web)
    assert not said(web, "start.refused")
