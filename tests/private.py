"""Run a test's own Redis and RabbitMQ, which it may stop, freeze and kill. `bench.private` has the PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from amqp.exceptions import AMQPError
from kombu import Connection

from bench.processes import free_port, until
from config.run.embedded import Valkey
from config.run.supervisor import Child

PATIENCE = 120.0  # seconds for RabbitMQ to start on a busy machine


class PrivateRedis:
    def __init__(self, folder: Path) -> None:
        self._service = Valkey(folder / "valkey", folder / "valkey.log", durable=True)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return self._service.url

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self.stop()

    def start(self) -> None:
        self._child = Child(self._service.program())
        self._child.start()
        until(self._service.ready, seconds=30, what="a Valkey of our own")

    def stop(self) -> None:
        if self._child:
            self._child.ask_to_stop()
            self._child.gone_by(time.monotonic() + 10)
            self._child = None

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._child and self._child.process:
            self._child.process.send_signal(number)


class PrivateRabbitMQ:
    """Run one node with its own name, ports and folders, and Erlang's port mapper. After a kill it keeps its queues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._mapper_port = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._node: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text("")
        self._mapper = self._run("epmd", "-address", "127.0.0.1", "-port", str(self._mapper_port))
        self.start()
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._mapper:
            self._mapper.kill()
            self._mapper.wait()

    def start(self) -> None:
        self._node = self._run(server())

    def wait(self) -> None:
        """Wait until it answers like a broker. Raises: NotInTimeError."""
        until(self.answers, seconds=PATIENCE, every=0.2, what="a RabbitMQ of our own")

    def kill(self) -> None:
        """Kill it with SIGKILL, like a power cut."""
        if self._node:
            os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait()
            self._node = None

    def answers(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
        except (OSError, AMQPError):
            return False
        return True

    def _run(self, *program: str) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),  # folder of Erlang's cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"frontrow{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        with (self.folder / "rabbitmq.log").open("ab") as log:
            return subprocess.Popen(
                program, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )


def server() -> str:
    """Return the program itself, because Debian's wrapper changes the user and the folders."""
    own = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    return own if Path(own).exists() else str(shutil.which("rabbitmq-server", path=f"{os.environ['PATH']}:/usr/sbin"))
