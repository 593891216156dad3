"""Send poison through real processes. Each test ends with the audit."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.test import override_settings
from django.utils import timezone
from psycopg.types.json import Jsonb

from reservations.hold_request import HoldRequest
from reservations.queueing import inbox, queues
from tests.api_client import ApiClient
from tests.faults.conftest import Site
from tests.processes import until

pytestmark = pytest.mark.fault


@pytest.fixture(autouse=True)
def _sound(site: Site) -> Iterator[None]:
    yield
    until(lambda: not site.findings(), seconds=60, what="the audit finding nothing")


@dataclasses.dataclass(frozen=True, slots=True)
class Buyer:
    """Act as a guest whose request a test puts into the queue directly, without admission."""

    client: ApiClient
    name: uuid.UUID

    def request(self, session: str, *seats: str, arrival: int, quantity: int = 0) -> HoldRequest:
        return HoldRequest(
            id=uuid.uuid4(),
            session=uuid.UUID(session),
            buyer=self.name,
            arrival=arrival,
            accepted_at=timezone.now(),
            seats=seats,
            quantity=quantity,
        )

    def status(self, request: HoldRequest) -> str | None:
        """Return the status; None before its allocation, because admission did not see it."""
        answer = self.client.call("GET", f"/reservations/{request.id}")
        return answer.body["status"] if answer.status == 200 else None


def guest(site: Site) -> Buyer:
    answer = ApiClient(site.webs[0].port or 0).call("POST", "/auth/guest").body
    return Buyer(ApiClient(site.webs[0].port or 0, answer["access"]), uuid.UUID(answer["buyer"]))


def stand_in_queue(site: Site, *requests: HoldRequest, where: str = "queue") -> None:
    """Put requests into one message, in RabbitMQ's `queue` or `given_up`; without RabbitMQ, into the inbox."""
    if not site.wire:
        with psycopg.connect(site.database) as connection:
            for request in requests:
                connection.execute(
                    "INSERT INTO reservations_inboxrequest"
                    " (id, shard, arrival, buyer, request, attempts, error, accepted_at)"
                    " VALUES (%s, 0, %s, %s, %s, 0, '', now())",
                    [request.id, request.arrival, request.buyer, Jsonb(request.to_json())],
                )
    else:
        publish(site, where, requests=[request.to_json() for request in requests])


def publish(site: Site, where: str, **said: Any) -> None:
    courier = queues.Courier(site.processes.environment["RABBITMQ_URL"])
    with override_settings(KEY_PREFIX=site.processes.environment["KEY_PREFIX"]):
        courier.send(
            "reservations.tasks.settle", queues.holds_queue(0) if where == "queue" else queues.given_up(), **said
        )
    courier.close()


def poison_among_neighbours(session: str, buyer: Buyer, neighbour: Buyer) -> tuple[HoldRequest, list[HoldRequest]]:
    """Make a request for minus five places, which breaks a constraint of the table. Admission would refuse it."""
    good = [neighbour.request(session, f"A{arrival}", arrival=arrival) for arrival in (1, 2, 4)]
    return buyer.request(session, arrival=3, quantity=-5), good


def test_poison_waits_for_a_person_while_its_neighbours_allocate(site: Site) -> None:
    ana, bruno = guest(site), guest(site)
    poison, good = poison_among_neighbours(site.owner.new_session(), ana, bruno)
    stand_in_queue(site, *good[:2], poison, good[2])

    until(
        lambda: all(bruno.status(request) == "held" for request in good),
        seconds=90,
        what="its neighbours being held",
    )
    until(lambda: waits(site, poison), seconds=90, what="the poison being set aside")

    listed = site.processes.manage("dead_letters", "list")
    assert str(poison.id) in listed
    assert "5 tries" in listed
    assert "reservation_asks_for_something" in listed
    assert not any(str(request.id) in listed for request in good)

    assert "rejected failed" in site.processes.manage("dead_letters", "discard", str(poison.id), "--yes")
    told = ana.client.call("GET", f"/reservations/{poison.id}").body
    assert (told["status"], told["reason"]) == ("rejected", "failed")
    assert "0 dead letters." in site.processes.manage("dead_letters", "list")


def waits(site: Site, poison: HoldRequest) -> bool:
    """Tell whether it waits for a person.

    A command takes seconds to start, so ask it only once something was set aside.
    """
    return set_aside(site) and str(poison.id) in site.processes.manage("dead_letters", "list")


def set_aside(site: Site) -> bool:
    """Tell whether RabbitMQ has a dead letter, or the inbox a request that no worker tries any more."""
    with psycopg.connect(site.database) as connection:
        query = "SELECT FROM reservations_inboxrequest WHERE attempts >= %s"
        given_up = connection.execute(query, [inbox.MAX_ATTEMPTS]).rowcount
    return bool(given_up) or any(site.dead_letters().values())


def test_requeued_poison_that_still_is_poison_comes_back_once(site: Site) -> None:
    ana, bruno = guest(site), guest(site)
    poison, good = poison_among_neighbours(site.owner.new_session(), ana, bruno)
    stand_in_queue(site, poison, *good)
    until(lambda: waits(site, poison), seconds=90, what="the poison being set aside")
    site.processes.manage("dead_letters", "retry", "--all")
    until(lambda: "accepted_and_forgotten" in site.findings(), seconds=90, what="it having failed in the inbox")
    assert "rejected failed" in site.processes.manage("dead_letters", "discard", "--all", "--yes")


@pytest.mark.parametrize("site", [pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True)
def test_what_a_crash_loop_pushed_out_is_allocated_by_the_relay(site: Site) -> None:
    ana, bruno = guest(site), guest(site)
    poison, good = poison_among_neighbours(site.owner.new_session(), ana, bruno)
    stand_in_queue(site, *good, poison, where="given_up")
    until(
        lambda: all(bruno.status(request) == "held" for request in good),
        seconds=90,
        what="the innocent being held",
    )
    until(lambda: waits(site, poison), seconds=60, what="the poison waiting")
    site.processes.manage("dead_letters", "discard", str(poison.id), "--yes")


@pytest.mark.parametrize("site", [pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True)
def test_a_message_that_makes_no_sense_is_not_lost(site: Site) -> None:
    publish(site, "line", words="?")
    until(
        lambda: set_aside(site) and "cannot be read" in site.processes.manage("dead_letters", "list"),
        seconds=60,
        what="it being set aside",
    )
    listed = site.processes.manage("dead_letters", "list")
    assert '{"words": "?"}' in site.processes.manage("dead_letters", "discard", listed.split()[0], "--yes")


def test_the_audit_finds_nothing_while_sales_are_under_way(site: Site) -> None:
    """Check that ordinary transactions, locks and queues do not look like faults."""
    buyers = site.guests(8)
    sessions = [site.owner.new_session(hold_seconds=1) for _room in range(2)]

    def buy(buyer: ApiClient) -> None:
        for turn in range(12):
            buyer.hold(sessions[turn % 2], f"{'ABCD'[turn % 4]}{1 + turn % 3}")
            buyer.hold(sessions[turn % 2], best_available={"quantity": 2})

    found: set[str] = set()
    with ThreadPoolExecutor(len(buyers)) as crowd:
        sales = [crowd.submit(buy, buyer) for buyer in buyers]
        while not all(sale.done() for sale in sales):
            found.update(site.findings())
    for sale in sales:
        sale.result()
    assert found == set()
