"""Check that every bad request gets a complete problem."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import psycopg_pool
import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from psycopg import errors as sql
from rest_framework.test import APIClient

from base.rest import field_errors
from config.web import problems
from reservations import queries
from reservations.admission import front_door
from reservations.models import Reservation
from reservations.operations import holding, queued
from reservations.queueing.queues import QueueDown
from reservations.refusals import AlreadyPaid, RequestInFlight, ReservationExpired, SaleNotOpen, SeatsUnavailable
from tests.api import assert_problem, client_of, get, post


def refused(client: APIClient, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answer as the API does for an error that reading a reservation raises."""

    def find(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(queries, "find", find)
    return get(client, f"/reservations/{uuid4()}")


class TestHttp:
    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/nowhere",
            "/api/",
            "/api/v1/reservations/123",
            "/api/v1/reservations/%00",
            "/api/v1/%ff%fe",
            "/api/v2/x",
        ],
    )
    def test_unknown_addresses_are_404(self, path: str) -> None:
        assert_problem(Client().get(path), 404, "not_found")

    def test_pages_get_pages(self) -> None:
        response = Client().get("/nowhere")
        assert response.status_code == 404
        assert response["Content-Type"].startswith("text/html")

    def test_forms_without_the_csrf_token_are_refused(self) -> None:
        response = Client(enforce_csrf_checks=True).post(reverse("sign-in"), {"username": "ana"})
        assert response.status_code == 403
        assert response["Content-Type"].startswith("text/html")

    def test_other_methods_are_405(self, ana: UUID) -> None:
        response = client_of(ana).put("/api/v1/reservations", {}, format="json")
        assert_problem(response, 405, "method_not_allowed")
        assert "POST" in response["Allow"]

    @pytest.mark.parametrize(
        "sent",
        ["{", "", "nonsense", '{"session": NaN}', "[" * 100_000, '{"a": ' * 30_000, "\xff", '{"a":1}}', "1" * 5_000],
    )
    def test_malformed_json_is_400(self, ana: UUID, sent: str) -> None:
        response = client_of(ana).generic("POST", "/api/v1/reservations", sent, "application/json")
        assert assert_problem(response, 400, response.json()["code"])["code"] in {"malformed", "invalid"}

    @pytest.mark.parametrize("sent", [[], "A1", 7, None, True])
    def test_json_that_is_no_object_is_400(self, ana: UUID, sent: object) -> None:
        response = client_of(ana).generic("POST", "/api/v1/reservations", json.dumps(sent), "application/json")
        assert_problem(response, 400, "invalid")

    @pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "nonsense"])
    def test_anything_but_json_is_415(self, ana: UUID, kind: str) -> None:
        response = client_of(ana).generic("POST", "/api/v1/reservations", "x=1", kind)
        assert_problem(response, 415, "unsupported_media_type")

    def test_a_huge_body_is_413(self, ana: UUID, settings: LazySettings) -> None:
        sent = json.dumps({"session": "x" * settings.API_LARGEST_BODY})
        response = client_of(ana).generic("POST", "/api/v1/reservations", sent, "application/json")
        assert_problem(response, 413, "too_large")

    def test_a_host_that_is_not_ours_is_400(self, settings: LazySettings) -> None:
        settings.ALLOWED_HOSTS = ["box.example"]
        assert_problem(Client().get("/api/v1/reservations", headers={"host": "evil.example"}), 400, "bad_request")

    def test_a_trailing_slash_makes_no_difference(self, ana: UUID) -> None:
        assert_problem(post(client_of(ana), "/reservations/", {}), 400, "invalid")

    def test_the_answer_is_json_whatever_is_accepted(self, ana: UUID) -> None:
        response = client_of(ana).get("/api/v1/reservations/nowhere", headers={"accept": "text/html"})
        assert_problem(response, 404, "not_found")


class TestTable:
    @pytest.mark.parametrize(
        ("error", "status", "code", "facts"),
        [
            (Reservation.DoesNotExist(), 404, "not_found", {}),
            (queries.NotYetKnown("x"), 503, "unavailable", {}),
            (QueueDown("x"), 503, "unavailable", {}),
            (OperationalError("server closed the connection"), 503, "unavailable", {}),
            (psycopg_pool.PoolTimeout("x"), 503, "unavailable", {}),
            (ReservationExpired(), 410, "reservation_expired", {}),
            (AlreadyPaid(None), 409, "already_paid", {"sale": None}),
            (RequestInFlight(retry_after=3), 409, "request_in_flight", {}),
            (SaleNotOpen(on_sale_at=None), 409, "sale_not_open", {"on_sale_at": None}),
            (
                SeatsUnavailable({"B1": "sold", "A1": "held"}),
                409,
                "seats_unavailable",
                {"conflicts": [{"seat": "A1", "reason": "held"}, {"seat": "B1", "reason": "sold"}]},
            ),
            (
                ValidationError({"starts_at": ["Too late."]}),
                400,
                "invalid",
                {"errors": [{"field": "starts_at", "message": "Too late."}]},
            ),
        ],
        ids=repr,
    )
    def test_table_tells_an_error_with_its_facts(
        self,
        ana: UUID,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        status: int,
        code: str,
        facts: dict[str, Any],
    ) -> None:
        response = refused(client_of(ana), error, monkeypatch)
        body = assert_problem(response, status, code, documented=False)
        assert {name: body[name] for name in facts} == facts
        assert ("Retry-After" in response) == (status == 503 or code == "request_in_flight")

    @pytest.mark.parametrize("cause", [sql.LockNotAvailable, sql.DeadlockDetected, sql.QueryCanceled])
    def test_a_lock_that_is_held_is_busy(
        self, ana: UUID, monkeypatch: pytest.MonkeyPatch, cause: type[psycopg.Error]
    ) -> None:
        error = OperationalError("canceling statement due to lock timeout")
        error.__cause__ = cause()
        response = refused(client_of(ana), error, monkeypatch)
        assert_problem(response, 503, "busy", documented=False)
        assert int(response["Retry-After"]) >= 1

    def test_a_fault_of_ours_is_500_without_its_stack(self, ana: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
        client = client_of(ana)
        client.raise_request_exception = False
        response = refused(client, RuntimeError("secret of the house"), monkeypatch)
        assert_problem(response, 500, "internal", documented=False)
        assert "secret" not in response.content.decode()

    def test_table_has_an_entry_for_every_error_of_the_front_door_and_the_operations(self) -> None:
        untold = {queued.Poison}  # only for the worker
        for module in (front_door, queued, holding):
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.__name__:
                    assert value in untold or value in problems.PROBLEMS, value

    def test_table_speaks_the_language_that_is_asked_for(self, ana: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
        client = client_of(ana)
        response = refused(client, ReservationExpired(), monkeypatch)
        assert response["Content-Language"] == "en"
        assert response.json()["title"] == "Reservation expired"


class TestFieldErrors:
    def test_name_nested_fields_by_their_path(self) -> None:
        detail = {
            "best_available": {"quantity": ["Too many."]},
            "seats": {0: ["Not a label."]},
            "non_field_errors": ["No."],
        }
        assert list(field_errors(detail)) == [
            {"field": "best_available.quantity", "message": "Too many."},
            {"field": "seats.0", "message": "Not a label."},
            {"field": "body", "message": "No."},
        ]


class TestRequestId:
    def test_request_id_is_the_clients_own_if_sane(self) -> None:
        response = Client().get("/api/v1/nowhere", headers={"x-request-id": "order-7.a_B"})
        assert response["X-Request-ID"] == "order-7.a_B" == response.json()["request_id"]

    @pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "a\r\nSet-Cookie: x", "é", '{"a":1}'])
    def test_request_id_is_a_new_one_otherwise(self, sent: str) -> None:
        response = Client().get("/api/v1/nowhere", headers={"x-request-id": sent})
        assert UUID(response["X-Request-ID"]).version == 7

    def test_request_id_stands_on_every_answer(self) -> None:
        for path in ("/", "/health/live", "/static/nothing.css", "/api/schema"):
            assert "X-Request-ID" in Client(raise_request_exception=False).get(path), path


class TestLog:
    @pytest.mark.django_db(transaction=True)
    def test_log_names_no_person(self, settings: LazySettings, caplog: pytest.LogCaptureFixture) -> None:
        settings.AXES_ENABLED = True
        for _guess in range(settings.AXES_FAILURE_LIMIT + 1):
            Client().post(
                "/api/v1/auth/token",
                {"username": "maria.silva", "password": "hunter2"},
                content_type="application/json",
                REMOTE_ADDR="203.0.113.77",
            )
        Client().get("/api/v1/sessions?search=secret")
        told = "\n".join(record.getMessage() for record in caplog.records)
        assert "/api/v1/auth/token" in told
        assert "guesser" in told
        for private in ("maria", "hunter2", "203.0.113.77", "secret"):
            assert private not in told

    def test_log_has_a_line_a_request_whatever_is_sent(self, caplog: pytest.LogCaptureFixture) -> None:
        Client().get("/api/v1/x%0d%0aforged: line", headers={"x-request-id": "abc"})
        lines: list[Any] = [record.msg for record in caplog.records if record.name == "config.web.middleware"]
        assert [(line["request_id"], line["status"]) for line in lines] == [("abc", 404)]
        assert "\n" not in json.dumps(lines)
