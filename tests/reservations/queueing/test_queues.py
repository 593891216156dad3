"""A broker that is away costs publishers and doorbells little."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from base.breaker import BreakerOpen
from reservations.hold_request import HoldRequest
from reservations.models import InboxRequest
from reservations.queueing import inbox, queues
from reservations.queueing.queues import PUBLISH_ERRORS, Courier, InboxQueue, QueueDown, RabbitQueue
from sessions_app.models import Session
from tests.processes import free_port, until
from tests.reservations.test_holding import request_for


@pytest.fixture
def hole() -> Iterator[int]:
    """Return the port of a broker that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
class TestCourier:
    def test_fails_at_once_and_leaves_the_next_try_to_the_prober(self, scheme: str) -> None:
        """By default, kombu tries a refused connection again for two seconds, in the caller's thread."""
        courier = Courier(f"{scheme}://127.0.0.1:{free_port()}/")
        began = time.monotonic()
        with pytest.raises(PUBLISH_ERRORS):
            courier.send("anything", queues.holds_queue(0))
        assert time.monotonic() - began < 1
        with pytest.raises(BreakerOpen):
            courier.send("anything", queues.holds_queue(0))

    def test_waits_for_a_silent_broker_once(self, scheme: str, hole: int, settings: Any) -> None:
        settings.BROKER_TIMEOUT_MS = 300
        courier = Courier(f"{scheme}://127.0.0.1:{hole}/")
        with pytest.raises(PUBLISH_ERRORS):
            courier.send("anything", queues.holds_queue(0))
        began = time.monotonic()
        with pytest.raises(BreakerOpen):
            courier.send("anything", queues.holds_queue(0))
        assert time.monotonic() - began < 1

    def test_tries_a_silent_broker_once(self, scheme: str, hole: int, settings: Any) -> None:
        settings.BROKER_TIMEOUT_MS = 1_000
        courier = Courier(f"{scheme}://127.0.0.1:{hole}/")
        began = time.monotonic()
        with pytest.raises(PUBLISH_ERRORS):
            courier.send("anything", queues.holds_queue(0))
        assert time.monotonic() - began < 1.9

    def test_keeps_no_caller_waiting_for_its_probe(self, scheme: str, hole: int, settings: Any) -> None:
        settings.BROKER_TIMEOUT_MS = 1_000
        courier = Courier(f"{scheme}://127.0.0.1:{hole}/")
        with pytest.raises(PUBLISH_ERRORS):
            courier.send("anything", queues.holds_queue(0))
        longest, until_probed = 0.0, time.monotonic() + 1.5
        while time.monotonic() < until_probed:
            began = time.monotonic()
            with pytest.raises(BreakerOpen):
                courier.send("anything", queues.holds_queue(0))
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.01)
        assert longest < 0.5


@pytest.fixture
def request_of_ana(session: Session) -> HoldRequest:
    return request_for(session, "A1", buyer=uuid.uuid4())


class Hanging:
    """A broker that keeps its callers until it is told to let go; `threads` are its callers' threads."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.threads: list[str] = []

    def send(self, *_arguments: Any, **_more: Any) -> None:
        self.threads.append(threading.current_thread().name)
        self.let_go.wait(10)
        raise ConnectionError


class TestInboxQueue:
    def test_stores_requests_though_its_doorbell_fails(
        self, request_of_ana: HoldRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = Hanging()
        monkeypatch.setattr(queues, "courier", lambda: broker)
        line = InboxQueue()
        line.publish([request_of_ana])
        line.publish([request_of_ana])
        assert inbox.find(request_of_ana.id) == request_of_ana
        until(lambda: broker.threads, what="the doorbell")
        broker.let_go.set()
        until(lambda: len(broker.threads) >= 2, what="the second ring")
        assert set(broker.threads) == {"doorbell"}

    def test_stores_once_when_the_connection_breaks_in_the_middle(
        self, request_of_ana: HoldRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line = InboxQueue()
        monkeypatch.setattr(line, "ring", lambda _shard: None)
        store, answers = inbox.store, ["lost"]

        def store_and_lose(*arguments: Any, **more: Any) -> None:
            store(*arguments, **more)
            if answers:
                answers.pop()
                break_connection()
                connection.ensure_connection()
                connection.cursor().execute("SELECT 1")

        monkeypatch.setattr(inbox, "store", store_and_lose)
        line.publish([request_of_ana])
        assert InboxRequest.objects.count() == 1

    def test_is_unsure_when_the_second_connection_breaks_too(
        self, request_of_ana: HoldRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line = InboxQueue()

        def lose(*_arguments: Any, **_more: Any) -> None:
            connection.ensure_connection()
            break_connection()
            connection.cursor().execute("SELECT 1")

        monkeypatch.setattr(inbox, "store", lose)
        with pytest.raises(QueueDown) as down:
            line.publish([request_of_ana])
        connection.close()
        assert down.value.unsure == {request_of_ana.id}


def break_connection() -> None:
    """End the connection as PostgreSQL does when it ends."""
    connection.connection.pgconn.finish()


class TestRabbitQueue:
    @pytest.mark.parametrize(("error", "unsure"), [(TimeoutError(), True), (BreakerOpen(), False)])
    def test_is_unsure_of_unconfirmed_requests(
        self, request_of_ana: HoldRequest, monkeypatch: pytest.MonkeyPatch, error: Exception, unsure: bool
    ) -> None:
        class Broken:
            def send(self, *_arguments: Any, **_more: Any) -> None:
                raise error

        monkeypatch.setattr(queues, "courier", Broken)
        with pytest.raises(QueueDown) as down:
            RabbitQueue().publish([request_of_ana])
        assert down.value.unsure == ({request_of_ana.id} if unsure else set())
