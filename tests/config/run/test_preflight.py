"""Check what must be true before anything starts, and the message if it is not."""

import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from config.run import preflight
from config.run.preflight import StartupProblem
from tests import services
from tests.config.run.test_supervisor import gone

ROOT = Path(__file__).resolve().parents[3]
NOBODY_LISTENS = 1  # a port


class TestStateFolder:
    def test_state_folder_is_made_once_and_kept(self, tmp_path: Path) -> None:
        folder = preflight.state_folder(tmp_path / ".frontrow")
        (folder / "data").write_text("kept")
        assert (preflight.state_folder(folder) / "data").read_text() == "kept"

    def test_state_folder_on_a_full_disk_says_how_much_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=7 * 2**20))
        with pytest.raises(StartupProblem, match="7 MB left"):
            preflight.state_folder(tmp_path / ".frontrow")

    def test_state_folder_that_cannot_be_written_says_who_can_help(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_arguments: Any, **_options: Any) -> None:
            raise PermissionError(13, "Permission denied")

        # root may write anywhere, so permissions would prove nothing here
        monkeypatch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(StartupProblem, match="chown"):
            preflight.state_folder(tmp_path / ".frontrow")

    def test_state_folder_that_is_no_folder_says_why(self, tmp_path: Path) -> None:
        (tmp_path / ".frontrow").write_text("a file")
        with pytest.raises(StartupProblem, match="File exists"):
            preflight.state_folder(tmp_path / ".frontrow")


HOLDS = """
import sys, time
from pathlib import Path
from config.run import preflight
with preflight.only_one(Path({folder!r})) as lock:
    print("held", flush=True)
    time.sleep(60)
"""
INHERITS = """
import subprocess, sys
from pathlib import Path
from config.run import preflight
with preflight.only_one(Path({folder!r})) as lock:
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock], stdout=-3)
    print(orphan.pid, flush=True)
"""


class TestOnlyOne:
    def test_second_run_is_refused_and_told_of_the_first(self, tmp_path: Path) -> None:
        code = HOLDS.format(folder=str(tmp_path))
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == "held\n"
            with pytest.raises(StartupProblem, match=f"already runs.*{first.pid}"), preflight.only_one(tmp_path):
                pass
            first.kill()

    def test_killed_run_is_forgotten(self, tmp_path: Path) -> None:
        code = HOLDS.format(folder=str(tmp_path))
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout is not None
            first.stdout.readline()
            first.kill()
        with preflight.only_one(tmp_path):
            assert (tmp_path / "up.lock").read_text() == f"process {os.getpid()}"

    def test_run_ends_the_orphans_of_a_killed_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight, "ORPHANS_END", 0.2)
        code = INHERITS.format(folder=str(tmp_path))
        orphan = int(
            subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, stderr=subprocess.DEVNULL)
        )
        assert not gone(orphan)
        with preflight.only_one(tmp_path):
            assert gone(orphan)


class TestPort:
    def test_port_in_use_names_another(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(StartupProblem, match=f"PORT={port + 10}"):
                preflight.require_free_port("127.0.0.1", port)

    @pytest.mark.parametrize("port", [0, -1, 65536])
    def test_port_that_is_no_port_says_so(self, port: int) -> None:
        with pytest.raises(StartupProblem, match="is not a port number"):
            preflight.require_free_port("127.0.0.1", port)

    def test_port_that_is_free_passes(self) -> None:
        preflight.require_free_port("127.0.0.1", preflight.free_port())


@pytest.fixture
def unmade() -> Iterator[str]:
    """Yield the URL of a database that does not exist."""
    home = services.current().database_url
    name = f"frontrow_test_{uuid.uuid4().hex[:12]}"
    yield home.replace(home.rsplit("/", 1)[1], name)
    with psycopg.connect(home, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


class TestServices:
    def test_preflight_makes_the_database_that_is_missing(self, unmade: str) -> None:
        preflight.require_postgres(unmade)
        with psycopg.connect(unmade) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

    def test_preflight_says_that_no_postgresql_answers_without_telling_the_password(self) -> None:
        with pytest.raises(StartupProblem, match=r"ana:\*\*\*@127.0.0.1:1/box") as problem:
            preflight.require_postgres(f"postgres://ana:s3cret@127.0.0.1:{NOBODY_LISTENS}/box")
        assert "s3cret" not in str(problem.value)

    def test_preflight_says_that_no_redis_answers(self) -> None:
        with pytest.raises(StartupProblem, match="REDIS_URL"):
            preflight.require_redis(f"redis://127.0.0.1:{NOBODY_LISTENS}/0")

    def test_preflight_says_that_no_rabbitmq_answers(self) -> None:
        with pytest.raises(StartupProblem, match="RABBITMQ_URL"):
            preflight.require_rabbitmq(f"amqp://guest:guest@127.0.0.1:{NOBODY_LISTENS}//")

    def test_preflight_is_content_with_a_redis_that_answers(self) -> None:
        preflight.require_redis(services.current().redis_url)

    @pytest.mark.rabbitmq
    def test_preflight_is_content_with_a_rabbitmq_that_answers(self) -> None:
        preflight.require_rabbitmq(services.current().rabbitmq_url)
