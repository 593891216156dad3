import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.db import OperationalError
from django.utils import timezone
from pytest_django.fixtures import Settings

from realtime import feed, origins, outbox, routing, switchboard, wire
from tests.proxy import Proxy
from tests.realtime.conftest import use

pytestmark = pytest.mark.asyncio

OURS = (b"origin", b"http://cine.example")
HOST = (b"host", b"cine.example")


class Site:
    """The answers that config gives the sockets, held in memory."""

    def __init__(self) -> None:
        self.sessions: dict[uuid.UUID, tuple[int, int]] = {}
        self.unfinished: dict[uuid.UUID, list[dict[str, Any]]] = {}
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self.application = routing.sockets(
            current_version=self.current_version, authenticate=self.authenticate, unfinished=self.states
        )

    def current_version(self, session: uuid.UUID) -> tuple[int, int] | None:
        self.asked += 1
        found = self.sessions.get(session)
        self.meanwhile()
        return found

    def authenticate(self, scope: origins.Scope) -> uuid.UUID | None:
        buyer = origins.header(scope, b"x-buyer")
        return uuid.UUID(buyer) if buyer else None

    def states(self, buyer: uuid.UUID) -> list[dict[str, Any]]:
        found = self.unfinished.get(buyer, [])
        self.meanwhile()
        return found

    def on_sale(self, *, version: int = 7, available: int = 16) -> uuid.UUID:
        session = uuid.uuid4()
        self.sessions[session] = (version, available)
        return session


@pytest.fixture
def site() -> Site:
    return Site()


class Browser(WebsocketCommunicator):
    """One socket."""

    def __init__(
        self, site: Site, path: str, *headers: tuple[bytes, bytes], subprotocols: tuple[str, ...] = ()
    ) -> None:
        super().__init__(site.application, path, headers=[HOST, *headers], subprotocols=list(subprotocols))

    async def hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = await self.receive_json_from(timeout=10)
        return heard

    async def closing_code(self, *, after_messages: bool = False) -> int:
        """Wait for the end; messages that were on their way may come before it with `after_messages`."""
        message = await self.receive_output(timeout=10)
        while after_messages and message["type"] == "websocket.send":
            message = await self.receive_output(timeout=10)
        assert message["type"] == "websocket.close"
        return int(message.get("code", 1000))


async def watch(site: Site, session: uuid.UUID) -> Browser:
    browser = Browser(site, f"/ws/sessions/{session}")
    assert await browser.connect(timeout=10) == (True, None)
    assert (await browser.hear())["type"] == "hello"
    return browser


async def connect(site: Site, buyer: uuid.UUID) -> Browser:
    browser = Browser(site, "/ws/me", (b"x-buyer", str(buyer).encode()))
    assert await browser.connect(timeout=10) == (True, None)
    return browser


async def listen(site: Site, buyer: uuid.UUID) -> Browser:
    """Connect, and read past the first states."""
    site.unfinished[buyer] = [{"type": "reservation:update", "id": "0", "status": "queued"}]
    browser = await connect(site, buyer)
    assert (await browser.hear())["id"] == "0"
    return browser


def diff(session: uuid.UUID, version: int, available: int = 15) -> None:
    wire.send_diff(session=session, start=version - 1, version=version, changes={"A1": "h"}, available=available)


class TestSessionFeed:
    async def test_greets_with_the_version(self, site: Site) -> None:
        session = site.on_sale(version=7)
        browser = Browser(site, f"/ws/sessions/{session}")

        assert await browser.connect(timeout=10) == (True, None)
        assert await browser.hear() == {"type": "hello", "session": str(session), "version": 7}
        await browser.disconnect()

    async def test_tells_every_watcher_each_change(self, site: Site) -> None:
        session = site.on_sale()
        ana, bruno = await watch(site, session), await watch(site, session)

        diff(session, 8)

        for browser in (ana, bruno):
            assert await browser.hear() == {
                "type": "seats",
                "from": 7,
                "version": 8,
                "changes": {"A1": "h"},
                "available": 15,
            }
            await browser.disconnect()

    async def test_puts_diffs_of_two_processes_in_order(self, site: Site) -> None:
        session = site.on_sale(version=7)
        ana = await watch(site, session)

        diff(session, 9)
        diff(session, 10)
        diff(session, 8)

        heard = await ana.hear()
        assert (heard["from"], heard["version"]) == (7, 10)
        await ana.disconnect()

    async def test_tells_of_a_gap_when_a_diff_is_really_lost(self, site: Site) -> None:
        session = site.on_sale(version=7)
        ana = await watch(site, session)

        diff(session, 9)

        heard = await ana.hear()
        assert (heard["from"], heard["version"]) == (8, 9)
        await ana.disconnect()

    async def test_tells_stock_levels(self, site: Site) -> None:
        session, pit = site.on_sale(), uuid.uuid4()
        ana = await watch(site, session)

        wire.send_stock(session=session, ticket_type=pit, available=3, at=timezone.now())

        assert await ana.hear() == {"type": "ticket:update", "ticket_type": str(pit), "available": 3}
        await ana.disconnect()

    async def test_tells_nothing_of_other_sessions(self, site: Site) -> None:
        session, other = site.on_sale(), site.on_sale()
        ana, bruno = await watch(site, session), await watch(site, other)

        diff(other, 8)
        diff(session, 8)

        assert (await ana.hear())["version"] == 8
        assert (await bruno.hear())["version"] == 8
        assert await ana.receive_nothing()
        await ana.disconnect()
        await bruno.disconnect()

    async def test_misses_nothing_between_listening_and_reading(self, site: Site) -> None:
        session = site.on_sale(version=7)

        def change_after_the_reading() -> None:
            diff(session, 8)
            assert wire.flush(5)

        site.meanwhile = change_after_the_reading
        browser = Browser(site, f"/ws/sessions/{session}")
        await browser.connect(timeout=10)

        heard = await browser.hear()
        if heard["version"] == 7:  # greeted before the message came round
            heard = await browser.hear()
        assert heard["version"] == 8
        await browser.disconnect()

    async def test_asks_once_for_many_watchers(self, site: Site) -> None:
        session = site.on_sale()

        browsers = await asyncio.gather(*(watch(site, session) for _browser in range(20)))

        assert site.asked == 1
        await asyncio.gather(*(browser.disconnect() for browser in browsers))

    async def test_greets_newcomers_with_the_version_heard_since(self, site: Site) -> None:
        session = site.on_sale(version=7)
        ana = await watch(site, session)
        diff(session, 8)
        await ana.hear()

        bruno = Browser(site, f"/ws/sessions/{session}")
        await bruno.connect(timeout=10)

        assert (await bruno.hear())["version"] == 8
        await ana.disconnect()
        await bruno.disconnect()

    async def test_closes_when_the_last_watcher_leaves(self, site: Site) -> None:
        session = site.on_sale()
        ana, bruno = await watch(site, session), await watch(site, session)
        feeds = feed._feeds[asyncio.get_running_loop()]  # noqa: SLF001 the list that must not pile up

        await ana.disconnect()
        assert session in feeds
        await bruno.disconnect()
        assert session not in feeds

    async def test_outlives_a_watcher_that_died(self, site: Site) -> None:
        session = site.on_sale()
        ana, bruno = await watch(site, session), await watch(site, session)
        ana.future.cancel()
        await ana.wait()

        diff(session, 8)

        assert (await bruno.hear())["version"] == 8
        await bruno.disconnect()

    async def test_ignores_messages_of_clients(self, site: Site) -> None:
        session = site.on_sale()
        ana = await watch(site, session)

        await ana.send_to(text_data="{")
        await ana.send_to(text_data=json.dumps({"type": "seats", "hold": ["A1"]}))
        await ana.send_to(bytes_data=b"\x00")
        diff(session, 8)

        assert (await ana.hear())["version"] == 8
        await ana.disconnect()

    @pytest.mark.parametrize("path", ["/ws/sessions/{}", "/ws/sessions/{}/"])
    async def test_tells_that_there_is_no_such_session(self, site: Site, path: str) -> None:
        browser = Browser(site, path.format(uuid.uuid4()))

        assert await browser.connect(timeout=10) == (True, None)
        assert await browser.closing_code() == 4404
        await browser.disconnect()

    @pytest.mark.parametrize("path", ["/ws/sessions/A1", "/ws/", "/ws/me/x", "/"])
    async def test_refuses_other_paths(self, site: Site, path: str) -> None:
        connected, _code = await Browser(site, path).connect(timeout=10)

        assert not connected

    @pytest.mark.parametrize(
        ("origin", "welcome"), [(None, True), (OURS, True), ((b"origin", b"https://evil.example"), False)]
    )
    async def test_refuses_pages_of_other_origins(
        self, site: Site, origin: tuple[bytes, bytes] | None, welcome: bool
    ) -> None:
        browser = Browser(site, f"/ws/sessions/{site.on_sale()}", *([origin] if origin else []))

        connected, _code = await browser.connect(timeout=10)

        assert connected is welcome
        await browser.disconnect()


class TestTheRepeatedVersion:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feed, "REPEAT_SECONDS", 0.05)

    async def test_exposes_a_lost_diff(self, site: Site) -> None:
        session = site.on_sale(version=7)
        ana = await watch(site, session)

        site.sessions[session] = (9, 11)  # and both diffs were lost

        async with asyncio.timeout(10):
            while (heard := await ana.hear())["version"] == 7:
                assert heard["from"] == 7
        assert heard == {"type": "seats", "from": 9, "version": 9, "changes": {}, "available": 11}
        await ana.disconnect()

    @pytest.mark.parametrize("error", [OperationalError, ValueError])
    async def test_is_the_newest_heard_while_the_database_cannot_be_read(
        self, site: Site, error: type[Exception]
    ) -> None:
        session = site.on_sale(version=7)
        ana = await watch(site, session)

        def fail() -> None:
            raise error

        site.meanwhile = fail
        diff(session, 8, available=12)

        async with asyncio.timeout(10):
            while (heard := await ana.hear())["from"] != 8:
                pass
        assert heard == {"type": "seats", "from": 8, "version": 8, "changes": {}, "available": 12}
        await ana.disconnect()


class TestBuyerFeed:
    async def test_begins_with_every_unfinished_state(self, site: Site, ana: uuid.UUID) -> None:
        states = [{"type": "reservation:update", "id": str(number), "status": "held"} for number in range(3)]
        site.unfinished[ana] = states
        browser = await connect(site, ana)

        assert [await browser.hear() for _state in states] == states
        await browser.disconnect()

    async def test_tells_one_buyer_on_every_page_and_no_other(
        self, site: Site, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        phone, desk, brunos = await listen(site, ana), await listen(site, ana), await listen(site, bruno)
        news = {"type": "reservation:update", "id": "1", "status": "held"}

        wire.send_personal(buyer=ana, message=news)

        assert await phone.hear() == news
        assert await desk.hear() == news
        assert await brunos.receive_nothing()
        for browser in (phone, desk, brunos):
            await browser.disconnect()

    async def test_tells_the_state_first_and_then_the_changes_meanwhile(self, site: Site, ana: uuid.UUID) -> None:
        site.unfinished[ana] = [{"type": "reservation:update", "id": "1", "status": "held"}]

        def expire() -> None:
            wire.send_personal(buyer=ana, message={"type": "reservation:update", "id": "1", "status": "expired"})
            assert wire.flush(5)

        site.meanwhile = expire
        browser = await connect(site, ana)

        assert [(await browser.hear())["status"] for _message in range(2)] == ["held", "expired"]
        await browser.disconnect()

    async def test_refuses_a_stranger(self, site: Site) -> None:
        connected, _code = await Browser(site, "/ws/me").connect(timeout=10)

        assert not connected

    async def test_answers_the_subprotocol(self, site: Site, ana: uuid.UUID) -> None:
        browser = Browser(site, "/ws/me", (b"x-buyer", str(ana).encode()), subprotocols=("bearer", "token"))

        assert await browser.connect(timeout=10) == (True, "bearer")
        await browser.disconnect()

    async def test_ends_with_the_buyers_credentials(self, site: Site, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        phone, desk, brunos = await listen(site, ana), await listen(site, ana), await listen(site, bruno)

        wire.send_personal(buyer=ana, message={"type": wire.SIGNED_OUT})

        assert await phone.closing_code() == 4401
        assert await desk.closing_code() == 4401
        assert await brunos.receive_nothing()
        for browser in (phone, desk, brunos):
            await browser.disconnect()

    async def test_ends_if_the_credentials_ended_before_the_first_states(self, site: Site, ana: uuid.UUID) -> None:
        def sign_out() -> None:
            wire.send_personal(buyer=ana, message={"type": wire.SIGNED_OUT})
            assert wire.flush(5)

        site.unfinished[ana] = [{"type": "reservation:update", "id": "1", "status": "held"}]
        site.meanwhile = sign_out
        browser = await connect(site, ana)

        assert await browser.closing_code(after_messages=True) == 4401
        await browser.disconnect()

    async def test_sends_away_a_buyer_who_fell_too_far_behind(
        self, site: Site, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        browser = await listen(site, ana)
        monkeypatch.setattr(outbox, "LONGEST", 0)

        wire.send_personal(buyer=ana, message={"type": "reservation:update", "id": "1", "status": "held"})

        assert await browser.closing_code() == 1013
        await browser.disconnect()


class TestDeafSubscription:
    """The connection to Redis stands, and its subscriptions got lost."""

    async def test_is_renewed_and_watchers_are_told(
        self, site: Site, ana: uuid.UUID, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(switchboard, "EXAMINED_SECONDS", 0.2)
        monkeypatch.setattr(switchboard, "AGAIN_SECONDS", 0.2)
        with Proxy(settings.REDIS_URL) as redis_wire:
            use(redis_wire.url, settings)
            session = site.on_sale()
            monkeypatch.setattr(switchboard, "ANSWER_TIMEOUT", 5.0)  # the machine may be busy
            watcher, buyer = await watch(site, session), await listen(site, ana)
            site.sessions[session] = (9, 12)
            monkeypatch.setattr(switchboard, "ANSWER_TIMEOUT", 1.0)

            redis_wire.cut_off()
            await asyncio.sleep(0.1)
            redis_wire.up(hang_up=False)

            assert await buyer.closing_code() == 1013
            gap = await watcher.hear()
            assert (gap["from"], gap["version"], gap["changes"]) == (9, 9, {})
            wire.send_diff(session=session, start=9, version=10, changes={"A1": "h"}, available=11)
            assert (await watcher.hear())["changes"] == {"A1": "h"}
            await watcher.disconnect()
            await buyer.disconnect()


class TestWithoutRedis:
    @pytest.mark.parametrize("path", ["/ws/me", "/ws/sessions/{session}"])
    async def test_socket_sends_watchers_away_for_a_while(
        self, site: Site, ana: uuid.UUID, no_redis: str, settings: Settings, path: str
    ) -> None:
        use(no_redis, settings)
        browser = Browser(site, path.format(session=site.on_sale()), (b"x-buyer", str(ana).encode()))

        assert await browser.connect(timeout=10) == (True, None)
        assert await browser.closing_code() == 1013
        await browser.disconnect()
