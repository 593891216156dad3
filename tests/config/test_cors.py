"""Check that other origins may call only if the operator allows them."""

from __future__ import annotations

from typing import Any

from django.conf import LazySettings
from django.test import Client

ELSEWHERE = "https://tickets.example"


def preflight() -> Any:
    headers = {
        "origin": ELSEWHERE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, idempotency-key, prefer",
    }
    return Client().options("/api/v1/reservations", headers=headers)


class TestOtherOrigins:
    def test_other_origins_are_off_by_default(self) -> None:
        assert "Access-Control-Allow-Origin" not in preflight()

    def test_other_origins_may_call_where_they_are_allowed(self, settings: LazySettings) -> None:
        settings.CORS_ALLOWED_ORIGINS = [ELSEWHERE]
        response = preflight()
        assert response["Access-Control-Allow-Origin"] == ELSEWHERE
        for header in ("authorization", "idempotency-key", "prefer"):
            assert header in response["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in response

    def test_other_origins_see_the_headers_that_matter_on_refusals_too(self, settings: LazySettings) -> None:
        settings.CORS_ALLOWED_ORIGINS = [ELSEWHERE]
        response = Client().get("/api/v1/reservations", headers={"origin": ELSEWHERE})
        assert response.status_code == 401
        assert response["Access-Control-Allow-Origin"] == ELSEWHERE
        assert "Retry-After" in response["Access-Control-Expose-Headers"]

    def test_other_origins_never_reach_the_pages(self, settings: LazySettings) -> None:
        settings.CORS_ALLOWED_ORIGINS = [ELSEWHERE]
        response = Client().get("/nowhere", headers={"origin": ELSEWHERE})
        assert "Access-Control-Allow-Origin" not in response
