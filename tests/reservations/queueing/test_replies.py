"""The desk for waiting requests works while Redis comes and goes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
import redis
from django.conf import LazySettings

from reservations.claims import claims
from reservations.queueing import liveness, replies
from reservations.queueing.replies import ReplyDesk
from tests import services
from tests.processes import until
from tests.proxy import Proxy


@pytest.fixture
def wire(settings: LazySettings) -> Iterator[Proxy]:
    with Proxy(services.current().redis_url) as wire:
        settings.REDIS_URL = wire.url
        yield wire


@pytest.fixture
def desk(wire: Proxy, monkeypatch: pytest.MonkeyPatch) -> ReplyDesk:
    monkeypatch.setattr(replies, "SIGN_WITHIN", 1.0)
    monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
    return ReplyDesk()


def hears(desk: ReplyDesk) -> bool:
    """Tell whether an answer reaches the desk now."""
    name = uuid.uuid4()
    with desk.expect(name, of="worker") as future:
        if future is None:
            return False
        with redis.Redis.from_url(services.current().redis_url) as client:
            client.publish(desk.address, f'[["{name}",{{}}]]')
        return replies.wait(future, seconds=0.5) is not None


def takes_waiters(desk: ReplyDesk) -> bool:
    with desk.expect(uuid.uuid4(), of="worker") as future:
        return future is not None


class TestDesk:
    def test_hears_answers(self, desk: ReplyDesk) -> None:
        until(lambda: hears(desk), seconds=10, what="an answer")

    def test_still_hears_after_an_invalid_answer(self, desk: ReplyDesk) -> None:
        until(lambda: hears(desk), seconds=10, what="an answer")
        claims.client().publish(desk.address, "nonsense")
        until(lambda: hears(desk), seconds=10, what="an answer after that")

    def test_accepts_no_waiters_while_redis_is_silent_and_hears_again_afterwards(
        self, desk: ReplyDesk, wire: Proxy
    ) -> None:
        until(lambda: hears(desk), seconds=10, what="an answer")
        wire.hole()

        def refuses() -> bool:
            with desk.expect(uuid.uuid4(), of="worker") as future:
                return future is None

        until(refuses, seconds=10, what="its noticing the silence")
        wire.up()
        until(lambda: hears(desk), seconds=10, what="an answer again")

    def test_costs_no_time_while_redis_is_away(self, desk: ReplyDesk, wire: Proxy) -> None:
        until(lambda: hears(desk), seconds=10, what="an answer")
        wire.down()
        until(lambda: not takes_waiters(desk), seconds=10, what="its noticing the outage")
        began = time.monotonic()
        for _buyer in range(20):
            assert not takes_waiters(desk)
        assert time.monotonic() - began < 1.0

    def test_accepts_no_waiters_for_a_silent_worker(self, desk: ReplyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        until(lambda: hears(desk), seconds=10, what="an answer")
        monkeypatch.setattr(liveness, "is_alive", lambda part: part == "worker")
        with desk.expect(uuid.uuid4(), of="payments") as future:
            assert future is None
