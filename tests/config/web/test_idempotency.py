"""Check that the same key gets the same answer on every POST except the front door's."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory
from django_redis.exceptions import ConnectionInterrupted

from config.web.idempotency import IdempotencyMiddleware
from tests.api import assert_problem, client_of, post
from ticketing import identity
from ticketing.identity import Buyer


class Counter:
    """Count calls; `answer` is the response."""

    def __init__(self, status: int = 200) -> None:
        self.calls = 0
        self.status = status

    def __call__(self, request: HttpRequest) -> HttpResponse:
        self.calls += 1
        return JsonResponse({"call": self.calls}, status=self.status, headers={"Location": "/there"})


def send(
    view: Any, buyer: UUID, key: str | None = "k", *, path: str = "/api/v1/reservations/x/pay", body: Any = None
) -> Any:
    token = identity.issue_tokens(Buyer(id=buyer, is_guest=True))["access"]
    headers = {"authorization": f"Bearer {token}"} | ({} if key is None else {"idempotency-key": key})
    request = RequestFactory().post(path, json.dumps(body), content_type="application/json", headers=headers)
    return IdempotencyMiddleware(view)(request)


class TestSameKey:
    @pytest.mark.parametrize("status", [200, 201, 202, 402])
    def test_same_key_gets_the_first_answer_again(self, ana: UUID, status: int) -> None:
        view = Counter(status)
        first, second = send(view, ana), send(view, ana, '"k"')
        assert view.calls == 1
        assert (second.status_code, second.content) == (first.status_code, first.content)
        assert second["Idempotent-Replayed"] == "true"
        assert second["Location"] == "/there"
        assert "Idempotent-Replayed" not in first

    @pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 503])
    def test_same_key_may_try_again_after_a_refusal(self, ana: UUID, status: int) -> None:
        view = Counter(status)
        send(view, ana)
        send(view, ana)
        assert view.calls == 2

    def test_same_key_with_another_payload_is_422(self, ana: UUID) -> None:
        view = Counter()
        send(view, ana, body={"token": "ok"})
        response = send(view, ana, body={"token": "slow"})
        assert json.loads(response.content)["code"] == "idempotency_mismatch"
        assert response.status_code == 422
        assert view.calls == 1

    def test_same_key_knows_the_payload_in_whatever_order_it_is_written(self, ana: UUID) -> None:
        view = Counter()
        send(view, ana, body={"payment": {"method": "fake", "token": "ok"}, "email": ""})
        response = send(view, ana, body={"email": "", "payment": {"token": "ok", "method": "fake"}})
        assert response["Idempotent-Replayed"] == "true"
        assert view.calls == 1

    def test_same_key_is_told_to_wait_while_the_first_is_in_flight(self, ana: UUID) -> None:
        def slow(request: HttpRequest) -> HttpResponse:
            meanwhile = send(Counter(), ana)
            assert meanwhile.status_code == 409
            assert json.loads(meanwhile.content)["code"] == "request_in_flight"
            assert meanwhile["Retry-After"] == "1"
            return HttpResponse()

        assert send(slow, ana).status_code == 200

    def test_same_key_of_another_buyer_or_path_is_another_key(self, ana: UUID, bruno: UUID) -> None:
        view = Counter()
        send(view, ana)
        send(view, bruno)
        send(view, ana, path="/api/v1/reservations/y/pay")
        assert view.calls == 3

    def test_same_key_is_kept_for_a_day(self, ana: UUID) -> None:
        send(Counter(), ana)
        [kept] = [left for name in cache.keys("answer:*") if (left := cache.ttl(name)) > 1]  # type: ignore[attr-defined]
        assert 86_000 < kept <= 86_400


class TestKey:
    @pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, '""', '"', "a\tb", "é"])
    def test_key_that_is_no_key_is_400(self, ana: UUID, key: str) -> None:
        view = Counter()
        response = send(view, ana, key)
        assert response.status_code == 400
        assert json.loads(response.content)["errors"][0]["field"] == "Idempotency-Key"
        assert view.calls == 0

    @pytest.mark.parametrize("key", ["k", "x" * 255, '"quoted"', "!~#", "019337a5-2c1e-7b1f-9a44-2f1c0d9e8b11"])
    def test_key_may_be_any_visible_characters(self, ana: UUID, key: str) -> None:
        assert send(Counter(), ana, key).status_code == 200

    def test_key_is_optional(self, ana: UUID) -> None:
        view = Counter()
        send(view, ana, None)
        send(view, ana, None)
        assert view.calls == 2

    def test_key_keeps_no_tokens(self, ana: UUID) -> None:
        view = Counter(201)
        send(view, ana, path="/api/v1/auth/guest")
        send(view, ana, path="/api/v1/auth/guest")
        assert view.calls == 2

    def test_key_with_bad_credentials_is_401(self) -> None:
        client = client_of(uuid4())
        client.credentials(HTTP_AUTHORIZATION="Bearer nonsense")
        assert_problem(post(client, f"/reservations/{uuid4()}/extend", idempotency_key="k"), 401, "bad_token")


class TestWithoutRedis:
    def test_the_request_goes_on(self, ana: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
        def down(*_arguments: object, **_named: object) -> None:
            raise ConnectionInterrupted(connection=None)

        monkeypatch.setattr(cache, "add", down)
        monkeypatch.setattr(cache, "get", down)
        view = Counter()
        assert send(view, ana).status_code == 200
        assert view.calls == 1
