"""Check settings with which no process starts: each refusal says what to do."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured

from config import logs

SETTINGS = Path(__file__).parents[2] / "config" / "settings.py"
PRODUCTION = {"FRONTROW_ENV": "production", "SECRET_KEY": "k" * 40, "PAYMENT_METHODS": "stripe"}
STRIPE = {"STRIPE_API_KEY": "sk_live_1", "STRIPE_PUBLISHABLE_KEY": "pk_live_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}


def settings_with(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """Read the settings again, with nothing else in the environment."""
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(structlog, "configure", lambda **_how: None)
    return runpy.run_path(str(SETTINGS))


class TestProduction:
    def test_production_starts_with_its_required_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings_with(monkeypatch, **PRODUCTION, **STRIPE)["PRODUCTION"] is True

    @pytest.mark.parametrize("methods", ["", "fake", "stripe,fake"])
    def test_production_refuses_to_sell_with_the_sandbox_unnoticed(
        self, monkeypatch: pytest.MonkeyPatch, methods: str
    ) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"nobody would pay.*SANDBOX_IN_PRODUCTION=on"):
            settings_with(monkeypatch, **{**PRODUCTION, **STRIPE, "PAYMENT_METHODS": methods})

    def test_production_may_rehearse_with_the_sandbox_where_it_is_told_to(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rehearsal = {**PRODUCTION, "PAYMENT_METHODS": "fake", "SANDBOX_IN_PRODUCTION": "on"}
        assert settings_with(monkeypatch, **rehearsal)["PAYMENT_METHODS"] == ["fake"]

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"SECRET_KEY": "short"}, "SECRET_KEY must be set"),
            ({"RATE_LIMITS": "off"}, "RATE_LIMITS=off is only for load tests"),
            ({"DATABASE_URL": "postgres://frontrow:frontrow-demo@db/frontrow"}, "DATABASE_URL carries the demo's"),
            ({"FAULT_POINT": "payment.sold"}, "FAULT_POINT is only for tests"),
            ({"STRIPE_API_KEY": ""}, "set STRIPE_API_KEY"),
            ({"STRIPE_PUBLISHABLE_KEY": ""}, "set STRIPE_API_KEY, STRIPE_PUBLISHABLE_KEY"),
            ({"STRIPE_PUBLISHABLE_KEY": "sk_live_1"}, "begins with pk_"),
        ],
    )
    def test_production_refuses_unsafe_settings(
        self, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], says: str
    ) -> None:
        with pytest.raises(ImproperlyConfigured, match=says):
            settings_with(monkeypatch, **{**PRODUCTION, **STRIPE, **wrong})


def test_the_demo_sells_with_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_with(monkeypatch)["PAYMENT_METHODS"] == ["fake"]


def test_logs_leave_out_the_row_that_postgresql_quotes() -> None:
    said = (
        "IntegrityError: duplicate key value violates unique constraint\n"
        "DETAIL:  Key (email)=(ana@people.example) already exists.\nTraceback follows"
    )

    line = logs.without_rows(None, "error", {"event": "failed", "exception": said, "error": repr(said)})

    assert "ana@people.example" not in str(line)
    assert "duplicate key" in line["exception"]
    assert "Traceback follows" in line["exception"]
