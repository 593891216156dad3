"""Provide a document to generate clients from, and a session that they buy from a server of this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.web.openapi import views
from reservations.queueing import liveness


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Write the OpenAPI document as `GET /api/schema` answers it."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(views.document(), default=str))
    return file


@pytest.fixture(autouse=True)
def _workers_consume(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that workers consume: this process allocates what it accepts, so `Prefer: wait` is granted."""
    monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
