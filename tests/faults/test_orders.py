"""Judge a rush of orders as the benchmark does, while a worker is killed and while our own PostgreSQL is away."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from bench import enduring
from bench.private import PrivatePostgres
from bench.services import Services
from bench.stage import Crew, Stage, stage_on
from tests import services

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq]


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    stage: Stage
    postgres: PrivatePostgres
    crew: Crew


@pytest.fixture(scope="module")
def rushed(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[Site]:
    """Run a site of two of each, on a PostgreSQL that may crash."""
    folder = tmp_path_factory.mktemp("rush")
    found = services.current()
    with django_db_blocker.unblock(), PrivatePostgres(folder) as postgres:
        borrowed = Services(
            home=postgres.home,
            template=postgres.name,
            redis_url=found.redis_url,
            rabbitmq_url=found.rabbitmq_url,
            prefix=f"test-{uuid.uuid4().hex[:8]}",
            versions={},
        )
        with stage_on(postgres, services=borrowed, folder=folder / "site", quick=True) as stage:
            yield Site(stage, postgres, stage.crew())


@pytest.fixture(autouse=True)
def _nothing_wrong(rushed: Site) -> Iterator[None]:
    """Check that all orders are answered, the first ones have the stock, the others none, and the audit is clean."""
    yield
    assert rushed.stage.wrong == []


def test_a_worker_killed_half_way_loses_no_order(rushed: Site) -> None:
    found = enduring.with_a_worker_killed(rushed.stage, rushed.crew, requests=400, places=200)
    assert found.load.statuses[202] >= 200


def test_postgresql_away_for_two_seconds_loses_no_order(rushed: Site) -> None:
    found = enduring.with_postgresql_stopped(
        rushed.stage, rushed.postgres, rushed.crew, requests=160, places=120, seconds=2
    )
    assert found.accepted > 0


def test_what_the_large_run_tells_is_told_of_a_small_one_too(rushed: Site) -> None:
    found, taken = enduring.with_memory_watched(rushed.stage, rushed.crew.webs, requests=100, places=50)
    assert found.cost > 0
    assert {"web 1", "web 2", "worker 1", "payments 1", "relay", "postgresql", "redis", "generator"} <= taken.keys()
    assert all(size > 1 for sizes in taken.values() for size in sizes)
    assert enduring.growth(taken) < 100
