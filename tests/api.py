"""Call the API as a client sees it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.test import APIClient

from tests.support.documented import undocumented
from ticketing import identity
from ticketing.identity import Buyer
from ticketing.models import User

PROBLEM = "application/problem+json"


def client_of(buyer: UUID | User | Buyer) -> APIClient:
    """Return a client with the access token of a guest (by id), of an account, or of a buyer."""
    if isinstance(buyer, UUID):
        buyer = Buyer(id=buyer, is_guest=True)
    elif isinstance(buyer, User):
        buyer = Buyer(id=buyer.pk, is_guest=False)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {identity.issue_tokens(buyer)['access']}")
    return client


def post(client: APIClient, path: str, body: Any = None, **headers: str) -> Any:
    """Post JSON to a path below /api/v1; keywords are headers: `prefer="wait=5"`, `idempotency_key="k"`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/api/v1{path}", body, format="json", headers=sent)


def get(client: APIClient, path: str, **query: Any) -> Any:
    return client.get(f"/api/v1{path}", query)


def assert_problem(response: Any, status: int, code: str, *, documented: bool = True) -> dict[str, Any]:
    """Assert that the answer is this problem and that the OpenAPI document names it for the operation. Return its body.

    With `documented` False, the test makes the operation fail as it cannot fail by itself.
    """
    body: dict[str, Any] = response.json()
    assert response.status_code == status, body
    assert response["Content-Type"] == PROBLEM
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"urn:frontrow:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response["X-Request-ID"]
    assert not documented or not undocumented(response), undocumented(response)
    return body
