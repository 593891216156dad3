"""Define `manage.py up`, which runs the whole demo on one machine.

It uses the services that the environment names, or its own.
"""

import http.client
import json
import os
import secrets
import shutil
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.migrations.loader import MigrationLoader

from config.run import preflight
from config.run.embedded import Postgres, Valkey
from config.run.preflight import StartupProblem
from config.run.supervisor import Program, StopRequestedError, Supervisor, follow_parent

ACCOUNTS = ("owner", "boxoffice", "gate", "ana", "bruno")
GRACE = 4.5  # seconds to end: first the processes, then the services
READY_WITHIN = 60.0  # seconds


class Command(BaseCommand):
    help = "Run the whole demo: services, migrations, demo data and all processes. Ctrl-C stops all of it."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port",
            type=int,
            default=settings.PORT,
            help="the port to listen on (default: PORT, or 8000 if PORT is not set)",
        )
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="the address to listen on")
        parser.add_argument(
            "--state", type=Path, default=settings.BASE_DIR / ".frontrow", help="the folder for data and logs"
        )
        parser.add_argument(
            "--with-parent", action="store_true", help="stop when the process that started this command ends"
        )

    def handle(self, *, port: int, host: str, state: Path, with_parent: bool, **_options: Any) -> None:
        if with_parent:
            follow_parent(Signals.SIGTERM)
        supervisor = Supervisor(say=self.say)
        with supervisor.signals():
            try:
                with preflight.only_one(preflight.state_folder(state.resolve())) as lock:
                    self.run(Site(supervisor, state.resolve(), lock, host, port))
            except StartupProblem as problem:
                raise CommandError(str(problem)) from problem
            except OSError as error:
                raise CommandError(f"{error}\nThe disk may be full, or {state} may not be writable.") from error

    def run(self, site: "Site") -> None:
        began = time.monotonic()
        try:
            site.open(self.say)
            self.greet(site, seconds=time.monotonic() - began)
            site.supervisor.run()
        except StopRequestedError:
            self.say("Stopping …")
        finally:
            site.close()
        self.say("Stopped.")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def greet(self, site: "Site", *, seconds: float) -> None:
        self.say(
            f"\nFrontrow is open after {seconds:.1f} s.\n\n"
            f"  Site      {site.address}\n"
            f"  API       {site.address}/api/docs\n"
            f"  Admin     {site.address}/admin/\n"
            f"  Accounts  {', '.join(ACCOUNTS)}; password frontrow-demo\n"
            f"  Logs      {site.logs}\n"
        )
        if site.two_ports:
            self.say(
                f"  Sockets   {site.live_address} (a port of their own, because there is more than one web process).\n"
                f"            For a crowd, put a proxy before both: /ws/ to {site.port + 1}, "
                f"everything else to {site.port}.\n"
            )
        self.say("Ctrl-C stops everything.")


class Site:
    """Run one Frontrow: its services, its environment, its processes."""

    def __init__(self, supervisor: Supervisor, state: Path, lock: int, host: str, port: int) -> None:
        self.supervisor = supervisor
        self.state, self.logs, self.lock = state, state / "log", lock
        self.host, self.port = host, port
        self.two_ports = settings.WEB_PROCESSES > 1
        shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 compared, not bound
        self.address, self.live_address = f"http://{shown}:{port}", f"http://{shown}:{port + 1}"
        self.environment: dict[str, str] = {}
        self.pulses = state / "pulse"

    def open(self, say: Callable[[str], None]) -> None:
        """Start everything, and wait until the site sells. Raises: StartupProblem, StopRequestedError."""
        self._check()
        self._start_services(say)
        self._prepare_database(say)
        self._empty_folder(self.pulses.name)
        say("Starting the processes …")
        self.supervisor.start([*self._doors(), *self._workers()])
        self.supervisor.until(self._sells, what=f"{self.address}/health/ready", seconds=READY_WITHIN, deaths=3)
        # Started last: on two cores they would delay the web processes
        self.supervisor.start(self._in_the_background(), join=True)
        self._tell_other_commands()

    def close(self) -> None:
        (self.state / "run.json").unlink(missing_ok=True)
        self.supervisor.stop(grace=GRACE)

    def _check(self) -> None:
        if os.environ.get("FRONTROW_ENV", "demo") == "production":
            raise StartupProblem(
                "FRONTROW_ENV says production, but `up` runs the demo, whose accounts have a public password.",
                "Start web, live, worker, worker --payments, worker --jobs, beat and relay with their own "
                "commands, or unset FRONTROW_ENV.",
            )
        for name in ("WEB_PROCESSES", "WORKER_PROCESSES"):
            if getattr(settings, name) < 1:
                raise StartupProblem(f"{name} is less than 1.", "No request would be served. Set it to 1 or more.")
        for port in (self.port, self.port + 1) if self.two_ports else (self.port,):
            preflight.require_free_port(self.host, port)

    def _start_services(self, say: Callable[[str], None]) -> None:
        given = os.environ
        services: list[Postgres | Valkey] = []
        self.environment = {
            **given,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "FRONTROW_ENV": "demo",
            "PORT": str(self.port),
            "SECRET_KEY": given.get("SECRET_KEY") or self._secret(),
            "SITE_URL": given.get("SITE_URL") or self.address,
            "PYTHONUNBUFFERED": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(self._empty_folder("metrics")),
            "STATIC_ROOT": given.get("STATIC_ROOT")
            or str(self._empty_folder("static")),  # the apps' own folders are served instead
        }
        if self.two_ports:
            self.environment.setdefault("LIVE_URL", self.live_address)
        if url := given.get("DATABASE_URL"):
            preflight.require_postgres(url)
        else:
            postgres = Postgres(self.state / "postgres", self.logs / "postgres.log")
            services.append(postgres)
        if url := given.get("REDIS_URL"):
            preflight.require_redis(url)
        else:
            valkey = Valkey(self.state / "valkey", self.logs / "valkey.log")
            services.append(valkey)
        if url := given.get("RABBITMQ_URL"):
            preflight.require_rabbitmq(url)
        self._start_embedded(services, say)

    def _start_embedded(self, services: list[Postgres | Valkey], say: Callable[[str], None]) -> None:
        if not services:
            return
        say(f"Starting {' and '.join(type(service).__name__ for service in services)} in {self.state} …")
        self.supervisor.start([service.program(hold=(self.lock,)) for service in services])
        for service in services:
            self.supervisor.until(service.ready, what=type(service).__name__, seconds=READY_WITHIN, deaths=4)
            if isinstance(service, Postgres):
                self.environment["DATABASE_URL"] = service.url()
                preflight.require_postgres(service.url())
            else:
                self.environment["REDIS_URL"] = service.url

    def _prepare_database(self, say: Callable[[str], None]) -> None:
        url = self.environment["DATABASE_URL"]
        if pending_migrations(url):
            say("Preparing the database …")
            self.supervisor.finish(self._program("migrate", "migrate", "--no-input"))
        if not has_demo(url):
            say("Adding the demo data: halls, films, sessions, accounts …")
            self.supervisor.finish(self._program("seed", "seed", "--profile", "demo"))

    def _doors(self) -> list[Program]:
        at = ("--host", self.host)
        if not self.two_ports:
            return [self._program("both", "both", *at, "--port", str(self.port))]
        workers = str(settings.WEB_PROCESSES)
        return [
            self._program("web", "web", *at, "--port", str(self.port), "--workers", workers),
            self._program("live", "live", *at, "--port", str(self.port + 1)),
        ]

    def _workers(self) -> list[Program]:
        return [self._with_pulse(f"worker-{number + 1}", "worker") for number in range(settings.WORKER_PROCESSES)]

    def _in_the_background(self) -> list[Program]:
        return [
            self._with_pulse("payments", "worker", "--payments"),
            self._with_pulse("jobs", "worker", "--jobs"),
            self._with_pulse("beat", "beat"),
            self._with_pulse("relay", "relay"),
        ]

    def _program(self, name: str, *words: str) -> Program:
        return Program(
            name=name,
            argv=[sys.executable, str(settings.BASE_DIR / "manage.py"), *words],
            env=self.environment,
            log=self.logs / f"{name}.log",
            hold=(self.lock,),
            folder=settings.BASE_DIR,
        )

    def _with_pulse(self, name: str, *words: str) -> Program:
        """Return a program that ends itself when its work hangs. The supervisor ends it if it cannot do even that."""
        program = self._program(name, *words)
        pulse = self.pulses / name
        return replace(program, pulse=pulse, env={**program.env, "PULSE_FILE": str(pulse)})

    def _sells(self) -> bool:
        """Tell whether all services answer, and an allocation worker too."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3)
        try:
            connection.request("GET", "/health/ready")
            checks = json.load(connection.getresponse())["checks"]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return False
        finally:
            connection.close()
        return all(checks[name]["status"] == "ok" for name in ("database", "cache", "broker", "worker"))

    def _secret(self) -> str:
        kept = self.state / "secret_key"
        if not kept.exists():
            write_private(kept, secrets.token_hex(32))
        return kept.read_text()

    def _empty_folder(self, name: str) -> Path:
        folder = self.state / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _tell_other_commands(self) -> None:
        """Write run.json for manage.py, so that `manage.py audit` or `shell` here finds the same services."""
        names = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "FRONTROW_ENV", "SITE_URL")
        shared = {name: self.environment[name] for name in names}
        write_private(self.state / "run.json", json.dumps({"process": os.getpid(), "environment": shared}))


def write_private(file: Path, text: str) -> None:
    """Write a file that only this user may read."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)


def pending_migrations(url: str) -> bool:
    """Tell whether the database lacks a migration. One query answers; `migrate` takes seconds to find nothing."""
    try:
        with psycopg.connect(url) as connection:
            applied = set(connection.execute("SELECT app, name FROM django_migrations").fetchall())
    except psycopg.errors.UndefinedTable:
        return True
    return bool(set(MigrationLoader(None).disk_migrations) - applied)


def has_demo(url: str) -> bool:
    """Tell whether the demo was seeded and some of its sessions are still to come."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT EXISTS (SELECT FROM ticketing_user WHERE upper(username) = 'OWNER')"
            " AND EXISTS (SELECT FROM sessions_app_session WHERE starts_at > now())"
        ).fetchone()
    return bool(found and found[0])
