"""Check what must be true before anything starts. Each failure says what to do."""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from amqp.exceptions import AMQPError
from kombu import Connection
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

ROOM = 300 * 2**20  # bytes for a new database, its write-ahead log and the logs
ORPHANS_END, ORPHANS_KILLED = 10.0, 2.0  # seconds that an earlier run's children get to end
ANSWER = 3  # seconds that a service gets to answer


class StartupProblem(Exception):
    """Report a problem that the operator can solve, and how."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Account:
    """Name a user of the operating system."""

    uid: int
    gid: int


def unprivileged(data: Path) -> Account | None:
    """Return the account for PostgreSQL, which refuses root: the data's owner or `nobody`. None: this user will do."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StartupProblem(
            "PostgreSQL refuses to run as root, and this system has no user `nobody` to run it as.",
            "Run as an ordinary user, or point DATABASE_URL at your own PostgreSQL.",
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def state_folder(folder: Path) -> Path:
    """Make the folder that holds data and logs. Raises: StartupProblem."""
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except PermissionError:
        raise StartupProblem(
            f"This user cannot write to {folder}.",
            "Another user, perhaps root, ran Frontrow here before. Give the folder back: "
            f"sudo chown -R $(id -u) {folder}",
        ) from None
    except OSError as error:
        raise StartupProblem(
            f"{folder} cannot be written: {error.strerror}.", "Free some space, or clone to another place."
        ) from error
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise StartupProblem(
            f"{folder} has {free // 2**20} MB left on its disk, but a database needs {ROOM // 2**20} MB.",
            "Free some space, or clone to another disk.",
        )
    return folder


@contextmanager
def only_one(folder: Path) -> Iterator[int]:
    """Lock this clone for this process, and wait for the last children of a killed run.

    It yields a descriptor for the children to inherit. Its lock lasts until the last of them has ended.
    """
    with (folder / "up.lock").open("a+") as ours, (folder / "children.lock").open("a+") as theirs:
        if not _locked(ours.fileno()):
            ours.seek(0)
            raise StartupProblem(
                f"Frontrow already runs in this clone: {ours.read().strip()}",
                "Use that one, or stop it first (with Ctrl-C in its terminal, or `kill` and its number).",
            )
        if not _locked(theirs.fileno()):
            _wait_for(theirs.fileno(), folder / "children.lock")
        ours.truncate(0)
        ours.write(f"process {os.getpid()}")
        ours.flush()
        yield theirs.fileno()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(descriptor: int, lock: Path) -> None:
    """Wait until a killed supervisor's children have ended. The kernel tells them to stop; kill the rest."""
    for patience in (ORPHANS_END, ORPHANS_KILLED):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if _locked(descriptor):
                return
            time.sleep(0.05)
        for process in _holders(lock):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    raise StartupProblem(
        f"Processes of an earlier run still hold {lock}: {_holders(lock)}.", "End them with `kill -9`, then try again."
    )


def _holders(lock: Path) -> list[int]:
    """Return the other processes that have this file open, as far as /proc shows them."""
    found = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if descriptor.readlink() == lock and int(descriptor.parts[2]) != os.getpid():
                found.append(int(descriptor.parts[2]))
    return found


def free_port() -> int:
    """Return a loopback port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free_port(host: str, port: int) -> None:
    """Check that the port can be used. Raises: StartupProblem."""
    if not 0 < port < 65536:
        raise StartupProblem(
            f"PORT={port} is not a port number.", "Choose a port from 1024 to 65535: make run PORT=8001"
        )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise StartupProblem(
                f"Only root can use port {port} on this system.", "Choose a port above 1023: make run PORT=8001"
            ) from None
        except OSError as error:
            raise StartupProblem(
                f"{host}:{port} cannot be used: {error.strerror}.", f"Choose another port: make run PORT={port + 10}"
            ) from error


def require_postgres(url: str) -> None:
    """Check that PostgreSQL answers and has the database or lets us make it. Raises: StartupProblem."""
    wanted = conninfo_to_dict(url)
    try:
        with psycopg.connect(url, connect_timeout=ANSWER):
            return
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            raise StartupProblem(
                f"DATABASE_URL: PostgreSQL does not accept the connection at {without_password(url)}: {error}".rstrip(),
                "Start PostgreSQL, correct DATABASE_URL, or unset DATABASE_URL to use the embedded one.",
            ) from error
    create_database(url, str(wanted["dbname"]))


def create_database(url: str, name: str) -> None:
    """Make the database. Raises: StartupProblem."""
    try:
        with psycopg.connect(url, dbname="postgres", autocommit=True, connect_timeout=ANSWER) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise StartupProblem(
            f"DATABASE_URL: there is no database {name!r}, and this user cannot make it: {error}".rstrip(),
            f"Ask an administrator to run: CREATE DATABASE {name} OWNER …",
        ) from error


def require_redis(url: str) -> None:
    """Check that Redis answers. Raises: StartupProblem."""
    try:
        with redis.Redis.from_url(url, socket_timeout=ANSWER, socket_connect_timeout=ANSWER) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise StartupProblem(
            f"REDIS_URL: Redis does not answer at {without_password(url)}: {error}",
            "Start Redis, correct REDIS_URL, or unset REDIS_URL to use the embedded one.",
        ) from error


def require_rabbitmq(url: str) -> None:
    """Check that RabbitMQ answers. Raises: StartupProblem."""
    try:
        with Connection(url, connect_timeout=ANSWER) as connection:
            connection.connect()
    except (OSError, AMQPError) as error:
        raise StartupProblem(
            f"RABBITMQ_URL: RabbitMQ does not accept the connection at {without_password(url)}: {error}",
            "Start RabbitMQ, correct RABBITMQ_URL, or unset RABBITMQ_URL to use the inbox in PostgreSQL as the queue.",
        ) from error


def without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.password is None:
        return url
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))
