"""Whether it can sell, and what is told about that."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from config import health
from reservations import liveness


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], dict[str, Any]]]:
    """Checks that all find what they look for; a test replaces some."""
    found: dict[str, Callable[[], dict[str, Any]]] = dict.fromkeys(health.CHECKS, dict)
    monkeypatch.setattr(health, "CHECKS", found)
    return found


def gone() -> dict[str, Any]:
    raise ConnectionRefusedError("postgres://user:secret@db")


class TestReady:
    @pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/"])
    def test_tells_each_part_with_its_milliseconds(self, path: str) -> None:
        liveness.consumes(liveness.queues())
        response = Client().get(path)
        body = response.json()
        assert response.status_code == 200, body
        assert body["status"] == "ok"
        assert set(body["checks"]) == {"database", "cache", "broker", "worker", "payments", "jobs", "memory"}
        for found in body["checks"].values():
            assert found["status"] == "ok"
            assert found["milliseconds"] >= 0
        assert response["Cache-Control"] == "no-store"

    def test_is_503_without_what_is_needed(self, checks: dict[str, Any]) -> None:
        checks["database"] = gone
        response = Client().get("/health/ready")
        assert response.status_code == 503
        assert response["Retry-After"]
        found = response.json()["checks"]["database"]
        assert found["status"] == "gone"
        assert found["milliseconds"] >= 0
        assert "secret" not in response.content.decode()

    @pytest.mark.parametrize("name", ["cache", "broker", "worker", "payments", "jobs", "memory"])
    def test_is_degraded_without_what_selling_can_do_without(self, checks: dict[str, Any], name: str) -> None:
        checks[name] = gone
        response = Client().get("/health/ready")
        assert response.status_code == 200
        assert response.json()["status"] == "degraded"

    def test_never_hangs(self, checks: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "DEADLINE_SECONDS", 0.1)
        let_go: list[bool] = []
        begun: list[bool] = []

        def hang() -> dict[str, Any]:
            begun.append(True)
            while not let_go:
                time.sleep(0.01)
            return {}

        checks["database"] = checks["broker"] = hang
        started = time.monotonic()
        response = [Client().get("/health/ready") for _probe in range(20)][-1]
        let_go.append(True)
        assert response.status_code == 503
        assert time.monotonic() - started < 20 * 0.5
        assert len(begun) == 2  # a thread each, however often it is asked
        assert response.json()["checks"]["broker"]["reason"] == "deadline passed"

    def test_tells_which_kind_of_worker_does_not_consume(self) -> None:
        liveness.consumes(liveness.queues_of("worker") + liveness.queues_of("payments") + ["mail"])
        found = Client().get("/health").json()["checks"]
        assert {kind: found[kind]["status"] for kind in ("worker", "payments", "jobs")} == {
            "worker": "ok",
            "payments": "ok",
            "jobs": "gone",
        }
        assert found["jobs"]["reason"] == "Silent"


class TestProbes:
    @pytest.mark.parametrize("path", ["/health/live", "/health", "/metrics"])
    def test_answer_whatever_the_host_header_says(self, settings: LazySettings, path: str) -> None:
        settings.ALLOWED_HOSTS = ["box.example"]
        assert Client().get(path, headers={"host": "10.0.0.7:8000"}).status_code == 200

    @pytest.mark.parametrize("path", ["/health/live", "/health", "/health/ready", "/metrics"])
    def test_are_only_looked_at(self, path: str) -> None:
        assert Client().post(path).status_code == 405

    def test_live_asks_nobody(self, checks: dict[str, Any]) -> None:
        checks["database"] = gone
        assert Client().get("/health/live").json() == {"status": "ok"}

    def test_metrics_count_what_happened(self) -> None:
        body = Client().get("/metrics").content.decode()
        for name in ("frontrow_admitted_total", "frontrow_settle_seconds", "frontrow_request_seconds"):
            assert name in body
