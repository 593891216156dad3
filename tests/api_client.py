"""Buy through the REST API as any program could."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import http.client
import json
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


@dataclasses.dataclass(slots=True)
class ApiClient:
    """Act as one buyer at one web process; an empty `token` means no buyer yet."""

    port: int
    token: str = ""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, sent)
            response = connection.getresponse()
            said = response.read()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=json.loads(said) if said else None,
        )

    def guest(self) -> ApiClient:
        return ApiClient(self.port, self.call("POST", "/auth/guest").body["access"])

    def sign_in(self, username: str, password: str) -> ApiClient:
        answer = self.call("POST", "/auth/token", {"username": username, "password": password})
        assert answer.status == 200, answer
        return ApiClient(self.port, answer.body["access"])

    def new_session(self, *, rows: int = 4, seats_per_row: int = 4, **more: Any) -> str:
        """Let staff put a session on sale for tomorrow, and return its id."""
        tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
        body = {
            "show": {"title": "Estrada"},
            "room": "Sala 1",
            "rows": rows,
            "seats_per_row": seats_per_row,
            "price": 2500,
        }
        answer = self.call("POST", "/sessions", {**body, "currency": "BRL", "starts_at": tomorrow, **more})
        assert answer.status == 201, answer
        created: str = answer.body["id"]
        return created

    def hold(self, session: str, *seats: str, key: str = "", wait: int = 0, **more: Any) -> Answer:
        headers = {"Idempotency_Key": key} if key else {}
        if wait:
            headers["Prefer"] = f"wait={wait}"
        return self.call(
            "POST", "/reservations", {"session": session, **({"seats": seats} if seats else {}), **more}, **headers
        )

    def status(self, reservation: str) -> str:
        answer = self.call("GET", f"/reservations/{reservation}")
        assert answer.status in {200, 503}, answer
        return answer.body["status"] if answer.status == 200 else "unknown"

    def pay(self, reservation: str, token: str = "ok", wait: int = 10, key: str = "") -> Answer:
        body = {"payment": {"method": "fake", "token": token}}
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        if key:
            headers["Idempotency_Key"] = key
        return self.call("POST", f"/reservations/{reservation}/pay", body, **headers)
