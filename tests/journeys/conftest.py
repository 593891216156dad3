"""Provide a browser in front of a whole site: web, live, workers, beat and relay, with a database of their own."""

from __future__ import annotations

import http.client
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

from base.rest import UUID_TEXT
from tests import services
from tests.processes import Process, Processes, fresh_database

ROOT = Path(__file__).resolve().parent.parent.parent
SCREENSHOTS = os.environ.get("FRONTROW_SCREENSHOTS") == "1"
PATIENCE = 10_000  # milliseconds; the machine may be busy

DESK = {"viewport": {"width": 1440, "height": 900}, "locale": "en-US", "timezone_id": "America/Sao_Paulo"}

JUMPS = """
  window.jumps = 0; // Google's cumulative layout shift, of which up to 0.1 counts as good
  new PerformanceObserver((list) => {
    for (const jump of list.getEntries()) if (!jump.hadRecentInput) window.jumps += jump.value;
  }).observe({ type: "layout-shift", buffered: true });
"""

Window = Callable[..., Page]
Shot = Callable[[Page, str], None]


@dataclass
class Site:
    """Run a site, and fill its catalogue through its own API as staff."""

    host: str
    processes: Processes
    allocating: list[Process]  # processes that could allocate a request
    token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def call(self, method: str, path: str, body: object = None, *, token: str = "", **headers: str) -> Any:
        """Return the answer's JSON. An answer other than 2xx fails the test."""
        with closing(http.client.HTTPConnection(self.host, timeout=20)) as connection:
            sent = {"Content-Type": "application/json"} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            if token:
                sent["Authorization"] = f"Bearer {token}"
            connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status < 300, f"{method} {path}: {answer.status} {text}"
            return json.loads(text) if text else None

    def new_session(self, title: str = "", **fields: object) -> str:
        """Make a session and return its id: a room of 4 by 8 at R$ 30, tomorrow, unless `fields` say otherwise."""
        self.token = (
            self.token
            or self.call("POST", "/auth/token", {"username": "boxoffice", "password": "frontrow-demo"})["access"]
        )
        described = {
            "show": {"title": title or f"Noite {uuid.uuid4().hex[:6]}"},
            "room": "Sala 1",
            "rows": 4,
            "seats_per_row": 8,
            "starts_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "price": 3000,
            "currency": "BRL",
        } | fields
        made: str = self.call(
            "POST", "/sessions", {key: value for key, value in described.items() if value is not None}, token=self.token
        )["id"]
        return made

    def halls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/halls?limit=200")["results"]
        return found

    def hall(self, seats: int) -> str:
        """Return the id of a seeded hall of that size."""
        return next(str(hall["id"]) for hall in self.halls() if hall["seats"] == seats)

    def hold(self, session: str, *seats: str, then_pay: bool = False) -> None:
        """Hold seats for a guest, or buy them, by a program."""
        guest = self.call("POST", "/auth/guest")["access"]
        asked = {"session": session, "seats": seats}
        held = self.call("POST", "/reservations", asked, token=guest, Prefer="wait=10")
        assert held["status"] == "held", held
        if then_pay:
            card = {"payment": {"method": "fake", "token": "ok"}}
            self.call("POST", f"/reservations/{held['id']}/pay", card, token=guest, Prefer="wait=10")


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    logs = tmp_path_factory.mktemp("journeys")
    with (
        fresh_database() as database,
        Processes(folder=logs, DATABASE_URL=database, FRONTROW_ENV="demo", RATE_LIMITS="off") as processes,
    ):
        web = processes.both()
        allocating = [processes.worker(), processes.relay()]
        processes.worker("--payments")
        processes.worker("--jobs")
        processes.beat()
        processes.manage("seed", "--profile", "demo")
        processes.wait_until_ready(web)
        yield Site(host=f"127.0.0.1:{web.port}", processes=processes, allocating=allocating)


# Playwright keeps an event loop in this thread while it runs, from the first journey to the last.


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return browser_type_launch_args | {"executable_path": services.current().chromium, "args": ["--no-sandbox"]}


@pytest.fixture(scope="package")
def browser(playwright: Playwright, browser_type_launch_args: dict[str, Any]) -> Iterator[Browser]:
    running = playwright.chromium.launch(**browser_type_launch_args)
    yield running
    running.close()


@pytest.fixture(scope="package")
def browser_context_args(site: Site) -> dict[str, Any]:
    return {"base_url": site.url}


PERHAPS = " perhaps"


@pytest.fixture
def refusals() -> set[str]:
    """Name the errors that a test provokes, as "404 /nowhere", with a star per id; ERR_FAILED is one it blocks.

    Any other fails the test, and so does a missing one, unless it ends with " perhaps": the loser of a race may hear of
    its loss before it asks.
    """
    return set()


@pytest.fixture
def window(new_context: Callable[..., Any], refusals: set[str]) -> Iterator[Window]:
    """Open a browser window of another person each time; fail if any page of it logged an error."""
    complaints: list[str] = []
    refused: set[str] = set()

    def note(message: ConsoleMessage) -> None:
        text = message.text
        unplugged = "net::ERR_INTERNET_DISCONNECTED" in text  # by the test
        closed = "Unexpected response code: 403" in text  # the socket of a session that is not public
        answer = re.search(r"Failed to load resource: (?:.* status of (\d{3})|net::(ERR_FAILED))", text)
        if answer:
            refused.add(f"{answer[1] or answer[2]} {re.sub(UUID_TEXT, '*', urlsplit(message.location['url']).path)}")
        elif message.type == "error" and not unplugged and not closed:
            complaints.append(text)

    def open_window(**options: Any) -> Page:
        context = new_context(**(DESK | options))
        context.on("console", note)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.set_default_timeout(PATIENCE)
        context.add_init_script(JUMPS)
        page: Page = context.new_page()
        return page

    yield open_window
    assert complaints == []
    sure = {refusal for refusal in refusals if not refusal.endswith(PERHAPS)}
    assert sure <= refused <= {refusal.removesuffix(PERHAPS) for refusal in refusals}


@pytest.fixture
def shot() -> Shot:
    """Save a picture of a page in docs/img, only on request, so that a test run changes no file."""

    def take(page: Page, name: str) -> None:
        if SCREENSHOTS:
            folder = ROOT / "docs" / "img"
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{name}.png", animations="disabled")

    return take
