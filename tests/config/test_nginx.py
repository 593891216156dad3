"""Check the shipped nginx configuration, in front of servers that report their requests."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.nginx import Nginx
from tests.processes import free_port, until


class Echo(BaseHTTPRequestHandler):
    """Answer with the path and the headers. Upgrade a socket, and repeat what it hears."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.readline())
            self.close_connection = True
            return
        said = json.dumps({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}}).encode()
        self.send_response(503 if self.path == "/api/v1/busy" else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_arguments: object) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def behind() -> Iterator[int]:
    """Yield the port of a server that stands for web and live."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def port(behind: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with Nginx(tmp_path_factory.mktemp("nginx"), web=behind, live=behind) as proxy:
        yield proxy.port


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, answer.headers, said


def test_the_host_that_was_asked_for_is_passed_on_with_its_port(port: int) -> None:
    _status, _headers, said = ask(port, "/", Host="tickets.example.com:8443")
    assert json.loads(said)["host"] == "tickets.example.com:8443"


def test_a_client_cannot_choose_its_address_or_scheme(port: int) -> None:
    for path in ("/", "/ws/"):
        _status, _headers, said = ask(port, path, X_Forwarded_For="203.0.113.7", X_Forwarded_Proto="https")
        heard = json.loads(said)
        assert (heard["x-forwarded-for"], heard["x-forwarded-proto"]) == ("127.0.0.1", "http")


def test_sockets_are_upgraded(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        opened.sendall(
            b"GET /ws/me HTTP/1.1\r\nHost: tickets\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello\n"
        )
        heard = b""
        while b"hello" not in heard:
            heard += opened.recv(1_000)
    assert heard.startswith(b"HTTP/1.1 101")


def test_proof_of_a_letters_link_is_not_written_down(behind: int, tmp_path: Path) -> None:
    with Nginx(tmp_path, web=behind, live=behind) as proxy:
        ask(proxy.port, "/sales/1?proof=secret", Referer="https://tickets.example.com/sales/1?proof=secret")
        until(lambda: proxy.access_log.read_text(), what="a line of the log")
    said = proxy.access_log.read_text()
    assert '"GET /sales/1" 200' in said
    assert "secret" not in said


def test_metrics_are_not_public(port: int) -> None:
    assert ask(port, "/metrics")[0] == 404


def test_a_body_that_is_too_large_is_refused(port: int) -> None:
    assert ask(port, "/", "POST", b"", Content_Length=str(11 * 1024 * 1024))[0] == 413


def test_what_a_process_answers_is_passed_on(port: int) -> None:
    status, _headers, said = ask(port, "/api/v1/busy")
    assert (status, json.loads(said)["path"]) == (503, "/api/v1/busy")


@pytest.mark.parametrize(
    ("path", "kind"), [("/api/v1/sessions", "application/problem+json"), ("/", "text/html")], ids=["program", "person"]
)
def test_without_a_process_the_answer_says_when_to_come_again(tmp_path: Path, path: str, kind: str) -> None:
    with Nginx(tmp_path, web=free_port(), live=free_port()) as proxy:
        status, headers, said = ask(proxy.port, path)
    assert (status, headers.get_content_type(), headers["Retry-After"]) == (503, kind, "2")
    assert kind == "text/html" or json.loads(said)["code"] == "unavailable"


def test_an_address_has_only_so_many_connections(behind: int, tmp_path: Path) -> None:
    slow = b"POST / HTTP/1.1\r\nHost: tickets\r\nContent-Length: 9\r\n\r\n"  # without a body, so it stays open
    with Nginx(tmp_path, web=behind, live=behind, connections=3) as proxy:
        opened = [socket.create_connection(("127.0.0.1", proxy.port)) for _one in range(3)]
        for one in opened:
            one.sendall(slow)
        until(lambda: ask(proxy.port, "/")[0] == 503, what="the limit")
        for one in opened:
            one.close()
        until(lambda: ask(proxy.port, "/")[0] == 200, what="room again")
