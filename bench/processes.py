"""Run Frontrow's real processes on free ports. They can be paused and killed, and they end with the block.

    with Processes(folder=logs, environment=os.environ | {"DATABASE_URL": url}) as site:
        site.manage("migrate")
        web, worker = site.web(), site.worker()
        site.wait_until_ready(web)
        worker.kill()

The benchmark and the tests share them.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
STARTUP_SECONDS = 60.0  # generous, because the machine may be busy with other tests


class NotInTimeError(AssertionError):
    """Report that an awaited condition did not come true in time."""


def until(
    condition: Callable[[], object], *, seconds: float = 10.0, what: str = "the condition", every: float = 0.02
) -> None:
    """Poll `condition` until it is true. Raises: NotInTimeError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTimeError(f"{what} did not come true within {seconds:g} s")
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def healthy(port: int) -> set[str]:
    """Return the parts of a web process that are healthy; none while it does not answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/health/ready")
            checks = json.load(connection.getresponse())["checks"]
        except (OSError, http.client.HTTPException, ValueError):
            return set()
    return {name for name, found in checks.items() if found["status"] == "ok"}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def fresh_database(home: str, *, prefix: str, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a copy of `template` (by default empty) that lives as long as the block.

    `home` is any database of that server.
    """
    name = f"{prefix}_{uuid.uuid4().hex[:12]}"
    make = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(home, autocommit=True) as connection:
        connection.execute(make)
    try:
        yield urllib.parse.urlsplit(home)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(home, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True, kw_only=True)
class Process:
    """Hold one running command, the leader of its own process group."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    port: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, including a server's own workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the group with SIGKILL, without a chance to clean up."""
        self.send(signal.SIGKILL)
        self.popen.wait()

    def ask_to_stop(self) -> None:
        self.resume()
        with contextlib.suppress(ProcessLookupError):
            self.popen.terminate()

    def stop(self, *, seconds: float = 10.0) -> None:
        """Ask it to end, and kill it if it does not in time (granian ignores signals in its first second)."""
        deadline = time.monotonic() + seconds
        while self.alive and time.monotonic() < deadline:
            self.ask_to_stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout=1.5)
        self.kill()

    def last_words(self, lines: int = 30) -> str:
        with self.log.open(errors="replace") as log:
            return "".join(deque(log, maxlen=lines))


class Processes:
    """Start commands of `manage.py` that share an environment, and end them all when the block ends.

    `folder` receives one log per process.
    """

    def __init__(self, *, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.started: list[Process] = []
        self.environment = dict(environment) | {"PYTHONUNBUFFERED": "1"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in self.started:
            process.ask_to_stop()
        for process in reversed(self.started):
            process.stop()

    def manage(self, *arguments: str) -> str:
        """Run a command to its end and return what it printed."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def start(self, *arguments: str, port: int | None = None, env: Mapping[str, str] | None = None) -> Process:
        """Start `manage.py <arguments>`, with `--port` if there is one."""
        name = "-".join(part.strip("-") for part in arguments[:2])
        return self.run(name, "manage.py", *arguments, port=port, env=env)

    def run(self, name: str, *program: str, port: int | None = None, env: Mapping[str, str] | None = None) -> Process:
        """Start any Python program in the same way."""
        name = f"{len(self.started):02d}-{name}"
        log = self.folder / f"{name}.log"
        where = ["--port", str(port)] if port else []
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, *program, *where],
                cwd=ROOT,
                env=self.environment | (dict(env) if env else {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name=name, popen=popen, log=log, port=port)
        self.started.append(process)
        return process

    def both(self, *, port: int | None = None) -> Process:
        """Start pages, API and sockets on one port."""
        return self.start("both", port=port or free_port())

    def web(self, *, port: int | None = None, workers: int = 1) -> Process:
        return self.start("web", "--workers", str(workers), port=port or free_port())

    def live(self, *, port: int | None = None) -> Process:
        return self.start("live", port=port or free_port())

    def worker(self, *kind: str) -> Process:
        """Start an allocation worker, or one of the kind `--payments` or `--jobs`."""
        return self.start("worker", *kind)

    def beat(self) -> Process:
        return self.start("beat")

    def relay(self) -> Process:
        return self.start("relay")

    def wait_until_up(self, process: Process, *, seconds: float = STARTUP_SECONDS) -> None:
        """Wait until its port accepts connections. Raises: NotInTimeError, with its last words."""
        self._wait(process, lambda: process.port is None or listens(process.port), seconds=seconds)

    def wait_until_ready(self, web: Process, *, seconds: float = STARTUP_SECONDS) -> None:
        """Wait until it serves, and hears a worker's heartbeat if one was started. Raises: NotInTimeError."""
        workers = [process for process in self.started if "worker" in process.name.split("-") and process.alive]
        needed = {"database", "worker"} if workers else {"database"}
        self._wait(web, lambda: web.port is not None and needed <= healthy(web.port), seconds=seconds)

    def _wait(self, process: Process, condition: Callable[[], bool], *, seconds: float) -> None:
        try:
            until(lambda: not process.alive or condition(), seconds=seconds, what=f"{process.name} being ready")
        except NotInTimeError as error:
            raise NotInTimeError(f"{error}\n{self.last_words()}") from None
        if not process.alive:
            raise NotInTimeError(f"{process.name} ended with {process.popen.returncode}\n{process.last_words()}")

    def last_words(self, lines: int = 12) -> str:
        return "\n".join(f"--- {process.name}\n{process.last_words(lines)}" for process in self.started)
