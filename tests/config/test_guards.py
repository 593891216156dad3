"""Check limits of connections: time for a head, and how many one address has open."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from pytest_django.fixtures import Settings

from config.run import listening
from config.run.serving import descriptors, guard, watch
from tests.processes import until


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def large(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 20_000_000})


def serve(application: Any) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(listening.as_served(application, host="127.0.0.1", port=port))
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        until(lambda: server.started, what="uvicorn")
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    yield from serve(hello)


@pytest.fixture
def large_port() -> Iterator[int]:
    yield from serve(large)


def opened(port: int, words: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(words)
    _opened.append(connection)
    return connection


_opened: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def answered(connection: socket.socket) -> bool:
    said = b""
    while not said.endswith(b"hello"):
        part = connection.recv(65_536)
        assert part, "closed"
        said += part
    return True


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def ended(connection: socket.socket) -> bool:
    """Read until the other side closes, and tell whether it did."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


class TestTime:
    @pytest.mark.parametrize("words", [b"", b"GET / HT", REQUEST, REQUEST + b"GET / HTTP/1.1\r\nX: "])
    def test_a_connection_without_a_whole_request_is_closed(
        self, port: int, words: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard, "HEAD_SECONDS", 0.1)
        with opened(port, words) as connection:
            assert ended(connection)

    def test_bytes_that_drip_give_no_more_time(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "HEAD_SECONDS", 0.3)
        with opened(port, b"GET / HTTP/1.1\r\nX: ") as connection:
            connection.settimeout(0.05)

            def dripped() -> bool:
                try:
                    connection.sendall(b"a")
                    return connection.recv(1) == b""
                except TimeoutError:
                    return False
                except (BrokenPipeError, ConnectionResetError):
                    return True

            until(dripped, what="its end")

    def test_a_connection_in_use_stays(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "HEAD_SECONDS", 5.0)
        with opened(port) as connection:
            for _ in range(3):
                connection.sendall(REQUEST)
                assert answered(connection)

    def test_a_client_that_takes_nothing_of_its_answer_is_gone(
        self, large_port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard, "HEAD_SECONDS", 0.2)
        with opened(large_port, REQUEST):
            until(lambda: not guard._open, what="its end")  # noqa: SLF001 the count is what is tested


class TestNumber:
    @pytest.fixture(autouse=True)
    def limited(self, settings: Settings) -> None:
        settings.RATE_LIMITS, settings.LIMIT_CONNECTIONS_ADDRESS = True, 3

    def test_uvicorn_closes_one_too_many_and_has_room_again(self, port: int) -> None:
        first = [opened(port, REQUEST) for _ in range(3)]
        assert all(answered(connection) for connection in first)
        with opened(port) as surplus:
            assert ended(surplus)
        for connection in first:
            connection.close()
        until(lambda: not guard._open, what="room")  # noqa: SLF001 the count is what is tested
        with opened(port, REQUEST) as later:
            assert answered(later)

    def test_our_proxy_may_have_as_many_as_it_likes(self, port: int, settings: Settings) -> None:
        settings.TRUSTED_PROXIES = ["127.0.0.0/8"]
        many = [opened(port, REQUEST) for _ in range(8)]
        assert all(answered(connection) for connection in many)

    @pytest.mark.parametrize(("trusted", "left"), [([], 3), (["127.0.0.1"], 6)])
    def test_what_the_kernel_lists_is_closed_beyond_the_limit_the_latest_first(
        self, trusted: list[str], left: int, settings: Settings
    ) -> None:
        settings.TRUSTED_PROXIES = trusted
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            seen = watch.Seen(ports=frozenset({port}))
            clients, accepted = [], []
            for number in range(6):
                clients.append(opened(port))
                accepted.append(listener.accept()[0])
                if number == 2:
                    seen = watch.look(seen)
            assert seen.closed == 0
            seen = watch.look(seen)
            assert seen.closed == 6 - left
            for client in clients[left:]:
                assert ended(client)
            for client, server in zip(clients[:left], accepted, strict=False):
                server.sendall(b"x")
                assert client.recv(1) == b"x"
            for connection in accepted:
                connection.close()

    def test_other_sockets_of_the_process_are_none_of_its_business(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:
            for _ in range(6):
                opened(elsewhere.getsockname()[1])
            seen = watch.look(watch.Seen(ports=frozenset({1})))
            assert (seen.closed, set(seen.peers.values())) == (0, {""})

    def test_the_ports_that_are_listened_at_are_found(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert listener.getsockname()[1] in watch.look(watch.Seen()).ports


def test_a_process_asks_for_as_many_descriptors_as_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1_024, 20_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, limits: told.append(limits))
    assert descriptors.most_connections() == 20_000 - descriptors.KEPT
    assert told == [(20_000, 20_000)]
