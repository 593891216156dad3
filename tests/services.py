"""Provide the services of a test run: those found on their usual ports, or embedded ones.

This pytest plugin is loaded before Django reads its settings. Services that are found are used under names of our own:
a database, a Redis database, a key prefix and a RabbitMQ virtual host that belong to this clone, and to this run if
several go on at once. Each of pytest-xdist's workers is a run of its own. FRONTROW_TEST_SERVICES=embedded uses embedded
services whatever the machine has.

PostgreSQL and Redis are always there. Tests marked `rabbitmq`, `journey` or `typescript` need what only some machines
have. Without it they are skipped with a loud line, and in CI (CI=true) that is a failure, except for TypeScript.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from amqp.exceptions import AMQPError
from kombu import Connection
from psycopg import sql

from config.run import preflight
from config.run.embedded import Postgres, Valkey
from config.run.supervisor import Child

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".frontrow" / "test"
TYPESCRIPT = ROOT / ".frontrow" / "typescript" / "node_modules"
OLDEST_POSTGRES = 150000
RUNS_AT_ONCE = 4  # each has three of Redis' sixteen databases; the first three belong to the machine
CI = os.environ.get("CI") == "true"
EMBEDDED = os.environ.get("FRONTROW_TEST_SERVICES") == "embedded"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LEFT_OUT = {
    "rabbitmq": "RabbitMQ (127.0.0.1:5672 or RABBITMQ_URL)",
    "journey": "Chromium (on the PATH or FRONTROW_CHROMIUM)",
    "typescript": "what `make typescript` installs with node and npm",
}
WHERE = ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL")
# Variables that a developer may have exported for a running site and that would change the tests
OF_THE_SHELL = {
    "ALLOWED_HOSTS",
    "CACHE_URL",
    "CELERY_BROKER_URL",
    "CORS_ALLOWED_ORIGINS",
    "CSRF_TRUSTED_ORIGINS",
    "HOST",
    "QUEUE",
    "LIVE_URL",
    "LOG_LEVEL",
    "METRICS_PORT",
    "PORT",
    "PROMETHEUS_MULTIPROC_DIR",
    "PYTHONDONTWRITEBYTECODE",
    "RATE_LIMITS",
    "SECRET_KEY",
    "SHARDS",
    "SITE_URL",
    "TIME_ZONE",
    "TRUSTED_PROXIES",
    "WEB_PROCESSES",
    "WEB_THREADS",
    "WEB_WAITING",
    "WORKER_PROCESSES",
}


@dataclass
class Services:
    """Hold the services' addresses as the settings' variables spell them. `database_url` names an existing database."""

    name: str
    database_url: str
    redis_url: str
    chromium: str | None
    broker_url: str = field(repr=False)
    described: list[str] = field(default_factory=list)
    embedded: list[Postgres | Valkey] = field(default_factory=list)

    @cached_property
    def rabbitmq_url(self) -> str:
        """Return the URL of this run's own virtual host, or nothing without RabbitMQ."""
        return own_virtual_host(self.broker_url, self.name) if self.broker_url else ""

    def lacks(self, marker: str) -> bool:
        has = {"rabbitmq": self.broker_url, "journey": self.chromium, "typescript": has_typescript()}
        return not has[marker]


def has_typescript() -> bool:
    return bool(shutil.which("node")) and (TYPESCRIPT / "typescript").is_dir()


@cache
def current() -> Services:
    """Return this run's services; they are found or chosen once."""
    slot = our_slot().number
    name = f"frontrow_test_{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}_{slot}"
    services = Services(name=name, database_url="", redis_url="", chromium=find_chromium(), broker_url=find_rabbitmq())
    use_postgres(services, slot)
    use_redis(services, slot)
    services.described.append(f"RabbitMQ: {address(services.broker_url) if services.broker_url else 'none'}")
    services.described.append(f"Chromium: {services.chromium or 'none'}")
    return services


@dataclass(frozen=True)
class Slot:
    """Reserve a number that no other run of this clone has.

    The descriptor's lock lasts as long as we and our services.
    """

    number: int
    lock: int


@cache
def our_slot() -> Slot:
    try:
        preflight.state_folder(STATE.parent)
    except preflight.StartupProblem as problem:
        raise pytest.UsageError(str(problem)) from problem
    STATE.mkdir(exist_ok=True)
    for number in range(64):
        lock = os.open(STATE / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return Slot(number, lock)
    raise pytest.UsageError(f"64 test runs at once hold {STATE}. Wait until some of them end, then try again.")


def use_postgres(services: Services, slot: int) -> None:
    url = os.environ.get("DATABASE_URL") or "postgres://postgres@127.0.0.1:5432/postgres"
    found, server = (False, "") if EMBEDDED else reach_postgres(url)
    if found:
        services.database_url = beside(url, services.name)
        services.described.append(f"PostgreSQL: {server} found at {address(url)}")
        return
    if CI and not EMBEDDED:
        raise pytest.UsageError(f"CI needs a real PostgreSQL 15 or later at {address(url)}: {server}")
    embedded = Postgres(STATE / str(slot) / "postgres", STATE / str(slot) / "postgres.log", durable=False)
    services.embedded.append(embedded)
    services.described.append(f"PostgreSQL: embedded at port {embedded.port}" + (f" ({server})" if server else ""))
    embedded.folder.mkdir(parents=True, exist_ok=True)
    services.database_url = embedded.url(services.name)


def reach_postgres(url: str) -> tuple[bool, str]:
    """Tell whether PostgreSQL lets us make databases; with its version, or the reason."""
    try:
        with psycopg.connect(url, dbname="postgres", connect_timeout=2) as connection:
            if connection.info.server_version < OLDEST_POSTGRES:
                return False, f"the one at {address(url)} is older than 15"
            return True, str(connection.info.parameter_status("server_version"))
    except psycopg.OperationalError as error:
        return False, str(error).strip().splitlines()[-1]


def use_redis(services: Services, slot: int) -> None:
    given = os.environ.get("REDIS_URL")
    url = given or f"redis://127.0.0.1:6379/{3 + 3 * (slot % RUNS_AT_ONCE)}"
    if not EMBEDDED:
        try:
            with redis.Redis.from_url(url, socket_timeout=2) as client:
                version = client.info("server")["redis_version"]
        except redis.RedisError as error:
            if CI:
                raise pytest.UsageError(f"CI needs a real Redis at {address(url)}: {error}") from error
        else:
            services.redis_url = url
            services.described.append(f"Redis: {version} found at {address(url)}")
            return
    embedded = Valkey(STATE / str(slot) / "valkey", STATE / str(slot) / "valkey.log", durable=False)
    embedded.folder.mkdir(parents=True, exist_ok=True)
    services.embedded.append(embedded)
    services.described.append(f"Redis: embedded Valkey at port {embedded.port}")
    services.redis_url = embedded.url


def find_rabbitmq() -> str:
    """Return the URL of a RabbitMQ that accepts us, or nothing."""
    url = os.environ.get("RABBITMQ_URL") or "amqp://guest:guest@127.0.0.1:5672//"
    try:
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()
    except (OSError, AMQPError):
        return ""
    return "" if EMBEDDED else url


def own_virtual_host(url: str, name: str) -> str:
    """Make a fresh virtual host if we may administer RabbitMQ; otherwise use the given one, with our key prefix."""
    control = shutil.which("rabbitmqctl", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if control is None or os.environ.get("RABBITMQ_URL"):
        return url
    user = urllib.parse.urlsplit(url).username or "guest"
    rights = ["set_permissions", "-p", name, user, ".*", ".*", ".*"]
    for words in (["delete_vhost", name], ["add_vhost", name], rights):
        done = subprocess.run([control, "-q", *words], check=False, capture_output=True)
        if done.returncode and words != ["delete_vhost", name]:
            return url
    return urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()


def give_up_virtual_host(name: str) -> None:
    """Delete the virtual host, because hundreds of runs' queues would slow RabbitMQ down."""
    control = shutil.which("rabbitmqctl", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert control
    subprocess.run([control, "-q", "delete_vhost", name], check=False, capture_output=True)


def find_chromium() -> str | None:
    return os.environ.get("FRONTROW_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def address(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}"


def start(services: Services) -> list[Child]:
    """Start the embedded services, make the database, and delete what an earlier run left under our names."""
    children = []
    for service in services.embedded:
        service.folder.mkdir(parents=True, exist_ok=True)
        child = Child(service.program(hold=(our_slot().lock,)))
        child.start()
        children.append(child)
        wait_until(service.ready, child)
    with psycopg.connect(services.database_url, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(services.name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(services.name)))
    with redis.Redis.from_url(services.redis_url) as client:
        for key in client.scan_iter(f"*{services.name}*", count=1_000):
            client.delete(key)
    return children


@cache
def template() -> str:
    """Return the name of a database with Frontrow's tables, to copy: a migration costs seconds, a copy tenths of one.

    Runs of this clone share it on a shared server. The first run after a new migration makes it again.
    """
    family = f"frontrow_tables_{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}_"
    name = family + hashlib.sha256(b"".join(path.read_bytes() for path in migrations())).hexdigest()[:12]
    with (STATE / "template.lock").open("w") as lock, psycopg.connect(home(), autocommit=True) as connection:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = {
            row[0]
            for row in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{family}%"])
        }
        if name in found:
            return name
        for stale in found:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(stale)))
        unready = sql.Identifier(f"{family}unready")
        connection.execute(sql.SQL("CREATE DATABASE {}").format(unready))
        migrate(beside(current().database_url, f"{family}unready"))
        connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(unready, sql.Identifier(name)))
    return name


def migrations() -> list[Path]:
    return sorted(ROOT.glob("*/migrations/*.py"))


def migrate(url: str) -> None:
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=dict(os.environ) | {"DATABASE_URL": url}, check=True)


def home() -> str:
    """Return the URL of a database that always exists and that is never copied."""
    return beside(current().database_url, "postgres")


def beside(url: str, database: str) -> str:
    """Return the URL of another database of the same server."""
    return urllib.parse.urlsplit(url)._replace(path=f"/{database}").geturl()


def stop(children: list[Child]) -> None:
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.gone_by(time.monotonic() + 10)


def wait_until(ready: Callable[[], bool], child: Child, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if child.died() is not None or time.monotonic() > deadline:
            raise pytest.UsageError(f"{child.name} doesn't start:\n{child.last_words()}")
        time.sleep(0.05)


# --- The pytest plugin


def pytest_addoption() -> None:
    """Set the environment in the earliest hook: Django's settings are read after it."""
    for variable in OF_THE_SHELL:
        os.environ.pop(variable, None)
    look_where_we_were_told()
    os.environ.setdefault("FRONTROW_RACE_ROUNDS", "20")
    os.environ.setdefault("REDIS_TIMEOUT_MS", "2000")  # a busy machine is not an outage
    os.environ.setdefault("BROKER_TIMEOUT_MS", "3000")
    os.environ.setdefault("DB_POOL_SECONDS", "10")  # fifty racers share a pool of eight
    services = current()
    os.environ.update(
        DATABASE_URL=services.database_url,
        REDIS_URL=services.redis_url,
        RABBITMQ_URL="",  # for processes that a test starts, and for tests that publish: `current().rabbitmq_url`
        KEY_PREFIX=services.name,
        FRONTROW_ENV="test",
        QUEUE="in_process",
        COPY_MS="0",  # what a test has just changed, it sees; processes that a test starts have a site's own second
    )


def look_where_we_were_told() -> None:
    """Restore the environment of the controller, because a worker inherits the controller's changes."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ["FRONTROW_TEST_GIVEN"] = json.dumps({name: os.environ.get(name, "") for name in WHERE})
    else:
        os.environ.update(json.loads(os.environ["FRONTROW_TEST_GIVEN"]))


def pytest_report_header() -> list[str]:
    return [f"services: {', '.join(current().described)}"]


@pytest.hookimpl(wrapper=True)
def pytest_sessionstart(session: pytest.Session) -> Iterator[None]:
    # with xdist, its workers run the tests, each with services of its own
    if not session.config.getoption("numprocesses"):
        running.extend(start(current()))
    yield


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    if (own := vars(current()).get("rabbitmq_url")) and own != current().broker_url:
        give_up_virtual_host(current().name)
    stop(running)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and remember it for the summary; skip chaos unless `-m` names it."""
    if "chaos" not in config.getoption("markexpr"):
        long = [item for item in items if item.get_closest_marker("chaos")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    for marker, need in LEFT_OUT.items():
        out = [item for item in items if item.get_closest_marker(marker)] if current().lacks(marker) else []
        if out and CI and not EMBEDDED:
            raise pytest.UsageError(f"CI must run {len(out)} tests that need {need}.")
        if out:
            items[:] = [item for item in items if item not in out]
            config.hook.pytest_deselected(items=out)
            missing.append(f"{len(out)} tests did NOT run: they need {need}.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if said := getattr(session.config, "workeroutput", None):
        said["missing"] = missing


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Note what the workers left out, which is the same for all. A crashed worker cannot report it."""
    missing.extend(line for line in getattr(node, "workeroutput", {}).get("missing", []) if line not in missing)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in missing:
        terminalreporter.write_line(f"!!! {line}", red=True, bold=True)


running: list[Child] = []
missing: list[str] = []
