"""What a page costs the web process, beside a view that does nothing: microseconds of processor a request."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from bench.contest import Contest, Event
from bench.figures import Figure, Sample
from bench.processes import Process
from bench.stage import Load, Stage, reading, request

REQUESTS = 5_000
CONNECTIONS = 20
SESSIONS = 40  # what a cinema has on its list for a few days


def page(seats: int | None, *, path: str = "/sessions/{}") -> Callable[[Stage], AbstractContextManager[Contest]]:
    """Measure a page of one session with so many seats; None: a list of `SESSIONS` sessions."""

    @contextmanager
    def opened(stage: Stage) -> Iterator[Contest]:
        (ours,), (plain,) = stage.web(), stage.plain_web()
        stage.ready([ours])
        stage.answering([plain])
        rooms = [stage.room(seats)] if seats else [stage.room(100) for _session in range(SESSIONS)]
        asked = path.format(rooms[0].id)
        first = answered(ours, asked)
        stage.expect(first.status == 200, f"{asked} answered {first.status}")
        etag = first.headers.get("ETag") or ""

        def read() -> Sample:
            whole = load(stage, ours, reading(asked), status=200)
            unchanged = load(stage, ours, reading(asked, etag=etag), status=304)
            name = asked_of(seats, path)
            return whole.sample(**{name: cost(whole), f"{name}_unchanged": cost(unchanged)})

        def plain_view() -> Sample:
            constant = load(stage, plain, request({}, path="/constant"), status=200)
            name = asked_of(seats, path)
            return constant.sample(
                **{name: cost(constant, "plain web"), f"{name}_unchanged": cost(constant, "plain web")}
            )

        yield Contest(ours=read, limit=plain_view)

    return opened


def asked_of(seats: int | None, path: str) -> str:
    kind = "api" if path.startswith("/api") else "page"
    return f"{kind}_{seats or 'list'}" if kind == "page" else f"api_{'session' if seats else 'list'}"


def answered(web: Process, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", web.port or 0, timeout=30)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip", "Accept-Language": "en"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def load(stage: Stage, web: Process, asked: str, *, status: int) -> Load:
    number = stage.sized(REQUESTS)
    found = stage.run([asked] * number, webs=[web], connections=CONNECTIONS, forgets=True)
    stage.expect(found.statuses[status] == number, f"{asked.splitlines()[0]}: {dict(found.statuses)}")
    return found


def cost(load: Load, name: str = "web") -> float:
    """Microseconds of the web's processor a request."""
    return load.cpu.get(name, 0.0) / len(load.answers) * 1_000_000


def event(name: str, opened: Callable[[Stage], AbstractContextManager[Contest]]) -> Event:
    return Event(
        name=name,
        figures=(
            Figure(name=name, unit="µs CPU", times_limit=3),
            Figure(name=f"{name}_unchanged", unit="µs CPU", times_limit=2),
        ),
        open=opened,
    )


EVENTS = (
    event("page_list", page(None, path="/")),
    event("page_16", page(16)),
    event("page_2400", page(2_400)),
    event("page_10000", page(10_000)),
    event("api_list", page(None, path="/api/v1/sessions")),
    event("api_session", page(2_400, path="/api/v1/sessions/{}")),
)
