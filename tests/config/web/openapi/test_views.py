"""Check that the OpenAPI document is valid, complete and without warnings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from config.web.openapi import problem_shapes, views
from reservations.orders import REASONS
from ticketing.voiding import VoidReason

ROOT = Path(__file__).parents[4]

Operation = tuple[str, str, dict[str, Any]]


def operations() -> Iterator[Operation]:
    for path, methods in views.document()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


class TestDocument:
    def test_document_is_valid_openapi_3_1_without_warnings(self, tmp_path: Any) -> None:
        call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
        assert views.document()["openapi"].startswith("3.1")

    def test_document_is_valid_for_other_tools(self) -> None:
        document = json.loads(json.dumps(views.document(), default=str))
        assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []

    def test_document_names_its_owner_and_server(self) -> None:
        document = views.document()
        assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
        assert document["info"]["contact"]["url"] == settings.SITE_URL
        assert document["servers"] == [{"url": settings.SITE_URL}]
        assert {tag["name"] for tag in document["tags"]} == {
            tag for _path, _method, operation in operations() for tag in operation["tags"]
        }

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
    def test_document_has_the_contracts_rows(self, row: str) -> None:
        told = {f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}" for path, method, _operation in operations()}
        assert row.replace(" ", " /api/v1") in told

    def test_document_names_every_operation_once(self) -> None:
        names = [operation["operationId"] for _path, _method, operation in operations()]
        assert len(names) == len(set(names))

    def test_document_gives_every_operation_a_tag_a_summary_and_its_problems(self) -> None:
        for path, method, operation in operations():
            assert operation.get("tags"), (path, method)
            assert operation.get("summary"), (path, method)
            told = [
                response
                for status, response in operation["responses"].items()
                if status[0] in "45" and "application/problem+json" in response.get("content", {})
            ]
            assert told, (path, method)
            assert operation.get("description"), (path, method)
            assert "security" in operation, (path, method)

    def test_document_gives_every_body_an_example(self) -> None:
        for path, method, operation in operations():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                assert media.get("examples"), (path, method)

    def test_every_list_of_the_document_has_pages(self) -> None:
        lists = [operation for _path, _method, operation in operations() if operation["operationId"].endswith("_list")]
        assert len(lists) == 10
        for operation in lists:
            names = {parameter["name"] for parameter in operation["parameters"]}
            assert {"cursor", "limit"} <= names, operation["operationId"]

    def test_document_says_how_to_sign_in(self) -> None:
        schemes = views.document()["components"]["securitySchemes"]
        assert schemes["bearer"] | {"description": ""} == {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "",
        }  # fmt: skip
        assert schemes["cookie"]["in"] == "cookie"


class TestProblems:
    def test_each_that_the_api_answers_with_belongs_to_an_operation(self) -> None:
        # of no operation, or only in the admin
        nobodys = {"method_not_allowed", "not_acceptable", "session_has_buyers"}
        named = {views["properties"]["code"]["const"] for _name, views in problem_components()}
        assert {code for code, _status in problem_shapes.known()} - named == nobodys

    def test_problem_is_identified_by_its_code(self) -> None:
        for path, method, operation in operations():
            for status, answer in operation["responses"].items():
                if status[0] in "45":
                    found = answer["content"]["application/problem+json"]["schema"]
                    mapping = found.get("discriminator", {}).get("mapping", {})
                    assert "$ref" in found or len(mapping) == len(found["oneOf"]) > 1, (path, method, status)

    def test_a_body_can_be_malformed_too_large_or_not_json(self) -> None:
        for _path, _method, operation in operations():
            if "requestBody" in operation and operation["operationId"] != "webhooks_receive":  # its body is a gateway's
                told = json.dumps(operation["responses"])
                for name in ("MalformedProblem", "TooLargeProblem", "UnsupportedMediaTypeProblem"):
                    assert name in told, operation["operationId"]

    def test_tickets_are_void_for_the_same_reasons_everywhere(self) -> None:
        schemas = views.document()["components"]["schemas"]
        assert schemas["VoidReasonEnum"]["enum"] == VoidReason.values
        refers = '"$ref": "#/components/schemas/VoidReasonEnum"'
        for component in ("TicketVoidProblem", "TicketVoid410Problem", "TicketOut", "OneTicketOut", "ListedTicket"):
            assert refers in json.dumps(schemas[component]), component

    def test_reasons_are_those_that_a_reservation_can_end_with(self) -> None:
        assert views.document()["components"]["schemas"]["Reason"]["enum"] == list(REASONS)


def problem_components() -> list[tuple[str, dict[str, Any]]]:
    found = views.document()["components"]["schemas"].items()
    return [(name, component) for name, component in found if "request_id" in component.get("properties", {})]


class TestHeaders:
    @pytest.mark.parametrize(
        ("operation", "status", "names"),
        [
            ("reservations_create", "201", {"Location", "Preference-Applied", "Idempotent-Replayed"}),
            ("reservations_create", "202", {"Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed"}),
            ("reservations_create", "409", {"Retry-After", "Preference-Applied"}),
            ("reservations_pay_create", "402", {"Preference-Applied", "Idempotent-Replayed"}),
            ("sales_tickets_pdf", "200", {"Content-Disposition"}),
            ("reservations_create", "429", {"Retry-After"}),
            ("sessions_create", "201", {"Location", "Idempotent-Replayed"}),
            ("sessions_seats_retrieve", "200", {"ETag"}),
            ("sessions_list", "304", {"ETag"}),
            ("me", "401", {"WWW-Authenticate"}),
            ("me", "200", set()),
            ("auth_guest", "201", set()),
        ],
    )
    def test_headers_are_named(self, operation: str, status: str, names: set[str]) -> None:
        (found,) = [told for _path, _method, told in operations() if told["operationId"] == operation]
        assert set(found["responses"][status]["headers"]) == names | {"X-Request-ID"}


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield the place of each example, the schema that it illustrates, and the example."""
    for _path, _method, operation in operations():
        bodies = {"request": operation["requestBody"]} if "requestBody" in operation else {}
        for status, answer in {**bodies, **operation["responses"]}.items():
            for media in answer.get("content", {}).values():
                for name, example in media.get("examples", {}).items():
                    yield f"{operation['operationId']} {status} {name}", media["schema"], example["value"]


class TestShapes:
    def test_each_example_is_of_its_schema(self) -> None:
        components = views.document()["components"]
        wrong = {
            place: [
                error.message for error in Draft202012Validator({**shape, "components": components}).iter_errors(value)
            ]
            for place, shape, value in examples()
        }
        assert len(wrong) > 20
        assert {place: said for place, said in wrong.items() if said} == {}

    def test_what_may_not_be_empty_says_so(self) -> None:
        schemas = views.document()["components"]["schemas"]
        for body, name in (("AskFields", "seats"), ("OrderFields", "seats"), ("RefundFields", "tickets")):
            assert schemas[body]["properties"][name]["minItems"] == 1
        assert schemas["SeatsUnavailableProblem"]["properties"]["conflicts"]["minItems"] == 1
        assert schemas["InvalidProblem"]["properties"]["errors"]["minItems"] == 1

    @pytest.mark.parametrize("name", ["ReservationOut", "OrderOut"])
    def test_a_sale_is_a_sale_wherever_it_stands(self, name: str) -> None:
        sale = views.document()["components"]["schemas"][name]["properties"]["sale"]
        assert {"$ref": "#/components/schemas/SaleOut"} in sale["oneOf"]


class TestServing:
    def test_document_is_served_as_json_and_yaml(self) -> None:
        assert Client().get("/api/schema").json()["info"]["title"] == "Frontrow"
        answer = Client().get("/api/schema", headers={"accept": "application/yaml"})
        assert answer.content.decode().startswith("openapi: 3.1")

    def test_document_names_the_server_that_was_asked(self) -> None:
        answer = Client().get("/api/schema", headers={"host": "box.example:8443"})
        assert answer.json()["servers"] == [{"url": "http://box.example:8443"}]

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
