"""Guess passwords from one address at every form at once, while others read and buy as before."""

from __future__ import annotations

import http.client
import itertools
import re
import statistics
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.conftest import OWNER
from tests.processes import Process, Processes, fresh_database

pytestmark = [pytest.mark.fault, pytest.mark.chaos]

GUESSER, READER = "203.0.113.9", "198.51.100.7"
TRIES, AT_ONCE, READERS = 150, 40, 2
FORMS = {
    "/sign-in": {"username": "owner", "password": "guess-{n}"},
    "/register": {"username": "new{n}", "password1": "poltrona-{n}-frente", "password2": "poltrona-{n}-frente"},
    "/admin/login/": {"username": "owner", "password": "guess-{n}"},
}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Process]:
    """Run one web process with default limits behind a proxy on this machine, and with production's hashing."""
    with (
        fresh_database() as database,
        Processes(folder=tmp_path, DATABASE_URL=database, TRUSTED_PROXIES="127.0.0.1", FRONTROW_ENV="demo") as site,
    ):
        site.manage("shell", "-c", OWNER)
        web = site.web()
        site.wait_until_up(web)
        yield web


def ask(
    web: Process, method: str, path: str, *, address: str, body: str | None = None, cookie: str = ""
) -> tuple[int, dict[str, str], str]:
    headers = {"X-Forwarded-For": address, "Cookie": cookie}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    with closing(http.client.HTTPConnection("127.0.0.1", web.port or 0, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, said


def guess(web: Process, path: str, number: int, tokens: tuple[str, str]) -> tuple[int, str]:
    """Post the form as a browser would, and return the status and when to try again."""
    cookie, token = tokens
    fields = {name: value.format(n=number) for name, value in FORMS[path].items()}
    form = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": token})
    status, headers, _page = ask(web, "POST", path, address=GUESSER, body=form, cookie=f"csrftoken={cookie}")
    return status, headers.get("retry-after", "")


def tokens_of(web: Process, path: str) -> tuple[str, str]:
    _status, headers, page = ask(web, "GET", path, address=GUESSER)
    cookie = re.search(r"csrftoken=([^;]+)", headers["set-cookie"])
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert cookie
    assert token
    return cookie[1], token[1]


def p95_of_reading(web: Process, *, until: threading.Event, least: int) -> float:
    """Return milliseconds of at least this many pages, and then until the event."""

    def read(_reader: int) -> list[float]:
        took: list[float] = []
        for number in itertools.count():
            if number >= least and until.is_set():
                return took
            began = time.perf_counter()
            status, _headers, _page = ask(web, "GET", "/", address=READER)
            took.append((time.perf_counter() - began) * 1000)
            assert status == 200
        return took

    with ThreadPoolExecutor(READERS) as threads:
        took = list(itertools.chain.from_iterable(threads.map(read, range(READERS))))
    return statistics.quantiles(took, n=20)[-1]


def test_guessing_at_every_form_is_stopped_and_slows_no_other_visitor(web: Process) -> None:
    done = threading.Event()
    done.set()
    p95_of_reading(web, until=done, least=20)  # warm-up
    before = p95_of_reading(web, until=done, least=150)
    done.clear()
    tokens = {path: tokens_of(web, path) for path in FORMS}
    tries = [(path, number) for number in range(TRIES) for path in FORMS]
    with ThreadPoolExecutor(AT_ONCE + 1) as threads:
        reading = threads.submit(p95_of_reading, web, until=done, least=150)
        answers = list(threads.map(lambda one: guess(web, one[0], one[1], tokens[one[0]]), tries))
        done.set()
        during = reading.result(timeout=120)
    by_form = {
        path: Counter(status for (form, _n), (status, _after) in zip(tries, answers, strict=True) if form == path)
        for path in FORMS
    }
    for path, statuses in by_form.items():
        assert statuses[429] > TRIES / 2, (path, statuses)
        assert set(statuses) <= {200, 302, 429, 503}, (path, statuses)
    assert all(after for status, after in answers if status in {429, 503})
    print(f"p95 of reading: {before:.1f} ms before, {during:.1f} ms during; {by_form}")  # noqa: T201
    assert during <= 2 * before, f"{before:.1f} ms before, {during:.1f} ms during"
