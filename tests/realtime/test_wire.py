import asyncio
import datetime as dt
import logging
import os
import time
import uuid
import warnings
from typing import Any

import pytest
from channels.layers import get_channel_layer
from pytest_django.fixtures import Settings

from realtime import wire
from tests.realtime.conftest import use

NOW = dt.datetime(2026, 5, 21, 20, 0, tzinfo=dt.UTC)


def send(session: uuid.UUID, version: int) -> None:
    wire.send_diff(session=session, start=version - 1, version=version, changes={"A1": "h"}, available=15)


class Listener:
    """A listener to the messages of one group."""

    async def join(self, group: str) -> "Listener":
        self.layer = get_channel_layer()
        self.channel = await self.layer.new_channel()
        await self.layer.group_add(group, self.channel)
        await self.layer.group_send(group, {"type": "probe"})
        async with asyncio.timeout(5):
            while (await self.layer.receive(self.channel))["type"] != "probe":
                pass
        return self

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            message: dict[str, Any] = await self.layer.receive(self.channel)
        return message


@pytest.mark.asyncio
class TestSending:
    async def test_tells_the_watchers_of_a_session_in_order(self) -> None:
        session = uuid.uuid4()
        watcher = await Listener().join(wire.session_group(session))

        for version in range(1, 51):
            send(session, version)

        heard = [(await watcher.hear())["body"] for _version in range(50)]
        assert heard[0] == {"type": "seats", "from": 0, "version": 1, "changes": {"A1": "h"}, "available": 15}
        assert [body["version"] for body in heard] == list(range(1, 51))

    async def test_tells_stock_levels(self) -> None:
        session, pit = uuid.uuid4(), uuid.uuid4()
        watcher = await Listener().join(wire.session_group(session))

        wire.send_stock(session=session, ticket_type=pit, available=7, at=NOW)

        assert (await watcher.hear())["body"] == {
            "type": "ticket:update",
            "ticket_type": str(pit),
            "available": 7,
            "at": NOW.timestamp(),
        }

    async def test_tells_one_buyer_and_no_other(self, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        anas, brunos = (
            await Listener().join(wire.buyer_group(ana)),
            await Listener().join(wire.buyer_group(bruno)),
        )

        wire.send_personal(buyer=ana, message={"type": "reservation:update", "id": "1"})
        wire.send_personal(buyer=bruno, message={"type": "reservation:update", "id": "2"})

        assert (await anas.hear())["body"]["id"] == "1"
        assert (await brunos.hear())["body"]["id"] == "2"

    async def test_works_in_a_forked_child(self) -> None:
        session = uuid.uuid4()
        watcher = await Listener().join(wire.session_group(session))
        send(session, 1)
        wire.flush()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the test needs its threads
            child = os.fork()
        if child == 0:
            send(session, 2)
            os._exit(0 if wire.flush(5) else 1)

        assert [(await watcher.hear())["body"]["version"] for _message in range(2)] == [1, 2]
        assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0


def lost() -> float:
    return next(
        sample.value for metric in wire.LOST.collect() for sample in metric.samples if sample.name.endswith("_total")
    )


class TestWithoutRedis:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "PATIENCE", 0.3)
        monkeypatch.setattr(wire, "SEND_TIMEOUT", 0.1)

    @pytest.mark.parametrize("kind", ["no_redis", "silent_redis"])
    def test_caller_never_waits_and_lost_messages_are_counted(
        self, kind: str, request: pytest.FixtureRequest, settings: Settings
    ) -> None:
        use(request.getfixturevalue(kind), settings)
        before = lost()

        began = time.monotonic()
        for version in range(1, 101):
            send(uuid.uuid4(), version)
        took = time.monotonic() - began

        assert took < 0.25
        assert wire.flush(10)
        assert lost() - before == 100

    def test_outage_is_logged_once(self, no_redis: str, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
        working = settings.CHANNEL_LAYERS
        send(uuid.uuid4(), 1)
        wire.flush(10)
        caplog.clear()

        with caplog.at_level(logging.WARNING, logger="realtime.wire"):
            use(no_redis, settings)
            for version in range(1, 6):
                send(uuid.uuid4(), version)
            wire.flush(10)
            settings.CHANNEL_LAYERS = working
            send(uuid.uuid4(), 1)
            wire.flush(10)

        # structlog's messages are dicts
        assert [record.msg["event"] for record in caplog.records] == ["wire.down", "wire.up"]  # type: ignore[index]

    def test_full_queue_drops_new_messages(
        self, silent_redis: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(silent_redis, settings)
        monkeypatch.setattr(wire, "LONGEST_QUEUE", 10)
        before = lost()

        for version in range(1, 101):
            send(uuid.uuid4(), version)

        assert lost() - before >= 80  # ten may be on their way and ten wait
        assert wire.flush(10)
