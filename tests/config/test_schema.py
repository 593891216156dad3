"""The OpenAPI document: valid, whole, and without a warning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from config import schema

Operation = tuple[str, str, dict[str, Any]]


def operations() -> Iterator[Operation]:
    for path, methods in schema.document()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


class TestDocument:
    def test_is_valid_openapi_3_1_without_warnings(self, tmp_path: Any) -> None:
        call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
        assert schema.document()["openapi"].startswith("3.1")

    @pytest.mark.parametrize(
        "row",
        [
            "POST /auth/guest", "POST /auth/register", "POST /auth/token", "POST /auth/token/refresh",
            "GET /venues", "GET /halls", "GET /shows", "GET /sessions", "POST /sessions", "GET /sessions/{}",
            "GET /sessions/{}/seats", "GET /ticket-types", "POST /reservations", "GET /reservations",
            "GET /reservations/{}", "DELETE /reservations/{}", "POST /reservations/{}/extend",
            "POST /reservations/{}/pay", "POST /reservations/{}/confirm", "POST /orders", "GET /orders",
            "GET /orders/{}", "GET /sales", "GET /sales/{}",
            "GET /sales/{}/tickets.pdf", "GET /users/{}/purchases", "GET /tickets/{}", "GET /tickets/{}/qr.svg", "POST /checkins",
        ],
    )  # fmt: skip
    def test_has_the_contracts_rows(self, row: str) -> None:
        told = {f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}" for path, method, _operation in operations()}
        assert row.replace(" ", " /api/v1") in told

    def test_names_every_operation_once(self) -> None:
        names = [operation["operationId"] for _path, _method, operation in operations()]
        assert len(names) == len(set(names))

    def test_gives_every_operation_a_tag_a_summary_and_its_problems(self) -> None:
        for path, method, operation in operations():
            assert operation.get("tags"), (path, method)
            assert operation.get("summary"), (path, method)
            told = [
                response
                for status, response in operation["responses"].items()
                if status[0] in "45" and "application/problem+json" in response.get("content", {})
            ]
            assert told, (path, method)

    def test_gives_every_body_an_example(self) -> None:
        for path, method, operation in operations():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                assert media.get("examples"), (path, method)

    def test_pages_every_list(self) -> None:
        lists = [operation for _path, _method, operation in operations() if operation["operationId"].endswith("_list")]
        assert len(lists) == 10
        for operation in lists:
            names = {parameter["name"] for parameter in operation["parameters"]}
            assert {"cursor", "limit"} <= names, operation["operationId"]

    def test_says_how_to_sign_in(self) -> None:
        schemes = schema.document()["components"]["securitySchemes"]
        assert schemes["bearer"] | {"description": ""} == {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "",
        }  # fmt: skip
        assert schemes["cookie"]["in"] == "cookie"


class TestServing:
    def test_is_json_and_yaml_for_who_asks(self) -> None:
        assert Client().get("/api/schema").json()["info"]["title"] == "Frontrow"
        answer = Client().get("/api/schema", headers={"accept": "application/yaml"})
        assert answer.content.decode().startswith("openapi: 3.1")

    @pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
    def test_docs_come_from_here_alone(self, path: str) -> None:
        response = Client().get(path)
        html = response.content.decode()
        assert response.status_code == 200
        assert not re.search(r"(src|href)=\"(https?:)?//", html)
        policy = response["Content-Security-Policy"]
        nonce = re.search(r"'nonce-([^']+)'", policy)
        assert nonce
        assert f'nonce="{nonce[1]}"' in html
        for script in re.findall(r"<script([^>]*)>", html):
            assert "src=" in script
