"""Run processes whose clocks are five minutes wrong, ahead or behind: only the database's clock decides."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets import Subprotocol
from websockets.sync.client import connect

from tests.api_client import Answer, ApiClient
from tests.faults.conftest import OWNER
from tests.processes import Process, Processes, free_port, fresh_database, until
from ticketing.payments.gateways import fake, signatures
from ticketing.upkeep.auditing import CHECKS

pytestmark = [pytest.mark.fault, pytest.mark.chaos]

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("libfaketime is missing"))
OFF = 300  # seconds
STATE = "SELECT status, changed_at >= expires_at FROM reservations_reservation WHERE id = %s"
PAYMENT = {"method": "fake", "token": "ok"}


# libfaketime 0.9 refuses the absolute monotonic deadline that `time.sleep` gives to the kernel (EINVAL), so sleep by
# `select`.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


def off_by(seconds: int, folder: Path) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(SLEEP)
    return {
        "PYTHONPATH": str(folder),
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


class Site:
    """Run a web process with each kind of clock, and others so that two that work together differ by ten minutes."""

    def __init__(self, processes: Processes, ahead: int) -> None:
        self.processes = processes

        def start(*words: str, seconds: int, port: int | None = None) -> Process:
            return processes.start(*words, port=port, env=off_by(seconds, processes.folder))

        webs = [start("web", "--workers", "1", seconds=off, port=free_port()) for off in (ahead, -ahead)]
        self.live = start("live", seconds=ahead, port=free_port())
        start("worker", seconds=-ahead)
        start("worker", "--payments", seconds=ahead)
        start("worker", "--jobs", seconds=ahead)
        start("beat", seconds=-ahead)
        start("relay", seconds=ahead)
        for web in webs:
            processes.wait_until_ready(web)
        processes.wait_until_up(self.live)
        self.doors = [ApiClient(web.port or 0) for web in webs]
        self.owners = [door.sign_in("owner", "frontrow-demo") for door in self.doors]

    def session(self, *, starts_in: dt.timedelta, **facts: Any) -> dict[str, Any]:
        about = {"show": {"title": "Clocks"}, "room": uuid.uuid4().hex, "rows": 2, "seats_per_row": 4, "price": 2500}
        starts = (dt.datetime.now(dt.UTC) + starts_in).isoformat()
        answer = self.owners[0].call("POST", "/sessions", about | {"currency": "BRL", "starts_at": starts} | facts)
        assert answer.status == 201, answer
        return dict(answer.body)

    def row(self, query: str, *parameters: Any) -> Any:
        with psycopg.connect(self.processes.environment["DATABASE_URL"]) as connection:
            return connection.execute(query.encode(), parameters).fetchone()


@pytest.fixture(scope="module", params=[OFF, -OFF])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("clocks")
    with (
        fresh_database() as database,
        Processes(folder=folder, DATABASE_URL=database, LIMIT_GUEST_ADDRESS="1/40") as processes,
    ):
        processes.manage("shell", "-c", OWNER)
        yield Site(processes, request.param)


@pytest.fixture
def buyer(site: Site) -> list[ApiClient]:
    """Provide one guest at each of the web processes."""
    token = site.doors[0].guest().token
    return [ApiClient(door.port, token) for door in site.doors]


def hold(client: ApiClient, session: dict[str, Any], *seats: str) -> Answer:
    return client.call("POST", "/reservations", {"session": session["id"], "seats": seats}, Prefer="wait=10")


def bought(client: ApiClient, session: dict[str, Any], *seats: str) -> dict[str, Any]:
    """Buy in one step, and return the sale."""
    asked = {"session": session["id"], "seats": seats, "payment": PAYMENT}
    order = client.call("POST", "/orders", asked, Idempotency_Key=uuid.uuid4().hex)
    assert order.status == 202, order
    found: list[Answer] = []

    def completed() -> bool:
        found.append(client.call("GET", f"/orders/{order.body['id']}"))
        assert found[-1].body["status"] != "FAILED", found[-1]
        return bool(found[-1].body["status"] == "COMPLETED")

    until(completed, seconds=30, what="the order")
    return dict(client.call("GET", f"/sales/{found[-1].body['sale']['id']}").body)


def has_expired(site: Site, key: str) -> bool:
    return bool(site.row(STATE, key) == ("expired", True))


def is_confirmed(client: ApiClient, key: str) -> bool:
    return bool(client.call("GET", f"/reservations/{key}").body["status"] == "confirmed")


def test_the_clocks_are_off(site: Site) -> None:
    """Check the control, without which the other tests would prove nothing."""
    stamps = [
        json.loads(line)["timestamp"]
        for process in site.processes.started[:2]
        for line in process.log.read_text().splitlines()
        if line.startswith('{"') and "timestamp" in line
    ]
    apart = [abs(dt.datetime.fromisoformat(stamp).timestamp() - time.time()) for stamp in stamps]
    assert apart
    assert min(apart) > OFF / 2


def test_a_token_of_each_process_counts_at_every_other(site: Site) -> None:
    for token in (door.guest().token for door in site.doors):
        for door in site.doors:
            assert ApiClient(door.port, token).call("GET", "/reservations").status == 200
    refresh = site.doors[0].call("POST", "/auth/guest").body["refresh"]
    assert site.doors[1].call("POST", "/auth/token/refresh", {"refresh": refresh}).status == 200


def test_a_hold_ends_at_the_databases_instant(site: Site, buyer: list[ApiClient]) -> None:
    session = site.session(starts_in=dt.timedelta(hours=2), hold_seconds=4)
    for door, seat in zip(buyer, ("A1", "A2"), strict=True):
        held = hold(door, session, seat)
        assert held.status == 201, held
        left = dt.datetime.fromisoformat(held.body["expires_at"]).timestamp() - time.time()
        assert 0 < left <= 5
        for other in buyer:
            assert other.call("GET", f"/reservations/{held.body['id']}").body["status"] == "held"

        until(partial(has_expired, site, held.body["id"]), seconds=15, what="its end")


def test_beats_jobs_are_done_though_its_clock_is_ten_minutes_from_the_workers(site: Site) -> None:
    """Check that no job was late: a worker discards a late job and says so."""
    jobs = next(process for process in site.processes.started if "jobs" in process.name)
    assert "Discarding revoked task" not in jobs.log.read_text()


def test_places_are_held_and_paid_for_at_any_process(site: Site, buyer: list[ApiClient]) -> None:
    session = site.session(starts_in=dt.timedelta(hours=2))
    for door, other, seat in zip(buyer, reversed(buyer), ("A1", "A2"), strict=True):
        held = hold(door, session, seat)
        paid = other.call("POST", f"/reservations/{held.body['id']}/pay", {"payment": PAYMENT}, Prefer="wait=10")
        assert paid.status in {200, 202}, paid
        until(partial(is_confirmed, door, held.body["id"]), seconds=30, what="the sale")


def test_tickets_are_let_in_at_any_process(site: Site, buyer: list[ApiClient]) -> None:
    """Scan when the doors opened two minutes ago, while one process's clock says that they open in three."""
    sale = bought(buyer[0], site.session(starts_in=dt.timedelta(hours=2, minutes=58)), "A1", "A2")
    for owner, ticket in zip(site.owners, sale["tickets"], strict=True):
        assert owner.call("POST", "/checkins", {"code": ticket["code"]}).status == 200


@pytest.mark.parametrize(("age", "status"), [(0, 204), (400, 400), (-400, 400)])
def test_webhooks_are_judged_by_the_databases_clock(site: Site, age: int, status: int) -> None:
    body = json.dumps({"id": uuid.uuid4().hex, "kind": "payment.captured", "attempt": str(uuid.uuid4())})
    signed = signatures.sign(body.encode(), secret=fake._secret(), at=time.time() - age)  # noqa: SLF001
    for door in site.doors:
        answer = door.call("POST", "/webhooks/fake", json.loads(body), **{fake.SIGNATURE_HEADER: signed})
        assert answer.status == status, answer


def test_pages_count_down_by_the_databases_clock(site: Site) -> None:
    for door in site.doors:

        def right(door: ApiClient = door) -> bool:
            date = parsedate_to_datetime(door.call("GET", "/sessions").headers["date"])
            return abs(date.timestamp() - time.time()) < 3

        until(right, seconds=10, what="the right date")


def test_a_socket_takes_a_token_of_any_process(site: Site, buyer: list[ApiClient]) -> None:
    session = site.session(starts_in=dt.timedelta(hours=2))
    for door, seat in zip(buyer, ("A1", "A2"), strict=True):
        offered = [Subprotocol("bearer"), Subprotocol(door.token)]
        with connect(f"ws://127.0.0.1:{site.live.port}/ws/me", subprotocols=offered) as socket:
            held = hold(door, session, seat)
            while json.loads(socket.recv(timeout=10))["id"] != held.body["id"]:
                pass


def test_limits_end_by_redis_clock(site: Site) -> None:
    """Send forty requests at once, then one a second, instead of five minutes of none."""
    answers = [door.call("POST", "/auth/guest") for door in site.doors * 30]
    waits = [float(answer.headers["retry-after"]) for answer in answers if answer.status == 429]
    assert waits
    assert max(waits) <= 2


def test_the_audit_finds_nothing(site: Site) -> None:
    with psycopg.connect(site.processes.environment["DATABASE_URL"]) as connection:
        for check in CHECKS:
            if check.sql:
                assert connection.execute(check.sql.encode(), check.parameters).fetchone() is None, check.name
