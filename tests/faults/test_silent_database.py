"""Leave connections to PostgreSQL open and unanswered, as a proxy or a pooler may: nothing waits for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api_client import ApiClient
from tests.faults.conftest import OWNER
from tests.processes import Process, Processes, fresh_database, until
from tests.proxy import Proxy

pytestmark = pytest.mark.fault

ANSWER_SECONDS = 3


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Process, Proxy]]:
    """Run a web process that allocates and pays by itself, with a wire to PostgreSQL."""
    with (
        fresh_database() as database,
        Proxy(database) as wire,
        Processes(
            folder=tmp_path,
            DATABASE_URL=wire.url,
            RABBITMQ_URL="",
            QUEUE="in_process",
            RATE_LIMITS="off",
            DB_ANSWER_SECONDS=str(ANSWER_SECONDS),
        ) as processes,
    ):
        processes.manage("shell", "-c", OWNER)
        web = processes.web()
        processes.wait_until_ready(web)
        yield web, wire


def test_people_can_pay_again_though_the_connections_stay_silent(site: tuple[Process, Proxy]) -> None:
    web, wire = site
    port = web.port or 0
    session = ApiClient(port).sign_in("owner", "frontrow-demo").new_session(rows=2, seats_per_row=8)
    buyers = [ApiClient(port).guest() for _buyer in range(8)]
    held = [buyer.hold(session, f"A{number}").body["id"] for number, buyer in enumerate(buyers, 1)]

    with ThreadPoolExecutor(len(buyers)) as threads:
        wire.hole()
        began = time.monotonic()
        asked = [threads.submit(buyer.pay, one, key=one) for buyer, one in zip(buyers, held, strict=True)]
        time.sleep(1)  # long enough for each to work or to wait for the one that works
        wire.up(hang_up=False)
        answers = [one.result() for one in asked]
        assert {answer.status for answer in answers} <= {200, 503}, answers
        assert time.monotonic() - began < 20

    def paid() -> bool:
        again = [buyer.pay(one, key=one) for buyer, one in zip(buyers, held, strict=True)]
        return {answer.status for answer in again} <= {200, 409}

    until(paid, seconds=20, every=0.5, what="all having paid")
    assert [buyer.status(one) for buyer, one in zip(buyers, held, strict=True)] == ["confirmed"] * len(buyers)
