"""Use the environment's PostgreSQL, Redis and RabbitMQ under names of the benchmark's own, and clean up at the end.

Other data on the servers must not influence the results. So databases are made and dropped, keys carry a prefix, and
RabbitMQ gets a virtual host of its own if this user may administer it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import kombu
import psycopg
import redis
from amqp.exceptions import AMQPError

from bench.processes import Processes, fresh_database

POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
REDIS = "redis://127.0.0.1:6379/15"  # the last of Redis' databases, which is used least often
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
PREFIX = "frontrow_bench"
# Variables that a shell may have exported for a running site and that would change the results
OF_THE_SHELL = (
    "ALLOWED_HOSTS",
    "CELERY_BROKER_URL",
    "DIFFS_A_SECOND",
    "DJANGO_SETTINGS_MODULE",
    "HOST",
    "QUEUE",
    "METRICS_PORT",
    "PORT",
    "PROMETHEUS_MULTIPROC_DIR",
    "WEB_PROCESSES",
    "WORKER_PROCESSES",
)


class NoService(Exception):
    """Report that PostgreSQL, Redis or RabbitMQ cannot be reached."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Describe the services.

    `home` is a database that exists already, `template` the name of one with Frontrow's tables and no rows.
    """

    home: str
    template: str
    redis_url: str
    rabbitmq_url: str
    prefix: str
    versions: Mapping[str, str]

    def environment(self, database: str) -> dict[str, str]:
        """Return the environment of every measured process."""
        return {name: value for name, value in os.environ.items() if name not in OF_THE_SHELL} | {
            "DATABASE_URL": database,
            "REDIS_URL": self.redis_url,
            "CACHE_URL": self.redis_url,
            "RABBITMQ_URL": self.rabbitmq_url,
            "KEY_PREFIX": self.prefix,
            "FRONTROW_ENV": "demo",
            "RATE_LIMITS": "off",
            "LOG_LEVEL": os.environ.get("LOG_LEVEL") or "WARNING",
        }

    @property
    def template_url(self) -> str:
        return urllib.parse.urlsplit(self.home)._replace(path=f"/{self.template}").geturl()

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Yield the URL of a fresh database with Frontrow's tables."""
        with fresh_database(self.home, prefix=f"{PREFIX}_{name}", template=self.template) as url:
            yield url


@contextlib.contextmanager
def borrowed(logs: Path) -> Iterator[Services]:
    """Borrow the services while the block runs. Raises: NoService."""
    home = os.environ.get("DATABASE_URL") or POSTGRES
    redis_url = os.environ.get("REDIS_URL") or REDIS
    rabbitmq_url = os.environ.get("RABBITMQ_URL") or RABBITMQ
    versions = {"postgresql": postgres_version(home), "redis": redis_version(redis_url)}
    versions["rabbitmq"] = rabbitmq_version(rabbitmq_url)
    prefix = f"{PREFIX}_{uuid.uuid4().hex[:8]}"
    with (
        virtual_host(rabbitmq_url, prefix) as own_rabbitmq,
        fresh_database(home, prefix=f"{PREFIX}_template") as template,
        keys_forgotten(redis_url, prefix),
    ):
        services = Services(
            home=home,
            template=urllib.parse.urlsplit(template).path.strip("/"),
            redis_url=redis_url,
            rabbitmq_url=own_rabbitmq,
            prefix=prefix,
            versions=versions,
        )
        Processes(folder=logs, environment=services.environment(template)).manage("migrate", "--verbosity", "0")
        yield services


def postgres_version(url: str) -> str:
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            return str(connection.info.parameter_status("server_version")).split()[0]
    except psycopg.OperationalError as error:
        raise NoService(f"PostgreSQL (DATABASE_URL): {str(error).strip().splitlines()[-1]}") from error


def redis_version(url: str) -> str:
    try:
        with redis.Redis.from_url(url, socket_timeout=10) as client:
            return str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        raise NoService(f"Redis (REDIS_URL): {error}") from error


def rabbitmq_version(url: str) -> str:
    try:
        with kombu.Connection(url, connect_timeout=10) as connection:
            connection.connect()
            return str(connection.connection.server_properties["version"])
    except (OSError, AMQPError) as error:
        raise NoService(f"RabbitMQ (RABBITMQ_URL): {error}") from error


@contextlib.contextmanager
def virtual_host(url: str, name: str) -> Iterator[str]:
    """Yield a virtual host of our own if rabbitmqctl obeys us.

    Otherwise yield the given one, and delete our queues in it.
    """
    control = shutil.which("rabbitmqctl", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    user = urllib.parse.urlsplit(url).username or "guest"
    rights = ["set_permissions", "-p", name, user, ".*", ".*", ".*"]
    if control and not os.environ.get("RABBITMQ_URL") and said(control, "add_vhost", name) and said(control, *rights):
        try:
            yield urllib.parse.urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            said(control, "delete_vhost", name)
        return
    try:
        yield url
    finally:
        delete_queues(url, name)


def said(control: str, *words: str) -> bool:
    """Tell whether rabbitmqctl succeeded."""
    return subprocess.run([control, "-q", *words], check=False, capture_output=True).returncode == 0


def delete_queues(url: str, prefix: str) -> None:
    """Delete the queues that the site and the usual way declare."""
    holds = [f"holds.{shard}" for shard in range(int(os.environ.get("SHARDS") or 1))]
    jobs = [f"{job}{ending}" for job in ("payments", "housekeeping", "mail") for ending in ("", ".given_up")]
    names = [*holds, "holds.dead", "holds.given_up", *jobs, "events.mail", "usual"]
    with kombu.Connection(url) as connection:
        channel = connection.default_channel
        for name in names:
            channel.queue_delete(f"{prefix}.{name}")
        for name in ("work", "dead", "events"):
            channel.exchange_delete(f"{prefix}.{name}")


@contextlib.contextmanager
def keys_forgotten(url: str, prefix: str) -> Iterator[None]:
    try:
        yield
    finally:
        with redis.Redis.from_url(url) as client:
            forget_keys(client, prefix)


def forget_keys(client: redis.Redis, prefix: str) -> None:
    batch: list[str] = []
    for key in client.scan_iter(f"{prefix}*", count=5_000):
        batch.append(key)
        if len(batch) == 5_000:
            client.unlink(*batch)
            batch.clear()
    if batch:
        client.unlink(*batch)
