from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.test import override_settings

from reservations.staff import dead_letters
from tests import services
from tests.api_client import ApiClient
from tests.processes import Process, Processes, fresh_database
from tests.proxy import Proxy
from ticketing.upkeep.auditing import CHECKS

OWNER = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("owner", "owner@example.com", "frontrow-demo")
"""


@dataclasses.dataclass(slots=True)
class Site:
    """Run a whole installation: two web processes, two workers, one for payments, one for jobs, beat and relay.

    `wire` leads to its RabbitMQ, if it has one, `redis_wire` to its Redis.
    """

    processes: Processes
    webs: list[Process]
    workers: list[Process]
    relay: Process
    wire: Proxy | None
    owner: ApiClient
    database: str
    redis_wire: Proxy

    def guests(self, number: int) -> list[ApiClient]:
        """Return new buyers, spread over the web processes."""
        doors = [ApiClient(web.port or 0) for web in self.webs]
        return [doors[n % len(doors)].guest() for n in range(number)]

    def waiting_for_locks(self) -> int:
        """Count transactions that wait for another one."""
        with psycopg.connect(self.database) as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def findings(self) -> list[str]:
        """Return the findings of `manage.py audit`, without the seconds that a command takes to start."""
        with psycopg.connect(self.database) as connection:
            found = [
                check.name
                for check in CHECKS
                if check.sql and connection.execute(check.sql.encode(), check.parameters).fetchone()
            ]
        return [*found, *(name for name, letters in self.dead_letters().items() if letters)]

    def dead_letters(self) -> dict[str, int]:
        """Count the dead letters at the broker, by queue."""
        where = {name: self.processes.environment[name] for name in ("RABBITMQ_URL", "KEY_PREFIX")}
        with override_settings(**where):
            return dead_letters.count_at_the_broker()


@pytest.fixture(scope="package", params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Provide a site on the services of `make run` (PostgreSQL's inbox is the queue), and one with RabbitMQ."""
    folder = tmp_path_factory.mktemp(f"site-{request.param}")
    with fresh_database() as database:
        if request.param == "embedded":
            yield from _site(folder, None, DATABASE_URL=database, RABBITMQ_URL="", QUEUE="inbox")
        else:
            with Proxy(services.current().rabbitmq_url) as wire:
                yield from _site(folder, wire, DATABASE_URL=database, RABBITMQ_URL=wire.url, QUEUE="rabbitmq")


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Provide a site with RabbitMQ, with an operator's time limits instead of those of tests."""
    folder = tmp_path_factory.mktemp("small-site")
    patience = {"BROKER_TIMEOUT_MS": "1500", "REDIS_TIMEOUT_MS": "100"}
    with fresh_database() as database, Proxy(services.current().rabbitmq_url) as wire:
        urls = {"DATABASE_URL": database, "RABBITMQ_URL": wire.url}
        yield from _site(folder, wire, small=True, QUEUE="rabbitmq", **urls, **patience)


def _site(folder: Path, wire: Proxy | None, *, small: bool = False, **environment: str) -> Iterator[Site]:
    """Start a site. `small` starts one process of each kind that holds need, and no others."""
    with (
        Proxy(services.current().redis_url) as redis_wire,
        Processes(folder=folder, RATE_LIMITS="off", REDIS_URL=redis_wire.url, **environment) as processes,
    ):
        processes.manage("shell", "-c", OWNER)
        webs = [processes.web() for _web in range(1 if small else 2)]
        workers = [processes.worker() for _worker in range(1 if small else 2)]
        if not small:
            processes.worker("--payments")
            processes.worker("--jobs")
            processes.beat()
        relay = processes.relay()
        for web in webs:
            processes.wait_until_ready(web)
        owner = ApiClient(webs[0].port or 0).sign_in("owner", "frontrow-demo")
        yield Site(processes, webs, workers, relay, wire, owner, environment["DATABASE_URL"], redis_wire)
