"""Lose RabbitMQ or Redis in the middle of a sale, in each possible way: buyers hardly notice, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from tests.api_client import ApiClient
from tests.faults.conftest import Site
from tests.faults.paced import Crowd, Figures
from tests.processes import until
from tests.proxy import Proxy

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq]

RATE = 25.0  # requests a second
BEFORE = 3.0  # seconds that measure this machine undisturbed
PAYERS = 24
LONG = 10.0  # seconds
BLINK = 2.0  # seconds in which requests of that moment may wait
WAYS: dict[str, Callable[[Proxy], None]] = {
    "down": Proxy.down,
    "silent": Proxy.hole,
    "blocked": Proxy.freeze,
    "cut_off": Proxy.cut_off,
}
SHORT = "silent"  # the most expensive way


def is_confirmed(buyer: ApiClient, reservation: str) -> bool:
    return bool(buyer.call("GET", f"/reservations/{reservation}").body["status"] == "confirmed")


def long_but(short: str, ways: dict[str, Callable[[Proxy], None]]) -> list[object]:
    """Return each way as a chaos test, and one of them also as a short test."""
    return [
        *(pytest.param(way, LONG, marks=pytest.mark.chaos, id=name) for name, way in ways.items()),
        pytest.param(ways[short], 5.0, id=f"{short}-shortly"),
    ]


@pytest.fixture
def crowd(small_site: Site) -> Iterator[Crowd]:
    session = small_site.owner.new_session(
        rows=1,
        seats_per_row=1,
        hold_seconds=600,
        max_hold_seconds=1200,
        max_per_buyer=1_000,
        ticket_types=[{"name": "Floor", "price": 2500, "capacity": 10_000}],
    )
    kinds = small_site.owner.call("GET", f"/ticket-types?session={session}").body["results"]
    floor = next(kind["id"] for kind in kinds if kind["capacity"])
    with Crowd(small_site.guests(24), session, floor, rate=RATE) as crowd:
        yield crowd


@contextmanager
def away(wire: Proxy, way: Callable[[Proxy], None], *, seconds: float) -> Iterator[None]:
    way(wire)
    try:
        time.sleep(seconds)
        yield
    finally:
        wire.up()


def before(crowd: Crowd) -> Figures:
    """Measure the crowd with warm processes."""
    start = time.monotonic() + 1
    time.sleep(1 + BEFORE)
    return crowd.between(start, start + BEFORE)


def left(site: Site, accepted: set[str]) -> int:
    """Count requests that are not allocated yet."""
    query = "SELECT count(*) FROM reservations_reservation WHERE id = ANY(%s::uuid[]) AND status <> 'queued'"
    with psycopg.connect(site.database) as connection:
        row = connection.execute(query, [list(accepted)]).fetchone()
    return len(accepted) - int(row[0] if row else 0)


class TestRabbitMQ:
    @pytest.mark.parametrize(("way", "seconds"), long_but(SHORT, WAYS))
    def test_lost_rabbitmq_leaves_the_sale_as_quick_as_it_was(
        self, small_site: Site, crowd: Crowd, way: Callable[[Proxy], None], seconds: float
    ) -> None:
        assert small_site.wire
        usual = before(crowd)
        start = time.monotonic()
        with away(small_site.wire, way, seconds=seconds):
            end = time.monotonic()
        back = time.monotonic()
        time.sleep(1)
        whole, later = crowd.between(start, end), crowd.between(start + BLINK, end)
        print(f"before: {usual}\nmeanwhile: {whole}\nafter {BLINK:g} s: {later}")  # noqa: T201 pytest shows it
        assert set(whole.statuses) == {202}
        assert whole.rate >= 0.8 * usual.rate
        usually = (
            0.0 if seconds >= LONG else 2.0
        )  # the long tests check the promised figures; the short ones run beside others
        assert later.p95 <= max(0.3, usually * usual.p95)
        assert whole.slowest <= max(2.5, usually * usual.slowest)
        assert later.slowest < 1.4, "a request waited for a probe"
        accepted = {*usual.accepted, *whole.accepted}
        until(
            lambda: not left(small_site, accepted), seconds=10 - (time.monotonic() - back), what="all being allocated"
        )

    @pytest.mark.chaos
    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_lost_rabbitmq_leaves_paying_as_quick_as_it_was(
        self, small_site: Site, crowd: Crowd, way: Callable[[Proxy], None]
    ) -> None:
        """Check payments: their messages may be late, and a process that never reached RabbitMQ waits for it once."""
        assert small_site.wire
        payers = small_site.guests(PAYERS)
        holds = [payer.call("POST", "/reservations", crowd.body, prefer="wait=10").body["id"] for payer in payers]
        took = []
        with away(small_site.wire, way, seconds=0):
            for payer, held in zip(payers, holds, strict=True):
                began = time.monotonic()
                paid = payer.call("POST", f"/reservations/{held}/pay", {"payment": {"method": "fake", "token": "ok"}})
                took.append(time.monotonic() - began)
                assert paid.status == 202, paid
                time.sleep(0.3)
        print(f"paying took {[round(one, 3) for one in took]}")  # noqa: T201 pytest shows it
        assert max(took) <= 2.5
        assert sorted(took)[int(0.95 * len(took)) - 1] <= 0.5, "somebody waited for a probe"
        for payer, held in zip(payers, holds, strict=True):
            until(partial(is_confirmed, payer, held), seconds=20, what="the payment")


REDIS_WAYS: dict[str, Callable[[Proxy], None]] = {
    "down": Proxy.down,
    "stopped": Proxy.hole,
    "slow": lambda wire: wire.slow(0.5),
}


class TestRedis:
    @pytest.mark.parametrize(("way", "seconds"), long_but("stopped", REDIS_WAYS))
    def test_lost_redis_costs_one_request_a_moment(
        self, small_site: Site, crowd: Crowd, way: Callable[[Proxy], None], seconds: float
    ) -> None:
        usual = before(crowd)
        start = time.monotonic()
        with away(small_site.redis_wire, way, seconds=seconds):
            end = time.monotonic()
        time.sleep(1)
        first, later = crowd.between(start - 0.2, start + 1), crowd.between(start + 1, end)
        print(f"before: {usual}\nfirst second: {first}\nthen: {later}")  # noqa: T201
        assert set(first.statuses) | set(later.statuses) == {202}
        assert first.slowest <= usual.slowest + max(0.3, usual.slowest)
        assert later.p95 <= max(0.3, 2 * usual.p95)
        accepted = {*usual.accepted, *first.accepted, *later.accepted}
        until(lambda: not left(small_site, accepted), seconds=20, what="all being allocated")
