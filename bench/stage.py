"""Provide what a measurement needs: its own database, processes, prepared requests and clocks."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import dj_database_url
import psycopg
from django.db import connection
from django.utils import timezone
from psycopg import sql

from bench import generator
from bench.cpu import Meter
from bench.figures import Sample, percentile
from bench.generator import Answer, Plan, Report
from bench.private import PrivatePostgres
from bench.processes import ROOT, Process, Processes, free_port, until
from bench.services import Services
from sessions_app import plans
from sessions_app.models import Session
from sessions_app.operations import create_session
from ticketing import identity

HOLDS_PATH = "/api/v1/reservations"
LONG_HOLD = 3600  # seconds, so that nothing expires while it is counted
QUICK = 20  # a `--quick` run has one in this many requests
LOOK_AGAIN = 0.05  # seconds between two looks at what is allocated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """Hold a session on sale and the seats that it sells."""

    session: Session
    labels: list[str]

    @property
    def id(self) -> uuid.UUID:
        return self.session.pk


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """Hold the results of a load.

    `allocated_after` is the seconds from the first request to the last new outcome, if it was watched.
    """

    report: Report
    cpu: dict[str, float]
    allocated_after: float = 0.0

    @property
    def answers(self) -> list[Answer]:
        return self.report.answers

    @property
    def seconds(self) -> float:
        """Return the seconds from the first request to the last answer."""
        return max(answer.ended for answer in self.answers)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def seconds_since_start(self) -> float:
        """Return the seconds from the first request until now."""
        return time.monotonic() - self.report.started

    def rate(self, *statuses: int) -> float:
        """Return the answers with these statuses per second."""
        return sum(self.statuses[status] for status in statuses) / self.seconds

    def bodies(self, *statuses: int) -> list[dict[str, object]]:
        return [json.loads(answer.body) for answer in self.answers if answer.status in statuses]

    def summary(self) -> dict[str, Any]:
        """Return a line for the logs."""
        times = [(answer.ended - answer.began) * 1000 for answer in self.answers]
        return {
            "requests": len(self.answers),
            "seconds": round(self.seconds, 3),
            "statuses": self.statuses,
            "p50_ms": round(percentile(times, 50), 1),
            "p99_ms": round(percentile(times, 99), 1),
            "cpu": self.cpu,
        }

    def sample(self, **values: float) -> Sample:
        return Sample(values=values, cpu=self.cpu)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crew:
    """Hold the processes of a site that a measurement controls itself."""

    webs: list[Process]
    workers: list[Process]


class Stage:
    """Provide what a measurement needs. `wrong` collects wrong outcomes; a measurement with any has failed."""

    def __init__(self, *, services: Services, database: str, usual_database: str, folder: Path, quick: bool) -> None:
        self.services = services
        self.database = database
        self.usual_database = usual_database
        self.quick = quick
        self.wrong: list[str] = []
        self.meter = Meter(services)
        self.folder = folder
        self._site = Processes(folder=folder, environment=services.environment(database))
        self._used_before: dict[str, Any] = {}
        self._killed: list[Process] = []

    def __enter__(self) -> Self:
        self._used_before = dict(connection.settings_dict)
        use_database(dj_database_url.parse(self.database))
        return self

    def __exit__(self, *exception: object) -> None:
        self._site.__exit__(*exception)
        use_database(self._used_before)

    def sized(self, number: int) -> int:
        return max(number // QUICK, 20) if self.quick else number

    def expect(self, sound: bool, otherwise: str) -> None:
        if not sound:
            self.wrong.append(otherwise)

    def last_words(self) -> str:
        return self._site.last_words(4)

    # --- Processes

    def web(self, *, processes: int = 1, threads: int = 64) -> list[Process]:
        """Start Frontrow's own web, one port per process."""
        return self._webs("web", processes, {"WEB_THREADS": str(threads)})

    def usual_web(self, *, processes: int = 1, threads: int = 64) -> list[Process]:
        """Start the same server with `bench.usual` in it."""
        return self._webs("usual web", processes, self._usual() | {"WEB_THREADS": str(threads)})

    def plain_web(self, *, processes: int = 1) -> list[Process]:
        """Start the same server without any middleware: only Django between server and view."""
        return self._webs("plain web", processes, self._usual() | {"USUAL_MIDDLEWARE": "none"})

    def _usual(self) -> dict[str, str]:
        """Return the usual way's environment.

        Its pool has sixteen, for threads that all want a connection; ours eight.
        """
        return {
            "DJANGO_SETTINGS_MODULE": "bench.usual.settings",
            "DATABASE_URL": self.usual_database,
            "DB_POOL_SIZE": "16",
            "DB_POOL_SECONDS": "10",
        }

    def _webs(self, name: str, processes: int, env: dict[str, str]) -> list[Process]:
        webs = [self._site.start("web", "--workers", "1", port=free_port(), env=env) for _process in range(processes)]
        return [self._started(name, web) for web in webs]

    def ready(self, webs: Sequence[Process]) -> None:
        """Wait until Frontrow's webs serve, and hear the worker if there is one."""
        for web in webs:
            self._site.wait_until_ready(web)

    def answering(self, webs: Sequence[Process]) -> None:
        """Wait until servers of the usual way serve."""
        for web in webs:
            self._site.wait_until_up(web)

    def worker(self) -> Process:
        return self._started("worker", self._site.worker())

    def jobs(self) -> Process:
        return self._started("jobs", self._site.worker("--jobs"))

    def payments(self, **environment: str) -> Process:
        return self._started("payments", self._site.start("worker", "--payments", env=environment))

    def crew(self) -> Crew:
        """Start a site that survives deaths: two webs, two workers, two for payments, one for jobs, beat and relay."""
        crew = Crew(webs=self.web(processes=2), workers=[self.worker(), self.worker()])
        self.payments()
        self.payments()
        self.jobs()
        self._started("beat", self._site.beat())
        self._started("relay", self._site.relay())
        self.ready(crew.webs)
        return crew

    def kill(self, process: Process) -> None:
        """Kill it with SIGKILL."""
        self.meter.bury(process)
        process.kill()
        self._killed.append(process)

    def all_live(self) -> None:
        """Check that only processes that were killed on purpose have ended; no supervisor restarts them here."""
        gone = [process.name for process in self._site.started if not process.alive and process not in self._killed]
        self.expect(not gone, f"{', '.join(gone)} ended by themselves")

    def whole(self) -> list[Process]:
        """Start a whole site: two web processes, a worker, one for payments, one for jobs, beat and relay.

        Return the web processes.
        """
        webs = self.web(processes=2)
        self.worker()
        self.payments()
        self.jobs()
        self._started("beat", self._site.beat())
        self._started("relay", self._site.relay())
        self.ready(webs)
        return webs

    def live(self, *, env: dict[str, str] | None = None) -> Process:
        """Start one process for sockets, and wait until it is up."""
        return self._up(self._started("live", self._site.start("live", port=free_port(), env=env)))

    def both(self) -> Process:
        """Start pages and sockets of the whole site on one port, and wait until it is ready."""
        process = self._started("both", self._site.both())
        self.ready([process])
        return process

    def usual_live(self) -> Process:
        """Start the usual consumer on the same server, and wait until it is up."""
        program = ("-m", "uvicorn", "bench.usual.live:application", "--lifespan", "off", "--log-level", "warning")
        env = {"DJANGO_SETTINGS_MODULE": "bench.usual.settings"}
        return self._up(self._started("usual live", self._site.run("usual-live", *program, port=free_port(), env=env)))

    def _up(self, process: Process) -> Process:
        self._site.wait_until_up(process)
        return process

    def _started(self, name: str, process: Process) -> Process:
        self.meter.watch(name, process)
        return process

    def wait(self, condition: Callable[[], object], *, seconds: float, what: str) -> None:
        """Wait with rare looks, so as not to disturb what it waits for. Raises: NotInTimeError."""
        until(condition, seconds=seconds, what=what, every=0.1)

    # --- What is on sale

    def room(self, seats: int, *, rows: int = 0) -> Room:
        """Put a new session on sale, in straight rows; about square unless `rows` says otherwise."""
        rows = rows or next(rows for rows in range(int(seats**0.5), 0, -1) if seats % rows == 0)
        session = create_session(
            show="The rush",
            starts_at=timezone.now() + dt.timedelta(days=1),
            price=2500,
            rows=rows,
            seats_per_row=seats // rows,
            hold_seconds=LONG_HOLD,
            max_hold_seconds=2 * LONG_HOLD,
        )
        return Room(
            session=session, labels=[place.label for place in plans.grid(rows=rows, seats_per_row=seats // rows)]
        )

    def in_usual_database(self, room: Room) -> None:
        """Copy the session row by row to the other database."""
        columns = {
            "sessions_app_show": ("id", room.session.show_id),
            "sessions_app_session": ("id", room.id),
            "sessions_app_tickettype": ("session_id", room.id),
            "sessions_app_seat": ("session_id", room.id),
        }
        with psycopg.connect(self.database) as here, psycopg.connect(self.usual_database) as there:
            known = there.execute("SELECT FROM sessions_app_show WHERE id = %s", [room.session.show_id])
            if known.rowcount:
                del columns["sessions_app_show"]
            for table, (column, value) in columns.items():
                copy_rows(here, there, table, column, value)

    # --- Loads

    def run(
        self,
        requests: Iterable[str],
        *,
        webs: Sequence[Process],
        connections: int,
        rate: float | None = None,
        look: Callable[[], object] | None = None,
        forgets: bool = False,
    ) -> Load:
        """Send the requests over this many connections, spread over the webs.

        `look` is asked again and again how many are allocated.
        """
        ports = [webs[index % len(webs)].port or 0 for index in range(connections)]
        plan = Plan(ports=ports, requests=requests, rate=rate, forgets=forgets)
        with self.meter.measure() as cpu:
            report, changed = self._generated(plan, look)
        cpu["generator"] = round(report.cpu, 2)
        load = Load(report=report, cpu=cpu, allocated_after=max(0.0, changed - report.started))
        self.note(load.summary())
        return load

    def note(self, facts: dict[str, Any]) -> None:
        """Write a line to the logs."""
        with (self.folder / "loads.jsonl").open("a") as log:
            log.write(json.dumps(facts) + "\n")

    def _generated(self, plan: Plan, look: Callable[[], object] | None) -> tuple[Report, float]:
        """Return the generator's report, and when the result of `look` last changed."""
        name = uuid.uuid4().hex[:8]
        asked, answered = self.folder / f"{name}.plan.json", self.folder / f"{name}.answers.json"
        generator.write_plan(asked, plan)
        seen, changed = (look() if look else None), 0.0
        program = subprocess.Popen([sys.executable, "-m", "bench.generator", str(asked), str(answered)], cwd=ROOT)
        try:
            pause = LOOK_AGAIN
            while program.poll() is None:
                time.sleep(pause)
                began = time.monotonic()
                if look and (now := look()) != seen:
                    seen, changed = now, time.monotonic()
                pause = min(1.0, max(LOOK_AGAIN, 20 * (time.monotonic() - began)))  # a slow look is repeated rarely
        finally:
            program.kill()
        if program.returncode:
            raise GeneratorFailed(program.returncode)
        report = generator.read_report(answered)
        asked.unlink()
        answered.unlink()
        return report, changed


class GeneratorFailed(Exception):
    """Report the code with which the load generator ended; its output is above."""


# --- Requests


def token() -> str:
    """Return the token of a new guest."""
    return identity.issue_tokens(identity.new_guest())["access"]


def request(
    body: dict[str, object], *, path: str = HOLDS_PATH, wait: int = 0, key: str = "", access: str | None = None
) -> str:
    """Return a request as it goes over the wire, from a new guest unless `access` is a token."""
    content = json.dumps(body, separators=(",", ":"))
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {access or token()}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *([f"Prefer: wait={wait}"] if wait else []),
        *([f"Idempotency-Key: {key}"] if key else []),
    ]
    return "\r\n".join([*head, "", content])


def reading(path: str, *, etag: str = "") -> str:
    """As a browser asks for a page or a list; with `etag`, one that has it already."""
    head = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept-Encoding: gzip, deflate, br",
        "Accept-Language: en",
        *([f"If-None-Match: {etag}"] if etag else []),
    ]
    return "\r\n".join([*head, "", ""])


def asking_for(room: Room, seats: Sequence[str], *, path: str = HOLDS_PATH, wait: int = 0) -> str:
    return request({"session": str(room.id), "seats": list(seats)}, path=path, wait=wait)


# --- Databases


def use_database(where: Mapping[str, Any]) -> None:
    """Make Django in this process use that database from now on."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined] # PostgreSQL's has one
    connection.settings_dict.update({name: where[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD")})


def copy_rows(here: psycopg.Connection, there: psycopg.Connection, table: str, column: str, value: object) -> None:
    """Copy rows of one database into the same table of another."""
    chosen = sql.SQL("COPY (SELECT * FROM {} WHERE {} = {}) TO STDOUT").format(
        sql.Identifier(table), sql.Identifier(column), sql.Literal(value)
    )
    into = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
    with here.cursor().copy(chosen) as rows, there.cursor().copy(into) as copies:
        for some in rows:
            copies.write(some)


@contextlib.contextmanager
def stage_on(postgres: PrivatePostgres, *, services: Services, folder: Path, quick: bool) -> Iterator[Stage]:
    """Provide a stage whose PostgreSQL may crash."""
    services = dataclasses.replace(services, home=postgres.home, template=postgres.name)
    folder.mkdir()
    Processes(folder=folder, environment=services.environment(postgres.url)).manage("migrate", "--verbosity", "0")
    with Stage(services=services, database=postgres.url, usual_database="", folder=folder, quick=quick) as stage:
        yield stage


@contextlib.contextmanager
def open_stage(services: Services, name: str, *, folder: Path, quick: bool) -> Iterator[Stage]:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        services.database(name) as database,
        services.database(f"{name}_usual") as usual_database,
        Stage(services=services, database=database, usual_database=usual_database, folder=folder, quick=quick) as stage,
    ):
        yield stage
