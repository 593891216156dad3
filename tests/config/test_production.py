"""Check what production requires: HTTPS, no public passwords, no buyer's data in a cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import Tags, run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings
from structlog.testing import capture_logs

from config.run.serving import refusals
from tests import factories

ROOT = Path(__file__).parents[2]
SERVING = ["web", "live", "both", "worker", "beat", "relay"]


@pytest.mark.django_db
def test_djangos_own_check_of_a_deployment_finds_nothing() -> None:
    strict = {
        "FRONTROW_ENV": "production",
        "SECRET_KEY": "".join(chr(33 + number) for number in range(64)),
        "ALLOWED_HOSTS": "tickets.example.com",
        "TRUSTED_PROXIES": "10.77.0.2",
        "SANDBOX_IN_PRODUCTION": "on",
        "RATE_LIMITS": "on",
        "DATABASE_URL": f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}",
    }
    words = [sys.executable, "manage.py", "check", "--deploy", "--tag", "security", "--fail-level", "WARNING"]
    found = subprocess.run(words, cwd=ROOT, env=os.environ | strict, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


class TestHttps:
    @pytest.fixture(autouse=True)
    def production(self, settings: Settings) -> None:
        settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 31_536_000
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    def test_plain_http_is_redirected(self) -> None:
        response = Client().get("/api/v1/sessions?search=x", headers={"X-Forwarded-Proto": "http"})
        assert (response.status_code, response["Location"]) == (301, "https://testserver/api/v1/sessions?search=x")

    def test_a_request_by_https_to_the_proxy_is_served_and_remembered(self) -> None:
        response = Client().get("/.well-known/frontrow-tickets.json", headers={"X-Forwarded-Proto": "https"})
        assert response.status_code == 200
        assert response["Strict-Transport-Security"].startswith("max-age=31536000")

    def test_health_answers_over_plain_http(self) -> None:
        assert Client().get("/health/live").status_code == 200

    def test_a_refusal_also_tells_browsers_to_remember_https(self) -> None:
        request = RequestFactory().get("/api/v1/sessions", headers={"X-Forwarded-Proto": "https"})
        assert "Strict-Transport-Security" in refusals.respond(request, refusals.BUSY)


class TestHttpsWithoutAProxy:
    """Check a site that never learns of HTTPS: it redirects each page to itself."""

    @pytest.fixture(autouse=True)
    def unnamed(self, settings: Settings) -> None:
        settings.SECURE_SSL_REDIRECT, settings.TRUSTED_PROXIES = True, []

    def found(self) -> list[str | None]:
        return [message.id for message in run_checks(tags=[Tags.security], include_deployment_checks=True)]

    def test_https_without_a_proxy_is_found_by_the_check_of_a_deployment(self) -> None:
        assert "frontrow.W002" in self.found()

    def test_https_without_a_proxy_is_fine_once_the_proxy_is_named(self, settings: Settings) -> None:
        settings.TRUSTED_PROXIES = ["10.77.0.2"]
        assert "frontrow.W002" not in self.found()

    def test_https_without_a_proxy_is_fine_where_nothing_is_redirected(self, settings: Settings) -> None:
        settings.SECURE_SSL_REDIRECT = False
        assert "frontrow.W002" not in self.found()

    @pytest.mark.parametrize("command", ["web", "both"])
    def test_https_without_a_proxy_is_logged_when_a_server_starts(
        self, command: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WEB_THREADS", "")  # `web` sets it for its processes
        monkeypatch.setattr("config.management.commands.web.Granian.serve", lambda _server: None)
        monkeypatch.setattr("config.management.commands.both.serve_asgi", lambda *_words, **_more: None)
        with capture_logs() as said:
            call_command(command)
        (warning,) = [line for line in said if line["event"] == "start.redirects_for_ever"]
        assert warning["log_level"] == "warning"
        assert "TRUSTED_PROXIES" in warning["problem"]


@pytest.mark.django_db(transaction=True)
class TestKnownPasswords:
    @pytest.mark.parametrize("command", SERVING)
    def test_no_process_of_production_starts_with_a_known_password(self, command: str, settings: Settings) -> None:
        settings.PRODUCTION = True
        factories.UserFactory(username="owner", password="frontrow-demo")
        with pytest.raises(CommandError, match="demo's password"):
            call_command(command)


def test_an_answer_that_says_nothing_of_caches_is_private() -> None:
    response = Client().get("/api/v1/me")
    assert response["Cache-Control"] == "private, no-store"
