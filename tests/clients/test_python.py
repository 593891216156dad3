"""Generate a Python client of the document without a warning, check it with mypy --strict, and buy with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from sessions_app.models import Session
from ticketing.models import Sale

HERE = Path(__file__).parent
TOOLS = Path(sys.executable).parent


def run(*command: str | Path, folder: Path) -> str:
    """Return the output of a program; fail if the program fails."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "MYPY_CACHE_DIR": str(HERE.parents[1] / ".frontrow/client-mypy")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said


@pytest.fixture
def client(document: Path, tmp_path: Path) -> Path:
    """Make a folder with the package `frontrow_client`."""
    said = run(
        *(TOOLS / "openapi-python-client", "generate", "--path", document, "--meta", "none"),
        *("--output-path", tmp_path / "frontrow_client", "--config", HERE / "python-client.yml"),
        folder=tmp_path,
    )
    assert "WARNING" not in said, said
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n")
    return tmp_path


def test_a_generated_client_is_strictly_typed_and_buys(client: Path, session: Session, live_server: LiveServer) -> None:
    run(TOOLS / "mypy", "--config-file", "mypy.ini", HERE / "buy.py", "frontrow_client", folder=client)
    number = run(sys.executable, HERE / "buy.py", live_server.url, str(session.pk), folder=client).strip()
    sale = Sale.objects.get(session=session, number=number)
    assert sorted(ticket.status for ticket in sale.tickets.all()) == ["valid", "void"]
