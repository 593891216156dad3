"""The sockets as they are served: uvicorn, Redis and PostgreSQL, with real changes of seats."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from django.db import connection
from pytest_django.fixtures import Settings
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from base.asking import Buyer
from config.asgi import application
from config.run import listening
from realtime import feed, wire
from reservations.models import Reservation
from reservations.operations import holding, sweeps
from sessions_app.models import Session
from sessions_app.queries import seat_map
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.processes import free_port, listens, until
from tests.proxy import Proxy
from tests.realtime.conftest import use
from tests.reservations.test_holding import run_out
from ticketing import identity

pytestmark = pytest.mark.django_db(transaction=True)


class Live:
    """A server of `config.asgi` in a thread of this process."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._server = uvicorn.Server(listening.as_served(application, host="127.0.0.1", port=self.port))
        self._thread = threading.Thread(target=self._server.run, args=[[self._listening]])

    def start(self) -> None:
        self._thread.start()
        until(lambda: self._server.started, what="uvicorn")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()

    def connect(self, path: str, **options: Any) -> ClientConnection:
        client: ClientConnection = connect(f"ws://127.0.0.1:{self.port}{path}", **options)
        return client


@pytest.fixture
def live() -> Iterator[Live]:
    server = Live()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def hear(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(client.recv(timeout=10))
    return message


def welcome(live: Live, path: str) -> bool:
    try:
        with live.connect(path) as client:
            return bool(hear(client))
    except InvalidStatus:
        return False


def statuses(session: Session) -> tuple[int, dict[str, str]]:
    body = seat_map(session.pk)
    return body["version"], {seat["label"]: seat["status"] for seat in body["seats"]}


class Map:
    """A client's copy of the map, kept as API.md says."""

    def __init__(self, session: Session, client: ClientConnection) -> None:
        self.session, self.client = session, client
        self.greeting = hear(client)
        self.version, self.seats = statuses(session)
        self.available = 0

    def follow(self, until_version: int) -> list[dict[str, Any]]:
        """Apply the message; return the diffs that were applied."""
        applied = []
        while self.version < until_version:
            message = hear(self.client)
            if message["type"] != "seats" or message["version"] <= self.version:
                continue
            assert message["from"] <= self.version, "a diff is missing"
            self.seats.update(message["changes"])
            self.version, self.available = message["version"], message["available"]
            applied.append(message)
        return applied


class TestTheLiveMap:
    def test_makes_the_new_snapshot_of_a_snapshot_and_diffs(
        self, live: Live, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        hold(session, "A1", buyer=ana)
        with live.connect(f"/ws/sessions/{session.pk}") as client:
            copy = Map(session, client)
            first = hold(session, "B1", "B2", buyer=ana)
            second = hold(session, "C1", buyer=bruno)
            holding.release(reservation_id=first.pk, buyer=ana)
            hold(session, "B2", "D4", buyer=bruno)
            run_out(second)
            sweeps.expire_holds()

            version, seats = statuses(session)
            copy.follow(version)

        assert copy.greeting == {"type": "hello", "session": str(session.pk), "version": 1}
        assert (copy.version, copy.seats) == (version, seats)
        assert copy.available == 13

    def test_is_the_same_for_two_watchers(self, live: Live, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        path = f"/ws/sessions/{session.pk}"
        with live.connect(path) as one, live.connect(path) as other:
            maps = [Map(session, one), Map(session, other)]
            hold(session, "A1", "A2", buyer=ana)
            for copy in maps:
                copy.follow(1)

        assert maps[0].seats == maps[1].seats == statuses(session)[1]

    def test_sends_clients_elsewhere_on_a_deploy(self, session: Session) -> None:
        server = Live()
        server.start()
        with server.connect(f"/ws/sessions/{session.pk}") as client:
            hear(client)
            server.stop()
            with pytest.raises(ConnectionClosed) as closed:
                hear(client)

        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012

    def test_closes_a_client_that_answers_no_ping(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "PING_SECONDS", 0.1)
        server = Live()
        server.start()
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
                client.sendall(
                    f"GET /ws/sessions/{session.pk} HTTP/1.1\r\nHost: here\r\n"
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
                )
                heard = b"".join(iter(lambda: client.recv(4096), b""))
        finally:
            server.stop()

        assert b" 101 " in heard
        assert b"keepalive ping timeout" in heard

    def test_limits_the_sockets_of_an_address(self, live: Live, session: Session, settings: Settings) -> None:
        settings.RATE_LIMITS, settings.LIMIT_SOCKETS_ADDRESS = True, 2
        path = f"/ws/sessions/{session.pk}"
        with live.connect(path) as one:
            with live.connect(path), pytest.raises(InvalidStatus) as refused, live.connect(path):
                pass
            assert refused.value.response.status_code == 403
            until(lambda: welcome(live, path), what="room for another one")
            assert hear(one)["type"] == "hello"

    def test_sends_a_burst_as_one_diff(
        self, live: Live, session: Session, hold: Hold, ana: uuid.UUID, settings: Settings
    ) -> None:
        settings.DIFFS_A_SECOND = 1  # a busy machine's burst takes longer than a tenth of a second
        with live.connect(f"/ws/sessions/{session.pk}") as client:
            copy = Map(session, client)
            for seat in ("A1", "A2", "A3", "B1", "B2", "B3"):
                hold(session, seat, buyer=ana)
            heard = copy.follow(6)

        assert copy.seats == statuses(session)[1]
        assert len(heard) < 6
        assert sum(len(diff["changes"]) for diff in heard) == 6


class TestMyFeed:
    def test_tells_each_state_of_a_hold(self, live: Live, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        token = identity.issue_tokens(Buyer(id=ana, is_guest=True))["access"]
        with live.connect("/ws/me", subprotocols=[Subprotocol("bearer"), Subprotocol(token)]) as client:
            reservation = hold(session, "A1", buyer=ana)
            assert client.subprotocol == "bearer"
            told = until_told(client, reservation, "held")
            holding.release(reservation_id=reservation.pk, buyer=ana)
            until_told(client, reservation, "cancelled")

        assert told["expires_at"].endswith("Z")

    def test_begins_with_unfinished_reservations(
        self, live: Live, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        reservation = hold(session, "A1", buyer=ana)
        token = identity.issue_tokens(Buyer(id=ana, is_guest=True))["access"]

        with live.connect("/ws/me", subprotocols=[Subprotocol("bearer"), Subprotocol(token)]) as client:
            first = hear(client)

        assert (first["type"], first["id"], first["status"]) == ("reservation:update", str(reservation.pk), "held")


def until_told(client: ClientConnection, reservation: Reservation, status: str) -> dict[str, Any]:
    while True:
        message = hear(client)
        if (message["id"], message["status"]) == (str(reservation.pk), status):
            return message


class TestDaphne:
    """Daphne drives `runserver`, and is a choice for /ws/."""

    @pytest.fixture(params=["daphne", "runserver"])
    def daphne(self, request: pytest.FixtureRequest) -> Iterator[int]:
        name = connection.settings_dict["NAME"]
        port = free_port()
        programs = {
            "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "config.asgi:application"],
            "runserver": ["manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
        }
        url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{name}"
        process = subprocess.Popen(
            [sys.executable, *programs[request.param]],
            env=os.environ | {"DATABASE_URL": url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: listens(port), seconds=60, what="daphne")
            yield port
        finally:
            process.kill()
            process.wait()

    def test_serves_the_same(self, daphne: int, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        with connect(f"ws://127.0.0.1:{daphne}/ws/sessions/{session.pk}") as client:
            copy = Map(session, client)
            hold(session, "A1", buyer=ana)
            copy.follow(1)

        assert copy.seats["A1"] == "h"
        with urllib.request.urlopen(f"http://127.0.0.1:{daphne}/api/v1/sessions/{session.pk}/seats") as answer:
            assert answer.status == 200


@pytest.mark.fault
class TestRedisOutage:
    @pytest.fixture
    def redis_wire(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
        monkeypatch.setattr(feed, "REPEAT_SECONDS", 0.2)
        monkeypatch.setattr(wire, "PATIENCE", 0.3)
        with Proxy(settings.REDIS_URL) as proxy:
            use(proxy.url, settings)
            yield proxy

    @pytest.mark.parametrize("how", ["down", "hole"])
    def test_is_told_to_watchers_who_go_on_afterwards(
        self, redis_wire: Proxy, how: str, live: Live, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        with live.connect(f"/ws/sessions/{session.pk}") as client:
            copy = Map(session, client)
            getattr(redis_wire, how)()
            hold(session, "A1", buyer=ana)
            assert wire.flush(10)  # the diff is given up

            while (message := hear(client))["version"] < 1:
                pass
            assert message["from"] == 1  # a gap: fetch the seats again
            copy.version, copy.seats = statuses(session)

            redis_wire.up()
            until(lambda: hold_and_release(session, hold) and told_of_a_change(client), seconds=30, what="a diff")


def hold_and_release(session: Session, hold: Hold) -> bool:
    buyer = UserFactory.create().pk  # a new buyer: one who lets many holds go may hold no more for a while
    holding.release(reservation_id=hold(session, "B1", buyer=buyer).pk, buyer=buyer)
    return True


def told_of_a_change(client: ClientConnection) -> bool:
    """Tell whether a change comes within the next few messages."""
    return any(hear(client).get("changes") for _message in range(3))
