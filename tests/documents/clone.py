"""Copy this clone, so that documented commands do the same as in a reader's clone and disturb nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.documents.blocks import ROOT
from tests.processes import free_port, healthy, shared_environment, until

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".frontrow", ".env", ".*_cache", ".hypothesis")
NAMED_BY_THE_BLOCK = {"DATABASE_URL", "REDIS_URL", "RABBITMQ_URL"}
OF_MAKE = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS"}  # variables of the `make` that runs these tests


@dataclass
class Clone:
    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        shutil.copytree(ROOT, self.folder, ignore=LEFT_OUT)
        (self.folder / ".frontrow").mkdir()
        (self.folder / ".venv").symlink_to(ROOT / ".venv")
        (self.folder / ".frontrow/uv").symlink_to(ROOT / ".frontrow/uv")
        shared = {
            name: value for name, value in shared_environment().items() if name not in NAMED_BY_THE_BLOCK | OF_MAKE
        }
        self.environment = shared | {"PORT": str(self.port), "WORKER_PROCESSES": "1"}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def run(self, script: str, **environment: str) -> str:
        """Return the output of a script; fail if the script fails."""
        ended = subprocess.run(
            ["bash", "-c", script],  # noqa: S607
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-3_000:]
        return ended.stdout


@contextmanager
def demo(clone: Clone, script: str) -> Iterator[None]:
    """Run the demo that a script starts in the clone; Ctrl-C stops it."""
    output = clone.folder / ".frontrow/demo.out"
    with (
        output.open("w") as stdout,
        subprocess.Popen(
            ["bash", "-c", script],  # noqa: S607
            cwd=clone.folder,
            env=clone.environment,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as shell,
    ):
        try:
            # The payment worker starts after the web processes.
            until(
                lambda: "payments" in healthy(clone.port) or shell.poll() is not None,
                seconds=120,
                what="the demo's opening",
            )
            assert shell.poll() is None, output.read_text()
            yield
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGINT)
    assert "Stopped." in output.read_text()


def with_services(script: str, services: Mapping[str, str]) -> str:
    """Return the script with the tests' own services in the place of the reader's."""
    lines = script.splitlines()
    named = [line.removeprefix("export ").partition("=")[0] for line in lines if line.startswith("export ")]
    assert set(named) == NAMED_BY_THE_BLOCK
    return "\n".join(
        [f"export {name}='{services[name]}'" for name in named]
        + [line for line in lines if not line.startswith("export ")]
    )
