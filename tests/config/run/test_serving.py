"""Check the layer between an ASGI server and Django: what waits, what is refused, and what arrives."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from config.run.serving import bodies, threads
from config.run.serving.bodies import Message
from config.run.serving.environ import environ
from config.run.serving.site import Site
from config.wsgi import application as django
from tests.api import PROBLEM


class Client:
    """Hand requests to the application as a server does, and collect the answers."""

    def __init__(self, path: str = "/", *, method: str = "GET", address: str = "192.0.2.7", **more: Any) -> None:
        headers = {"host": "localhost"} | more.pop("headers", {})
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "client": (address, 50_000),
            "server": ("127.0.0.1", 8000),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        } | more.pop("scope", {})
        self.parts: Iterable[bytes] = more.pop("parts", ())
        self.patient = more.pop("patient", False)
        self.sent: list[Message] = []
        self._messages = self._told()

    async def ask(self, site: Site) -> Client:
        await site(self.scope, self._messages.__anext__, self._send)
        return self

    async def _told(self) -> AsyncIterator[dict[str, Any]]:
        for part in self.parts:
            yield {"type": "http.request", "body": part, "more_body": True}
        if self.patient:
            await asyncio.Event().wait()
        yield {"type": "http.request", "body": b"", "more_body": False}
        yield {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def ask(site: Site, *clients: Client) -> list[Client]:
    async def together() -> list[Client]:
        return await asyncio.gather(*(client.ask(site) for client in clients))

    return asyncio.run(together())


def echo(env: dict[str, Any], start_response: Callable[..., None]) -> Any:
    start_response("200 OK", [("X-Thread", threading.current_thread().name)])
    return [env["wsgi.input"].read(int(env.get("CONTENT_LENGTH") or 0))]


def post(*parts: bytes, path: str = "/api/v1/orders", **more: Any) -> Client:
    return Client(path, method="POST", headers={"transfer-encoding": "chunked"}, parts=parts, **more)


class Held:
    """Let all requests wait until they are released."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self, env: dict[str, Any], start_response: Callable[..., None]) -> Any:
        self.begun += 1
        assert self.go.wait(20)
        return echo(env, start_response)


class TestWork:
    def test_requests_beyond_the_threads_wait_and_beyond_these_are_refused(self, settings: Settings) -> None:
        settings.WEB_THREADS, settings.WEB_WAITING = 2, 3
        held = Held()
        site = Site(held)

        async def run() -> list[Client]:
            first = [asyncio.ensure_future(Client().ask(site)) for _ in range(5)]
            await asyncio.sleep(0)
            refused = [await Client("/api/v1/orders").ask(site), await Client("/").ask(site)]
            held.go.set()
            return [*refused, *await asyncio.gather(*first)]

        api, page, *served = asyncio.run(run())
        assert [client.status for client in served] == [200] * 5
        assert {client.headers["x-thread"] for client in served} <= {"work-1", "work-2"}
        assert (api.status, api.headers["content-type"], json.loads(api.body)["code"]) == (503, PROBLEM, "unavailable")
        assert (page.status, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
        for refused in (api, page):
            assert 1 <= int(refused.headers["retry-after"]) <= 5
            assert refused.headers["x-request-id"]

    def test_a_request_that_waited_too_long_is_not_begun(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.WEB_THREADS = 1
        monkeypatch.setattr(threads, "LONGEST_WAIT", 0.0)
        held = Held()
        site = Site(held)
        threading.Timer(0.05, held.go.set).start()

        clients = ask(site, *(Client() for _ in range(3)))

        assert held.begun <= 1
        assert sorted(client.status for client in clients)[1:] == [503, 503]

    def test_an_error_of_the_application_reaches_the_server_and_the_next_request_is_served(self) -> None:
        def failing(env: dict[str, Any], start_response: Callable[..., None]) -> Any:
            if env["PATH_INFO"] == "/bad":
                raise LookupError
            return echo(env, start_response)

        site = Site(failing)
        with pytest.raises(LookupError):
            ask(site, Client("/bad"))
        [client] = ask(site, Client("/good"))
        assert client.status == 200


class TestBodies:
    def test_a_body_in_parts_arrives_whole_with_its_length(self) -> None:
        [client] = ask(Site(echo), post(b"ab", b"", b"cd"))
        assert (client.status, client.body) == (200, b"abcd")

    def test_a_slow_body_takes_no_thread_and_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
        held = Held()
        [client] = ask(Site(held), post(b"{", patient=True))
        assert (client.status, client.headers["content-type"]) == (408, PROBLEM)
        assert json.loads(client.body)["code"] == "request_timeout"
        assert client.headers["connection"] == "close"
        assert held.begun == 0

    def test_each_part_that_came_gives_a_large_body_more_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
        seen: list[float | None] = []
        reschedule = asyncio.Timeout.reschedule

        def noted(patience: asyncio.Timeout, when: float | None) -> None:
            seen.append(when)
            reschedule(patience, when)

        monkeypatch.setattr(asyncio.Timeout, "reschedule", noted)
        large = b"x" * bodies.SLOWEST_BYTES
        [client] = ask(Site(echo), post(large, large))
        assert client.status == 200
        granted = [later - earlier for earlier, later in itertools.pairwise(seen) if earlier and later]
        assert granted == pytest.approx([1.0, 1.0], abs=1e-6)

    @pytest.mark.parametrize("announced", [True, False])
    def test_a_body_that_is_too_large_is_refused(self, announced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "LARGEST_BODY", 10)
        client = post(b"x" * 11)
        if announced:
            client.scope["headers"] = [(b"host", b"localhost"), (b"content-length", b"11")]
        ask(Site(echo), client)
        assert (client.status, json.loads(client.body)["code"]) == (413, "too_large")

    def test_all_bodies_together_have_a_limit_and_give_their_room_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "MOST_BUFFERED", 10)
        site = Site(echo)
        for _ in range(3):
            one, other = ask(site, post(b"x" * 6), post(b"x" * 6))
            assert sorted((one.status, other.status)) == [200, 503]
            [alone] = ask(site, post(b"x" * 6))
            assert alone.status == 200

    def test_a_client_that_leaves_in_the_middle_is_forgotten(self) -> None:
        client = post(b"x")
        client._messages = gone()  # noqa: SLF001 our own
        site = Site(echo)
        ask(site, client)
        assert client.sent == []
        [other] = ask(site, post(b"y"))
        assert other.body == b"y"


async def gone() -> AsyncIterator[dict[str, Any]]:
    yield {"type": "http.disconnect"}


class TestAddresses:
    @pytest.fixture(autouse=True)
    def limited(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.RATE_LIMITS, settings.LIMIT_CONNECTIONS_ADDRESS = True, 2
        monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)

    def statuses(self, *clients: Client) -> list[int]:
        return sorted(client.status for client in ask(Site(echo), *clients))

    def test_one_address_has_so_many_requests_in_progress_and_no_more(self) -> None:
        slow = [post(b"x", patient=True) for _ in range(3)]
        other = post(b"x", address="192.0.2.8")
        assert self.statuses(*slow, other) == [200, 408, 408, 429]

    def test_buyers_behind_our_proxy_are_told_apart(self, settings: Settings) -> None:
        settings.TRUSTED_PROXIES = ["192.0.2.7"]
        clients = [post(b"x", patient=True) for _ in range(3)]
        for number, client in enumerate(clients):
            client.scope["headers"].append((b"x-forwarded-for", f"198.51.100.{number}".encode()))
        assert self.statuses(*clients) == [408, 408, 408]


class TestEnvironment:
    def test_a_header_with_an_underscore_passes_for_no_other(self) -> None:
        scope = Client("/caf\u00e9", headers={"x-forwarded-for": "1.1.1.1", "x_forwarded_for": "6.6.6.6"}).scope
        made = environ(scope, b"")
        assert made["HTTP_X_FORWARDED_FOR"] == "1.1.1.1"
        assert made["PATH_INFO"] == "/caf\u00e9".encode().decode("latin-1")

    def test_headers_that_come_twice_are_joined(self) -> None:
        scope = Client().scope
        scope["headers"] += [(b"cookie", b"a=1"), (b"cookie", b"b=\xff"), (b"accept", b"x"), (b"accept", b"y")]
        made = environ(scope, b"")
        assert (made["HTTP_COOKIE"], made["HTTP_ACCEPT"]) == ("a=1; b=\xff", "x,y")


class TestAnswers:
    def test_a_header_has_no_outer_spaces(self) -> None:
        """Strip the space that Django writes before cookies, because servers refuse to send it."""

        def cook(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
            start("200 OK", [("Set-Cookie", " csrftoken=a; Path=/")])
            return [b""]

        [client] = ask(Site(cook), Client())
        assert client.headers["set-cookie"] == "csrftoken=a; Path=/"

    def test_a_file_is_sent_whole(self) -> None:
        [client] = ask(Site(django), Client("/static/sessions_app/site.css"))
        assert client.status == 200
        assert len(client.body) == int(client.headers["content-length"]) > 0

    def test_a_file_is_sent_by_its_name_where_the_server_can(self) -> None:
        able: dict[str, Any] = {"extensions": {"http.response.pathsend": {}}}
        [client] = ask(Site(django), Client("/static/sessions_app/site.css", scope=able))
        assert client.sent[1]["type"] == "http.response.pathsend"
        assert client.sent[1]["path"].endswith("/sessions_app/site.css")

    def test_a_part_of_a_file_is_only_that_part(self) -> None:
        able: dict[str, Any] = {"extensions": {"http.response.pathsend": {}}}
        [client] = ask(
            Site(django), Client("/static/sessions_app/site.css", scope=able, headers={"range": "bytes=2-5"})
        )
        assert (client.status, len(client.body)) == (206, 4)

    def test_what_is_made_in_parts_is_sent_in_parts_and_closed(self) -> None:
        closed = threading.Event()

        class Parts:
            def __iter__(self) -> Any:
                return iter([b"a", b"b"])

            def close(self) -> None:
                closed.set()

        def streaming(_env: dict[str, Any], start_response: Callable[..., None]) -> Any:
            start_response("200 OK", [])
            return Parts()

        [client] = ask(Site(streaming), Client())
        assert (client.body, len(client.sent)) == (b"ab", 4)
        assert closed.is_set()

    def test_head_has_no_body(self) -> None:
        [client] = ask(Site(django), Client("/static/sessions_app/site.css", method="HEAD"))
        assert (client.status, client.body) == (200, b"")
        assert int(client.headers["content-length"]) > 0
