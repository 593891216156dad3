"""Generate TypeScript types of the document, check them with tsc, and buy with them under node."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from sessions_app.models import Session
from tests.clients.test_python import run
from tests.services import TYPESCRIPT
from ticketing.models import Sale

HERE = Path(__file__).parent / "typescript"


@pytest.fixture
def program(document: Path, tmp_path: Path) -> Path:
    """Make a folder with `built/buy.js`, compiled with the types of the document."""
    for name in ("buy.ts", "package.json", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(TYPESCRIPT)
    tools = tmp_path / "node_modules" / ".bin"
    run(
        *(tools / "openapi-typescript", document, "--output", tmp_path / "api.d.ts"),
        *("--default-non-nullable", "false"),  # a request may omit fields with a default
        folder=tmp_path,
    )
    run(tools / "tsc", "--project", tmp_path, folder=tmp_path)
    return tmp_path


@pytest.mark.typescript
def test_generated_types_are_strict_and_buy(program: Path, session: Session, live_server: LiveServer) -> None:
    number = run("node", "built/buy.js", live_server.url, str(session.pk), folder=program).strip()
    sale = Sale.objects.get(session=session, number=number)
    assert sorted(ticket.status for ticket in sale.tickets.all()) == ["valid", "void"]
