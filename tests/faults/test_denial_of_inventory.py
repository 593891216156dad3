"""Measure what one address with two hundred guests keeps from others by holding again and again in a large hall."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api_client import ApiClient
from tests.faults.conftest import OWNER
from tests.processes import Processes, fresh_database

pytestmark = [pytest.mark.fault]

ROWS, SEATS_PER_ROW, EACH = 40, 50, 10
SHARE = ROWS * SEATS_PER_ROW * 5 // 100
ATTACKER, BUYER = "203.0.113.9", "198.51.100.7"


@dataclasses.dataclass(frozen=True, slots=True)
class House:
    owner: ApiClient
    webs: list[int]

    def guest(self, number: int, address: str) -> ApiClient:
        """Make a guest of the address that the proxy in front of the web processes reports."""
        port = self.webs[number % len(self.webs)]
        answer = ApiClient(port).call("POST", "/auth/guest", X_Forwarded_For=address)
        return ApiClient(port, answer.body["access"])

    def held(self, session: str) -> int:
        counts = self.owner.call("GET", f"/sessions/{session}/seats").body["counts"]
        return int(counts["held"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Run two web processes that trust a local proxy, workers and the relay, which expires; with default limits."""
    with (
        fresh_database() as database,
        Processes(folder=tmp_path, DATABASE_URL=database, TRUSTED_PROXIES="127.0.0.1", FRONTROW_ENV="test") as site,
    ):
        site.manage("shell", "-c", OWNER)
        webs = [site.web(), site.web()]
        site.worker()
        site.worker("--payments")
        site.relay()
        for web in webs:
            site.wait_until_ready(web)
        ports = [web.port or 0 for web in webs]
        yield House(ApiClient(ports[0]).sign_in("owner", "frontrow-demo"), ports)


def seats_of(number: int) -> list[str]:
    """Return ten neighbouring seats; two hundred times ten are the hall."""
    row, part = divmod(number, SEATS_PER_ROW // EACH)
    letters = [chr(65 + n) for n in range(26)] + [f"A{chr(65 + n)}" for n in range(26)]
    return [f"{letters[row]}{part * EACH + seat}" for seat in range(1, EACH + 1)]


@dataclasses.dataclass(slots=True)
class Siege:
    """Simulate guests of one address who hold all they can, extend it, and release it only to hold it again."""

    house: House
    session: str
    guests: int
    threads: int
    over: threading.Event = dataclasses.field(default_factory=threading.Event)
    answers: list[int] = dataclasses.field(default_factory=list)

    def run(self) -> None:
        crowd = [self.house.guest(number, ATTACKER) for number in range(self.guests)]
        turns = itertools.count()
        with ThreadPoolExecutor(self.threads) as threads:
            for _thread in range(self.threads):
                threads.submit(self._besiege, crowd, turns)

    def _besiege(self, crowd: list[ApiClient], turns: Iterator[int]) -> None:
        while not self.over.is_set():
            number = next(turns) % len(crowd)
            guest, where = crowd[number], {"X_Forwarded_For": ATTACKER}
            body = {"session": self.session, "seats": seats_of(number)}
            answer = guest.call("POST", "/reservations", body, Prefer="wait=2", **where)
            self.answers.append(answer.status)
            if answer.status == 201:
                held = f"/reservations/{answer.body['id']}"
                guest.call("POST", f"{held}/extend", **where)
                if number % 3 == 0:
                    guest.call("DELETE", held, **where)
            if answer.status == 429:
                self.over.wait(0.05)  # a patient program; another test floods the site


def besieged(house: House, *, guests: int, seconds: float, hold_seconds: int) -> None:
    session = house.owner.new_session(
        rows=ROWS, seats_per_row=SEATS_PER_ROW, hold_seconds=hold_seconds, max_hold_seconds=10 * hold_seconds
    )
    siege = Siege(house, session, guests=guests, threads=8)
    most, buyer = 0, house.guest(0, BUYER)
    with ThreadPoolExecutor(1) as others:
        running = others.submit(siege.run)
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                most = max(most, house.held(session))
                siege.over.wait(0.2)
            bought = buyer.call(
                "POST",
                "/reservations",
                {"session": session, "best_available": {"quantity": 4}},
                Prefer="wait=5",
                X_Forwarded_For=BUYER,
            )
            assert bought.status == 201, bought
            assert buyer.pay(bought.body["id"]).status == 200
        finally:
            siege.over.set()
        running.result(timeout=60)
    assert 0 < most <= SHARE, f"{most} of {ROWS * SEATS_PER_ROW} seats were held by one address"
    assert {201, 429} <= set(siege.answers) <= {201, 202, 409, 429}, set(siege.answers)


def test_one_address_keeps_five_percent_of_a_hall(house: House) -> None:
    besieged(house, guests=40, seconds=5, hold_seconds=2)


@pytest.mark.chaos
def test_one_address_with_two_hundred_guests_keeps_five_percent_of_a_hall_for_75_seconds(house: House) -> None:
    besieged(house, guests=200, seconds=75, hold_seconds=30)
