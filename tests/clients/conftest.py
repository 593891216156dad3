"""A document to make clients from, and a session for them to buy from a server of this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.web.openapi import views
from reservations.queueing import liveness


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """The OpenAPI document, as `GET /api/schema` gives it."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(views.document(), default=str))
    return file


@pytest.fixture(autouse=True)
def _workers_consume(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process allocates what it accepts, so `Prefer: wait` is granted."""
    monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
