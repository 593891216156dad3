"""Check what operators see of a whole installation: logs, metrics, and the id of a request everywhere.

The installation has a fresh broker. A buyer with a name, a mail address and a network address buys.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websockets.sync.client

from tests import services
from tests.api_client import ApiClient
from tests.processes import Process, Processes, free_port, fresh_database, listens, until

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq]

ROOT = Path(__file__).parents[2]
PEER = "127.0.0.77"  # the buyer's address, where none of our servers listens
NAME, MAIL, PASSWORD = "ana.souza.de.andrade", "ana.souza@people.example", "a-password-of-hers"
REQUEST = f"follow-me-{uuid.uuid4().hex[:8]}"
OWNER = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("owner", "owner@example.com", "frontrow-demo")
"""
KINDS = {
    "web": ("web",),
    "live": ("live",),
    "worker": ("worker",),
    "payments": ("worker", "--payments"),
    "jobs": ("worker", "--jobs"),
    "beat": ("beat",),
    "relay": ("relay",),
}


@dataclasses.dataclass
class Installation:
    processes: dict[str, Process]
    metrics: dict[str, int]
    mail: Path
    database: str

    def lines(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.processes[kind].log.read_text().splitlines() if line]

    def scrape(self, kind: str) -> str:
        path = f"http://127.0.0.1:{self.metrics[kind]}/metrics"
        with urllib.request.urlopen(path, timeout=10) as answer:
            said: str = answer.read().decode()
        return said


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("watched")
    found = services.current()
    broker = services.own_virtual_host(found.broker_url, f"{found.name}_watched")
    environment = {
        "LOG_LEVEL": "INFO",
        "RABBITMQ_URL": broker,
        "QUEUE": "rabbitmq",
        "EMAIL_FILE_PATH": str(folder / "mail"),
    }
    with fresh_database() as database, Processes(folder=folder, DATABASE_URL=database, **environment) as processes:
        processes.manage("shell", "-c", OWNER)
        started, ports = {}, {}
        for kind, words in KINDS.items():
            ports[kind] = free_port()
            serves = {"web", "live"} & {kind}
            port = free_port() if serves else None
            started[kind] = processes.start(*words, port=port, env={"METRICS_PORT": str(ports[kind])})
            ports[kind] = port if kind == "web" and port else ports[kind]
            if kind == "jobs":  # the relay would report workers that are slow to start
                until(
                    lambda: all(listens(ports[one]) for one in ("worker", "payments", "jobs")),
                    what="workers that consume",
                    seconds=60,
                )
        processes.wait_until_ready(started["web"])
        processes.wait_until_up(started["live"])
        made = Installation(started, ports, folder / "mail", database)
        until(
            lambda: all(listens(port) for port in ports.values()), seconds=60, what="every process answering Prometheus"
        )
        buy(made)
        yield made


def buy(site: Installation) -> None:
    """Buy as a person who mistypes the password first and watches the map."""
    web, live = site.processes["web"].port or 0, site.processes["live"].port or 0
    ask(web, "POST", "/auth/register", {"username": NAME, "password": PASSWORD, "email": MAIL})
    assert ask(web, "POST", "/auth/token", {"username": NAME, "password": "not hers"})[0] == 401
    _status, tokens = ask(web, "POST", "/auth/token", {"username": NAME, "password": PASSWORD})
    owner = ApiClient(web).sign_in("owner", "frontrow-demo")
    session = owner.new_session()
    with websockets.sync.client.connect(
        f"ws://127.0.0.1:{live}/ws/sessions/{session}", source_address=(PEER, 0)
    ) as feed:
        feed.recv(timeout=10)
    ask(web, "GET", f"/sessions/{session}%0d%0a%7b%22level%22:%22error%22%7d")
    body = {"session": session, "seats": ["A1"], "payment": {"method": "fake", "token": "ok"}, "email": MAIL}
    headers = {"Idempotency-Key": "once", "X-Request-ID": REQUEST, "Authorization": f"Bearer {tokens['access']}"}
    status, order = ask(web, "POST", "/orders", body, headers)
    assert status in {200, 201, 202}, order
    until(
        lambda: list(site.mail.glob("*")) if site.mail.exists() else [], seconds=60, what="the letter with the ticket"
    )


def ask(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(PEER, 0))
    sent = {"Content-Type": "application/json", **(headers or {})}
    connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, sent)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, json.loads(said) if said else None


class TestLogs:
    @pytest.mark.parametrize("kind", KINDS)
    def test_logs_are_json_without_an_error_or_a_person_s_name_or_address(
        self, installation: Installation, kind: str
    ) -> None:
        written = installation.processes[kind].log.read_text()
        for secret in (PEER, NAME, MAIL, PASSWORD, "not hers"):
            assert secret not in written
        errors = [line for line in installation.lines(kind) if line["level"] in {"error", "critical"}]
        assert errors == []

    def test_logs_of_beat_have_no_entry_for_each_job(self, installation: Installation) -> None:
        assert len(installation.lines("beat")) <= 5

    def test_logs_let_no_client_write_a_line_of_its_own(self, installation: Installation) -> None:
        forged = [line for line in installation.lines("web") if "{" in line.get("path", "")]
        assert [line["level"] for line in forged] == ["info"]

    @pytest.mark.parametrize(("kind", "event"), [("web", "request"), ("worker", "allocated"), ("jobs", "mail.sent")])
    def test_logs_name_the_request_wherever_it_went(self, installation: Installation, kind: str, event: str) -> None:
        def told() -> list[dict[str, Any]]:
            return [line for line in installation.lines(kind) if line["event"] == event and REQUEST in str(line)]

        until(told, what=f"{kind} telling of {REQUEST}")

    def test_logs_of_a_payment_name_the_request_that_began_it(self, installation: Installation) -> None:
        until(lambda: REQUEST in installation.processes["payments"].log.read_text(), what="payments telling of it")


class TestTheRequestsId:
    def test_request_id_is_in_the_events_and_the_letter(self, installation: Installation) -> None:
        with psycopg.connect(installation.database) as connection:
            rows = connection.execute("SELECT name FROM realtime_event WHERE cause = %s", [REQUEST]).fetchall()
        named = {name for (name,) in rows}
        assert named >= {"reservation.held", "seat.held", "reservation.confirmed", "seat.sold", "payment.captured"}
        (letter,) = installation.mail.glob("*")
        assert f"X-Request-ID: {REQUEST}" in letter.read_text()


class TestMetrics:
    def test_metrics_that_are_watched_are_exported(self, installation: Installation) -> None:
        exported = {
            name
            for kind in KINDS
            for name in re.findall(r"^# TYPE (frontrow_\w+) ", installation.scrape(kind), flags=re.MULTILINE)
        }
        for document in ("deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/frontrow.json", "docs/operator.md"):
            watched = re.findall(r"frontrow_[a-z_]+[a-z]", (ROOT / document).read_text())
            assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in watched} - exported == set(), document

    @pytest.mark.parametrize("kind", KINDS)
    def test_metrics_of_every_process_tell_what_it_reaches(self, installation: Installation, kind: str) -> None:
        said = installation.scrape(kind)
        for check in ("database", "cache", "broker"):
            assert f'frontrow_check_ok{{check="{check}"}} 1.0' in said

    @pytest.mark.parametrize("kind", ["web", "relay"])
    def test_metrics_tell_each_figure_of_the_installation_once(self, installation: Installation, kind: str) -> None:
        said = installation.scrape(kind)
        assert len(re.findall(r"^frontrow_inbox_waiting ", said, flags=re.MULTILINE)) == 1
        assert 'frontrow_figures_missing{source="database"} 0.0' in said
        assert 'frontrow_part_silent{part="payments"} 0.0' in said
