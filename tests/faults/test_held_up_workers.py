"""Hold workers up for longer than RabbitMQ waits. Afterwards each queue is consumed, and all accepted requests end.

The table has its own PostgreSQL, Redis and RabbitMQ, with wires between.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import kombu
import psycopg
import pytest
import redis
from amqp.exceptions import ChannelError
from django.conf import LazySettings
from django.db import connection

from bench.private import PrivatePostgres
from reservations.models import Reservation
from reservations.queueing.liveness import KEPT_MS, SILENT_AFTER
from reservations.queueing.queues import Courier, holds_queue
from sessions_app.models import Session
from tests import services
from tests.api_client import ApiClient
from tests.faults.conftest import OWNER
from tests.private import PrivateRabbitMQ, PrivateRedis
from tests.processes import Process, Processes, free_port, until
from tests.proxy import Proxy
from tests.reservations.test_holding import another_connection, request_for

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq]

PREFIX = "held-up"
QUEUES = ("holds.0", "payments", "housekeeping", "mail", "events.mail")
KINDS = ("worker", "payments", "jobs")
MAKE_OWNER = f"""{OWNER.strip().splitlines()[0]}
get_user_model().objects.filter(username="owner").delete()
{OWNER}
"""
FINAL = {"held", "rejected", "expired", "cancelled", "confirmed"}
KNOWN_WITHIN = 10.0  # seconds until health, `Prefer: wait` and the metric know that no worker consumes
BACK_WITHIN = 10.0  # seconds after the return until each queue is consumed and all accepted requests have ended


Base = tuple[PrivatePostgres, PrivateRedis, PrivateRabbitMQ]


@dataclass
class Town:
    """Run a whole installation on services of its own, with this many workers of each kind."""

    processes: Processes
    postgres: PrivatePostgres
    postgres_wire: Proxy
    redis: PrivateRedis
    rabbitmq: PrivateRabbitMQ
    web: Process
    owner: ApiClient
    metrics_port: int
    accepted: list[tuple[ApiClient, str, set[str]]] = field(default_factory=list)
    asking: list[Future[None]] = field(default_factory=list)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(32))

    def health(self) -> dict[str, str]:
        return health(self.web)

    def is_idle(self) -> bool:
        """Tell whether health reports each kind of worker as not consuming."""
        health = self.health()
        return {health[kind] for kind in KINDS} == {"gone"}

    def undrained(self) -> set[str]:
        """Return the queues that the relay's metric names."""
        lines = get(self.metrics_port, "/metrics").decode().splitlines()
        return {
            line.split('"')[1] for line in lines if line.startswith("frontrow_queue_undrained{") and line[-3:] == "1.0"
        }

    def consumers(self) -> dict[str, int]:
        with kombu.Connection(self.rabbitmq.url, connect_timeout=2) as connection:
            found = {}
            for queue in QUEUES:
                channel = connection.channel()
                try:
                    found[queue] = channel.queue_declare(f"{PREFIX}.{queue}", passive=True).consumer_count
                except ChannelError:
                    found[queue] = 0
            return found

    def waiting(self) -> int:
        """Count the messages in all queues."""
        with kombu.Connection(self.rabbitmq.url, connect_timeout=2) as connection:
            channel = connection.default_channel
            return sum(channel.queue_declare(f"{PREFIX}.{queue}", passive=True).message_count for queue in QUEUES)

    def guests(self, number: int) -> list[ApiClient]:
        return [ApiClient(self.web.port or 0).guest() for _guest in range(number)]

    def ask(self, guests: list[ApiClient], session: str, row: str) -> None:
        """Let each guest ask for a seat of the row without waiting for the others; accepted requests must end."""
        for number, guest in enumerate(guests, 1):
            self.asking.append(self.threads.submit(self._ask, guest, session, f"{row}{number}"))

    def pay(self, guests: list[ApiClient], held: list[str]) -> None:
        for guest, reservation in zip(guests, held, strict=True):
            self.asking.append(self.threads.submit(self._pay, guest, reservation))

    def wait_for_answers(self) -> None:
        """Wait until each has an answer, or its client gave up and was promised nothing."""
        asked, self.asking = self.asking, []
        for one in asked:
            with suppress(TimeoutError):
                one.result()

    def _ask(self, guest: ApiClient, session: str, seat: str) -> None:
        answer = guest.hold(session, seat)
        assert answer.status in {202, 503}, answer
        if answer.status == 202:
            self.accepted.append((guest, answer.body["id"], FINAL))

    def _pay(self, guest: ApiClient, reservation: str) -> None:
        answer = guest.pay(reservation, wait=0)
        assert answer.status in {202, 503}, answer
        if answer.status == 202:
            self.accepted.append((guest, reservation, {"confirmed"}))

    def has_ended(self, guest: ApiClient, reservation: str, ends: set[str]) -> bool:
        return guest.status(reservation) in ends

    def all_ended(self) -> bool:
        return all(self.has_ended(*each) for each in self.accepted)


def health(web: Process) -> dict[str, str]:
    """Return the status of each part."""
    found = get(web.port or 0, "/health")
    return {name: check["status"] for name, check in json.loads(found)["checks"].items()}


def get(port: int, path: str) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    folder = tmp_path_factory.mktemp("private")
    with (
        PrivatePostgres(folder) as postgres,
        PrivateRedis(folder) as redis,
        PrivateRabbitMQ(folder / "rabbitmq") as rabbitmq,
    ):
        yield postgres, redis, rabbitmq


@pytest.fixture(scope="module", params=[1, 2], ids=["one of each", "two of each"])
def town(
    request: pytest.FixtureRequest,
    base: Base,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    postgres, redis, rabbitmq = base
    metrics_port = free_port()
    with (
        Proxy(postgres.url) as wire,
        Processes(
            folder=tmp_path_factory.mktemp("town"),
            DATABASE_URL=wire.url,
            REDIS_URL=redis.url,
            RABBITMQ_URL=rabbitmq.url,
            KEY_PREFIX=PREFIX,
            RATE_LIMITS="off",
            REDIS_TIMEOUT_MS="250",
            DB_POOL_SECONDS="2",
            LOG_LEVEL="INFO",
        ) as processes,
    ):
        processes.manage("migrate", "--verbosity", "0")
        processes.manage("shell", "-c", MAKE_OWNER)
        web = processes.web()
        for _number in range(request.param):
            processes.worker()
            processes.worker("--payments")
            processes.worker("--jobs")
        processes.beat()
        processes.start("relay", env={"METRICS_PORT": str(metrics_port)})
        processes.wait_until_ready(web, seconds=120)
        owner = ApiClient(web.port or 0).sign_in("owner", "frontrow-demo")
        town = Town(processes, postgres, wire, redis, rabbitmq, web, owner, metrics_port)
        until(lambda: min(town.consumers().values()) >= 1, seconds=120, every=0.5, what="every queue's consumer")
        yield town


@contextmanager
def postgres_stopped(town: Town) -> Iterator[None]:
    town.postgres.crash()
    try:
        yield
    finally:
        town.postgres.start()


@contextmanager
def postgres_silent(town: Town) -> Iterator[None]:
    town.postgres_wire.hole()
    try:
        yield
    finally:
        town.postgres_wire.up()


@contextmanager
def redis_stopped(town: Town) -> Iterator[None]:
    town.redis.pause()
    try:
        yield
    finally:
        town.redis.resume()


@contextmanager
def lock_held(town: Town) -> Iterator[None]:
    """Lock every session and the rows of every payment, as a transaction of staff's would."""
    with psycopg.connect(town.postgres.url) as blocker:
        blocker.execute("SELECT FROM sessions_app_session FOR UPDATE")
        yield


FAULTS: dict[str, tuple[Callable[[Town], AbstractContextManager[None]], float]] = {
    "PostgreSQL stopped": (postgres_stopped, 40),
    "PostgreSQL silent": (postgres_silent, 20),
    "Redis stopped": (redis_stopped, 20),
    "a lock held": (lock_held, 30),
}


@pytest.mark.chaos
@pytest.mark.parametrize("restart", [False, True], ids=["", "RabbitMQ restarted in the middle"])
@pytest.mark.parametrize("fault", FAULTS)
def test_held_up_workers_consume_again_and_all_that_was_accepted_ends(
    town: Town, fault: str, restart: bool, record_property: Callable[[str, object], None]
) -> None:
    def consumed() -> bool:
        found = town.health()
        return min(town.consumers().values()) >= 1 and all(found[kind] == "ok" for kind in KINDS)

    town.accepted.clear()
    until(consumed, seconds=60, every=0.2, what="each queue being consumed")
    open_session = town.owner.new_session(rows=4, seats_per_row=8, hold_seconds=600, max_hold_seconds=600)
    payers, early, late = town.guests(6), town.guests(6), town.guests(6)
    held = [payer.hold(open_session, f"A{number}").body["id"] for number, payer in enumerate(payers, 1)]
    for payer, reservation in zip(payers, held, strict=True):
        until(partial(town.has_ended, payer, reservation, {"held"}), seconds=30, what="a hold")

    begin, seconds = FAULTS[fault]
    figures: dict[str, float] = {}
    with begin(town):
        began = time.monotonic()
        town.ask(early, open_session, "B")
        town.pay(payers[:3], held[:3])
        if fault != "Redis stopped":  # then the workers do consume
            until(lambda: town.health()["worker"] == "gone", seconds=30, what="health knowing it")
            figures["health_knew"] = time.monotonic() - began
            until(lambda: "holds.0" in town.undrained(), seconds=30, what="the metric knowing it")
            figures["metric_knew"] = time.monotonic() - began
            if fault != "PostgreSQL silent":  # it holds up a web process that reads what is on sale
                asked = time.monotonic()
                answer = late[0].hold(open_session, "D1", wait=10)
                figures["prefer_wait"] = time.monotonic() - asked
                assert answer.status in {202, 503}, answer
                assert figures["prefer_wait"] < 5
        if restart:
            town.rabbitmq.kill()
            killed = time.monotonic()
            try:
                until(town.is_idle, seconds=KNOWN_WITHIN, what="health knowing it")
                figures["health_knew_of_rabbitmq"] = time.monotonic() - killed
            finally:
                town.rabbitmq.start()
        else:
            town.ask(late[1:], open_session, "C")
        until(lambda: time.monotonic() - began > seconds, seconds=seconds + 60, what="the fault's end")
    if restart:
        town.rabbitmq.wait()
    back = time.monotonic()
    town.wait_for_answers()
    figures["answered"] = time.monotonic() - back
    town.pay(payers[3:], held[3:])
    town.wait_for_answers()

    until(consumed, seconds=60, every=0.2, what="each queue being consumed again")
    figures["consumed_again"] = time.monotonic() - back
    until(town.all_ended, seconds=60, every=0.2, what="all that was accepted having ended")
    figures["all_ended"] = time.monotonic() - back
    until(lambda: town.waiting() == 0, seconds=30, every=0.2, what="empty queues")
    figures["queues_empty"] = time.monotonic() - back
    until(lambda: not town.undrained(), seconds=10, every=0.2, what="the metric's silence")
    assert ended(town.processes) == []
    record_property("figures", {name: round(found, 1) for name, found in figures.items()})
    print(fault, restart, len(town.accepted), {name: round(found, 1) for name, found in figures.items()})  # noqa: T201
    assert max(figures.get("health_knew", 0), figures.get("metric_knew", 0)) <= KNOWN_WITHIN
    assert figures["consumed_again"] <= BACK_WITHIN
    assert figures["all_ended"] <= BACK_WITHIN


class TestAllocation:
    """Test one row of the table quickly: RabbitMQ's heartbeat is a second, and the lock is held as long as needed."""

    @pytest.fixture
    def worker(
        self, settings: LazySettings, tmp_path: Path, transactional_db: None
    ) -> Iterator[tuple[Process, kombu.Queue, Proxy]]:
        broker = services.current().rabbitmq_url
        settings.KEY_PREFIX = f"test-{uuid.uuid4().hex[:8]}"
        database = urllib.parse.urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}")
        with (
            Proxy(broker) as wire,
            Processes(
                folder=tmp_path,
                DATABASE_URL=database.geturl(),
                RABBITMQ_URL=wire.url,
                KEY_PREFIX=settings.KEY_PREFIX,
                QUEUE="rabbitmq",
                BROKER_HEARTBEAT="1",
            ) as site,
            kombu.Connection(broker) as own,
        ):
            queue = holds_queue(0)(own.default_channel)
            queue.declare()
            process = site.worker()
            until(lambda: consumers(queue) == 1, seconds=60, what="a consumer")
            yield process, queue, wire
            queue.delete()

    def test_worker_that_rabbitmq_dropped_consumes_again_and_allocates(
        self, worker: tuple[Process, kombu.Queue, Proxy], session: Session, ana: uuid.UUID, settings: LazySettings
    ) -> None:
        process, queue, wire = worker
        courier = Courier(services.current().rabbitmq_url)
        seats = ("A1", "A2", "A3", "A4")
        asked = [request_for(session, seat, buyer=ana, arrival=number) for number, seat in enumerate(seats, 1)]
        with redis.Redis.from_url(settings.REDIS_URL) as words:

            def heard() -> bool:
                left = words.pttl(f"{settings.KEY_PREFIX}:alive:consumes:holds.0")
                return bool(KEPT_MS - left < SILENT_AFTER["worker"] * 1000)

            until(heard, seconds=10, what="the worker's word")
            joined = wire.connections
            with another_connection() as blocker:
                blocker.execute("SELECT FROM sessions_app_session WHERE id = %s FOR UPDATE", [session.pk])
                process.pause()
                for request in asked[:3]:  # held together: only the second ack finds the lost connection
                    courier.send("reservations.tasks.settle", queue, requests=[request])
                until(lambda: queue.queue_declare(passive=True).message_count == 0, seconds=10, what="their delivery")
                process.resume()
                until(lambda: consumers(queue) == 0, seconds=30, what="RabbitMQ's patience ending")
                until(lambda: wire.connections < joined, seconds=10, what="RabbitMQ closing the connection")
                assert not heard()
            until(lambda: consumers(queue) == 1, seconds=BACK_WITHIN, what="a consumer again")
            until(heard, seconds=5, what="the worker's word again")
        courier.send("reservations.tasks.settle", queue, requests=asked[3:])
        until(
            lambda: Reservation.objects.filter(status="held").count() == 4, seconds=BACK_WITHIN, what="all being held"
        )
        assert process.alive
        courier.close()


def ended(processes: Processes) -> list[str]:
    """Return the last words of each process that ended by itself."""
    return [f"{process.name}: {process.last_words()}" for process in processes.started if not process.alive]


def consumers(queue: kombu.Queue) -> int:
    return int(queue.queue_declare(passive=True).consumer_count)


@pytest.mark.chaos
@pytest.mark.parametrize("how", ["stopped", "restarted"])
def test_workers_on_valkey_consume_again(
    base: Base, tmp_path: Path, how: str, record_property: Callable[[str, object], None]
) -> None:
    """Test without RabbitMQ: Valkey carries Celery's messages, and PostgreSQL's inbox is the queue."""
    postgres, valkey, _rabbitmq = base
    with Processes(
        folder=tmp_path,
        DATABASE_URL=postgres.url,
        REDIS_URL=valkey.url,
        RABBITMQ_URL="",
        QUEUE="inbox",
        KEY_PREFIX=f"valkey-{how}",
        RATE_LIMITS="off",
        REDIS_TIMEOUT_MS="250",
    ) as processes:
        processes.manage("migrate", "--verbosity", "0")
        processes.manage("shell", "-c", MAKE_OWNER)
        web = processes.web()
        for kind in ([], ["--payments"], ["--jobs"]):
            processes.worker(*kind)
        processes.beat()
        processes.wait_until_ready(web, seconds=120)
        owner = ApiClient(web.port or 0).sign_in("owner", "frontrow-demo")
        session = owner.new_session(hold_seconds=600, max_hold_seconds=600)

        def consumed() -> bool:
            found = health(web)
            return all(found[kind] == "ok" for kind in KINDS)

        until(consumed, seconds=60, what="each kind consuming")
        if how == "stopped":
            valkey.pause()
            began = time.monotonic()
            until(lambda: health(web)["worker"] == "gone", seconds=KNOWN_WITHIN, what="health knowing it")
            until(lambda: time.monotonic() - began > 20, seconds=60, what="the fault's end")
            valkey.resume()
        else:
            valkey.stop()
            until(lambda: health(web)["worker"] == "gone", seconds=KNOWN_WITHIN, what="health knowing it")
            valkey.start()
        back = time.monotonic()
        until(consumed, seconds=60, what="each kind consuming again")
        consumed_again = time.monotonic() - back
        guest = ApiClient(web.port or 0).guest()
        held = guest.hold(session, "A1").body["id"]
        until(lambda: guest.status(held) == "held", seconds=BACK_WITHIN, what="the hold")
        guest.pay(held, wait=0)
        until(lambda: guest.status(held) == "confirmed", seconds=BACK_WITHIN, what="the purchase")
        record_property("consumed_again", round(consumed_again, 1))
        assert consumed_again <= BACK_WITHIN
        assert ended(processes) == []
