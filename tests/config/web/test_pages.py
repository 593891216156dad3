"""Check what pages need and the REST API does not."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from uuid import UUID

import pytest
from django.conf import LazySettings, settings
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from rest_framework.test import APIClient

from config.web import pages
from tests.api import assert_problem, client_of, get, post

pytestmark = pytest.mark.django_db


def passed(path: str) -> list[str]:
    """Return the middleware of config.web.pages that a request for `path` passes."""
    met: list[str] = []

    def noting(name: str) -> Any:
        class Noting:
            def __init__(self, get_response: Any) -> None:
                self.get_response = get_response

            def __call__(self, request: HttpRequest) -> Any:
                met.append(name)
                return self.get_response(request)

        return Noting

    innermost = HttpResponse()
    chain: Any = lambda _request: innermost  # noqa: E731 it is replaced below
    for name in ("first", "second", "third"):
        chain = pages.for_pages(noting(name))(chain)
    assert chain(RequestFactory().get(path)) is innermost
    return met


class TestForPages:
    def test_page_middleware_serves_pages_the_schema_and_signing_in(self) -> None:
        for path in ("/", "/admin/", "/api/docs", "/api/schema", "/api/v1/auth/token", "/api/v1"):
            assert passed(path) == ["third", "second", "first"], path

    def test_page_middleware_is_passed_by_the_api(self) -> None:
        assert passed("/api/v1/reservations") == []

    def test_page_middleware_stands_together_so_that_one_step_passes_it(self) -> None:
        runs = [ours for ours, _names in groupby(name.startswith("config.web.pages.") for name in settings.MIDDLEWARE)]
        assert runs.count(True) == 1


class TestApi:
    def test_api_has_what_it_needs_of_them(self, ana: UUID) -> None:
        response = get(client_of(ana), "/reservations")
        assert response["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response["X-Frame-Options"] == "DENY"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Length"] == str(len(response.content))
        assert response["Content-Language"] == "en"
        assert "Accept-Language" in response["Vary"]
        assert not response.cookies

    def test_api_speaks_the_language_of_the_page_or_of_the_header(self, ana: UUID) -> None:
        client = client_of(ana)
        headers = {"accept-language": "pt-BR,pt;q=0.9"}
        problem = client.post("/api/v1/reservations", {}, format="json", headers=headers)
        assert problem["Content-Language"] == "pt-br"
        assert problem.json()["errors"][0]["message"] == "Este campo é obrigatório."
        client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
        assert get(client, "/reservations")["Content-Language"] == "pt-br"
        assert get(client_of(ana), "/reservations")["Content-Language"] == "en"

    def test_api_asks_the_database_nothing_for_a_session(self, ana: UUID) -> None:
        client = APIClient()
        client.cookies[settings.SESSION_COOKIE_NAME] = "x" * 32
        assert_problem(post(client, "/reservations", {}), 401, "not_authenticated")

    @pytest.mark.parametrize("host", ["evil.example", "[", "a b"])
    def test_api_refuses_hosts_that_are_not_ours(self, settings: LazySettings, host: str) -> None:
        settings.ALLOWED_HOSTS = ["box.example"]
        response = Client().post("/api/v1/reservations", headers={"host": host})
        assert_problem(response, 400, "bad_request")
