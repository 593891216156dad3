"""Check whether the site reports that it can sell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from structlog.testing import capture_logs

from config.web import health
from reservations import checks as checks_of
from reservations import exposition
from reservations.queueing import liveness

pytestmark = pytest.mark.django_db  # the tables must exist, and the checks read them on connections of their own


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], dict[str, Any]]]:
    """Provide checks that all succeed; a test replaces some."""
    found: dict[str, Callable[[], dict[str, Any]]] = dict.fromkeys(checks_of.ALL, dict)
    monkeypatch.setattr(health, "examined", exposition.Checks(found))
    return found


@pytest.fixture(autouse=True)
def _never_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget remembered answers, which last a second, and allow for a busy machine."""
    health.examination().forget()
    monkeypatch.setattr(health.examination(), "deadline", 10.0)
    monkeypatch.setattr(health, "_known_gone", set())
    monkeypatch.setattr(checks_of, "_migrated_until", float("-inf"))


def gone() -> dict[str, Any]:
    raise ConnectionRefusedError("postgres://user:secret@db")


class TestReady:
    @pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/"])
    def test_readiness_tells_each_part_with_its_milliseconds(self, path: str) -> None:
        liveness.consumes(liveness.queues())
        liveness.worked("beat")
        liveness.worked("relay")
        response = Client().get(path)
        body = response.json()
        assert response.status_code == 200, body
        assert body["status"] == "ok"
        assert set(body["checks"]) == {
            "database",
            "cache",
            "broker",
            "worker",
            "payments",
            "jobs",
            "beat",
            "relay",
            "memory",
            "disk",
            "migrations",
        }
        for found in body["checks"].values():
            assert found["status"] == "ok"
            assert found["milliseconds"] >= 0
        assert response["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("name", ["database", "migrations"])
    def test_readiness_is_503_without_what_is_needed(self, checks: dict[str, Any], name: str) -> None:
        checks[name] = gone
        response = Client().get("/health/ready")
        assert response.status_code == 503
        assert response.json()["status"] == "unavailable"
        assert response["Retry-After"]
        found = response.json()["checks"][name]
        assert found["status"] == "gone"
        assert found["milliseconds"] >= 0
        assert "secret" not in response.content.decode()

    @pytest.mark.parametrize("name", sorted(checks_of.ALL.keys() - {"database", "migrations"}))
    def test_readiness_is_degraded_without_what_selling_can_do_without(self, checks: dict[str, Any], name: str) -> None:
        checks[name] = gone
        response = Client().get("/health/ready")
        assert response.status_code == 200
        assert response.json()["status"] == "degraded"

    def test_readiness_never_hangs(self, checks: dict[str, Any]) -> None:
        examination = health.examination()
        examination.deadline, examination.remembered = 0.1, 0
        let_go = threading.Event()
        begun: list[bool] = []

        def hang() -> dict[str, Any]:
            begun.append(True)
            let_go.wait(30)
            return {}

        checks["database"] = checks["broker"] = hang
        response = [Client().get("/health/ready") for _probe in range(20)][-1]
        scraped = Client().get("/metrics")
        let_go.set()
        assert response.status_code == 503
        assert len(begun) == 2  # a thread each, however many probes come
        assert response.json()["checks"]["broker"]["reason"] == "deadline passed"
        assert scraped.status_code == 200

    def test_readiness_of_many_probes_at_once_examines_once(self, checks: dict[str, Any]) -> None:
        examined: list[bool] = []

        def look() -> dict[str, Any]:
            examined.append(True)
            return {}

        checks["database"] = look
        health.examination().deadline = health.examination().remembered = (
            60  # a busy machine answers a hundred probes in more than a second
        )
        with ThreadPoolExecutor(20) as probes:
            answers = list(probes.map(lambda _probe: Client().get("/health").status_code, range(100)))
        assert answers == [200] * 100
        assert len(examined) == 1

    def test_readiness_sees_a_database_that_lacks_a_migration(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known = checks_of._known_migrations()  # noqa: SLF001 a version of tomorrow
        monkeypatch.setattr(checks_of, "_known_migrations", lambda: known | {("realtime", "9999_of_tomorrow")})
        response = Client().get("/health")
        assert response.status_code == 503
        assert response.json()["checks"]["migrations"]["reason"] == "NotMigrated"

    def test_readiness_is_no_worse_for_a_database_of_a_later_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known = checks_of._known_migrations()  # noqa: SLF001 a version of yesterday
        monkeypatch.setattr(checks_of, "_known_migrations", lambda: known - {("realtime", "0006_cause_and_actor")})
        assert Client().get("/health").json()["checks"]["migrations"]["status"] == "ok"

    def test_readiness_logs_a_check_only_when_it_changes(self, checks: dict[str, Any]) -> None:
        with capture_logs() as lines:
            for finds in (gone, gone, dict):
                checks["broker"] = finds
                health.examination().forget()
                Client().get("/health")
        told = [(line["event"], line["check"]) for line in lines if line["event"].startswith("health.")]
        assert told == [("health.gone", "broker"), ("health.back", "broker")]

    def test_readiness_tells_which_kind_of_worker_does_not_consume(self) -> None:
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
    @pytest.mark.usefixtures("checks")
    def test_probes_answer_whatever_the_host_header_says(self, settings: LazySettings, path: str) -> None:
        settings.ALLOWED_HOSTS = ["box.example"]
        assert Client().get(path, headers={"host": "10.0.0.7:8000"}).status_code == 200

    @pytest.mark.parametrize("path", ["/health/live", "/health", "/health/ready", "/metrics"])
    def test_probes_allow_only_reading(self, path: str) -> None:
        assert Client().post(path).status_code == 405

    def test_live_probe_asks_no_dependency(self, checks: dict[str, Any]) -> None:
        checks["database"] = gone
        assert Client().get("/health/live").json() == {"status": "ok"}

    def test_metrics_count_what_happened(self) -> None:
        body = Client().get("/metrics").content.decode()
        for name in ("frontrow_admitted_total", "frontrow_allocation_seconds", "frontrow_request_seconds"):
            assert name in body
