"""Make a guest an account while its order is in RabbitMQ, or in the inbox, on real processes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.api_client import Answer, ApiClient
from tests.faults.conftest import Site
from tests.processes import until
from tests.race.racing import race

pytestmark = pytest.mark.fault

PASSWORD = "poltrona-da-frente-7"


@pytest.fixture(autouse=True)
def _sound(site: Site) -> Iterator[None]:
    yield
    until(lambda: not site.findings(), seconds=60, what="the audit finding nothing")


@contextmanager
def nobody_allocates(site: Site) -> Iterator[None]:
    for process in (*site.workers, site.relay):
        process.pause()
    try:
        yield
    finally:
        for process in (*site.workers, site.relay):
            process.resume()


def insist(buyer: ApiClient, path: str, body: Any, status: int, **headers: str) -> Answer:
    """Repeat a request until the answer is not "unavailable", which a busy machine may say."""
    answers: list[Answer] = []

    def answered() -> bool:
        answers.append(buyer.call("POST", path, body, **headers))
        return answers[-1].status != 503

    until(answered, seconds=30, what=f"an answer of {path}")
    assert answers[-1].status == status, answers[-1]
    return answers[-1]


def order(buyer: ApiClient, session: str, seat: str, key: str = "k") -> Answer:
    body = {"session": session, "seats": [seat], "payment": {"method": "fake", "token": "ok"}}
    return insist(buyer, "/orders", body, 202, Idempotency_Key=key)


def register(guest: ApiClient, name: str) -> ApiClient:
    answer = insist(guest, "/auth/register", {"username": name, "password": PASSWORD}, 201)
    return ApiClient(guest.port, answer.body["access"])


def sign_in(guest: ApiClient, name: str) -> ApiClient:
    """Sign in to an existing account."""
    register(ApiClient(guest.port), name)
    answer = insist(guest, "/auth/token", {"username": name, "password": PASSWORD}, 200)
    return ApiClient(guest.port, answer.body["access"])


def completed(account: ApiClient) -> list[Any]:
    return [one for one in account.call("GET", "/orders").body["results"] if one["status"] == "COMPLETED"]


@pytest.mark.parametrize("enter", [register, sign_in])
def test_an_order_that_waits_is_the_accounts(site: Site, enter: Any) -> None:
    session, (guest,) = site.owner.new_session(), site.guests(1)
    with nobody_allocates(site):
        first = order(guest, session, "A1")
        account = enter(guest, f"ana-{uuid.uuid4().hex[:8]}")
        again = order(account, session, "A1")
        assert (again.body["id"], again.headers["idempotent-replayed"]) == (first.body["id"], "true")
        assert account.call("GET", f"/orders/{first.body['id']}").body["status"] == "PENDING"
    until(lambda: len(completed(account)) == 1, seconds=30, what="the order being the account's and paid")
    assert order(account, session, "A1").body["id"] == first.body["id"]
    assert len(account.call("GET", "/sales").body["results"]) == 1
    assert guest.call("GET", "/orders").body["results"] == []


def test_an_order_at_the_instant_of_registering_is_the_accounts(site: Site) -> None:
    session, guests = site.owner.new_session(), site.guests(8)
    orders = [partial(order, guest, session, f"{'AB'[n % 2]}{1 + n // 2}") for n, guest in enumerate(guests)]
    entries = [partial(register, guest, f"ana-{uuid.uuid4().hex[:8]}") for guest in guests]
    outcomes: list[Any] = race([*orders, *entries])
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    accounts = outcomes[len(guests) :]
    for account in accounts:
        until(lambda account=account: len(completed(account)) == 1, seconds=30, what="each account having its order")  # type: ignore[misc]
