"""Check `manage.py up` as a person uses it: started, watched, killed, started again."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.run.preflight import free_port
from tests.config.run.test_supervisor import gone
from tests.processes import until

ROOT = Path(__file__).resolve().parents[2]
NAMED_SERVICES = {"DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "QUEUE", "KEY_PREFIX", "FRONTROW_ENV"}
COLD, WARM, STOPPED = 120.0, 60.0, 15.0  # seconds, on a machine that also runs other tests


@dataclass
class Demo:
    """Hold a clone's state folder and the `up` that runs in it."""

    state: Path
    port: int
    running: subprocess.Popen[str] | None = None

    def start(self, **environment: str) -> subprocess.Popen[str]:
        embedded = {name: value for name, value in os.environ.items() if name not in NAMED_SERVICES}
        command = [sys.executable, "manage.py", "up", "--port", str(self.port), "--state", str(self.state)]
        with (self.state.parent / "up.out").open("w") as output:
            self.running = subprocess.Popen(
                command, cwd=ROOT, env=embedded | environment, stdout=output, stderr=subprocess.STDOUT, text=True
            )
        return self.running

    @property
    def said(self) -> str:
        return (self.state.parent / "up.out").read_text()

    def open_within(self, seconds: float) -> None:
        assert self.running
        until(lambda: "is open" in self.said or self.ended, seconds=seconds, what=f"its opening\n{self.said}")
        assert not self.ended, self.said

    @property
    def ended(self) -> bool:
        return self.running is None or self.running.poll() is not None

    def checks(self) -> dict[str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/health")
        found = json.load(connection.getresponse())["checks"]
        connection.close()
        return {name: check["status"] for name, check in found.items()}

    def processes(self) -> dict[str, int]:
        """Return its children by their arguments."""
        assert self.running
        told = "ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.running.pid)
        found = {}
        for line in subprocess.run(told, check=False, capture_output=True, text=True).stdout.splitlines():
            process, *words = line.split()
            last = words.index(next((word for word in words if word.endswith("manage.py")), words[0]))
            found[" ".join(words[last + 1 : last + 3]) if last else Path(words[0]).name] = int(process)
        return found

    def stop(self) -> None:
        if self.running and self.running.poll() is None:
            self.running.send_signal(signal.SIGTERM)
            self.running.wait(STOPPED)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Provide a demo that is seeded once for all tests of this module, which may leave it running or stopped."""
    demo = Demo(tmp_path_factory.mktemp("clone") / ".frontrow", free_port())
    yield demo
    demo.stop()


@pytest.fixture
def opened(demo: Demo) -> Demo:
    if demo.ended:
        demo.start()
        demo.open_within(COLD)
    return demo


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
class TestUp:
    def test_up_opens_with_everything_in_place_and_says_where(self, opened: Demo) -> None:
        assert f"http://127.0.0.1:{opened.port}" in opened.said
        assert "owner, boxoffice, gate, ana, bruno; password frontrow-demo" in opened.said
        assert {opened.checks()[name] for name in ("database", "cache", "broker", "worker")} == {"ok"}
        wanted = {
            "postgres",
            "valkey-server",
            "both --host",
            "worker",
            "worker --payments",
            "worker --jobs",
            "beat",
            "relay",
        }
        until(lambda: wanted <= opened.processes().keys(), what=f"{wanted} among {opened.processes()}")

    def test_up_refuses_a_second_run_of_the_same_clone(self, opened: Demo) -> None:
        second = Demo(opened.state, free_port())
        first = opened.running
        said = subprocess.run(
            [sys.executable, "manage.py", "up", "--port", str(second.port), "--state", str(second.state)],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert first is not None
        assert said.returncode == 1
        assert f"already runs in this clone: process {first.pid}" in said.stderr

    def test_up_starts_a_killed_worker_again(self, opened: Demo) -> None:
        until(lambda: "worker" in opened.processes(), what="the worker")
        before = opened.processes()["worker"]
        os.kill(before, signal.SIGKILL)
        until(lambda: opened.processes().get("worker", before) != before, seconds=20, what="another worker")
        until(lambda: opened.checks()["worker"] == "ok", seconds=30, what="its heartbeat")
        assert "worker-1 ended (signal SIGKILL) and starts again in" in opened.said

    def test_killed_up_leaves_nothing_running_and_starts_again(self, opened: Demo) -> None:
        left = opened.processes()
        assert opened.running is not None
        opened.running.kill()
        opened.running.wait()
        until(lambda: all(gone(process) for process in left.values()), seconds=STOPPED, what=f"the end of {left}")
        opened.start()
        opened.open_within(WARM)
        assert "Adding the demo data" not in opened.said, "what was seeded is still there"

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_up_stops_everything_when_asked(self, opened: Demo, number: signal.Signals) -> None:
        left = opened.processes()
        assert opened.running is not None
        opened.running.send_signal(number)
        assert opened.running.wait(STOPPED) == 0
        assert all(gone(process) for process in left.values())
        assert opened.said.endswith("Stopping …\nStopped.\n")


def test_up_in_production_is_refused(tmp_path: Path) -> None:
    demo = Demo(tmp_path / ".frontrow", free_port())
    demo.start(FRONTROW_ENV="production", SECRET_KEY="x" * 40, SANDBOX_IN_PRODUCTION="on")
    assert demo.running is not None
    assert demo.running.wait(30) == 1
    assert "`up` runs the demo" in demo.said


def test_up_on_a_port_in_use_says_so_and_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = Demo(tmp_path / ".frontrow", taken.getsockname()[1])
        demo.start()
        assert demo.running is not None
        assert demo.running.wait(30) == 1
    assert "Address already in use" in demo.said
    assert not (tmp_path / ".frontrow" / "postgres").exists()
