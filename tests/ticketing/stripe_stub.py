"""Simulate Stripe's HTTP as far as the gateway uses it: payment intents, refunds, idempotency keys, difficult cards."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

DECLINED = "pm_card_visa_chargeDeclined"
SLOW = "pm_slow"  # answers after the client has gone
ABROAD = "pm_card_authenticationRequired"


class Stub:
    def __init__(self) -> None:
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}  # by idempotency key
        self.asked: list[str] = []
        self.down = 0  # this many requests are answered with 500
        self.slow_seconds = 0.0
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, fields: dict[str, str], key: str) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.asked.append(f"{method} {path}")
            if self.down:
                self.down -= 1
                return 500, {"error": {"type": "api_error", "message": "down"}}
            if key not in self.answers or not key:
                said = self._do(path.removeprefix("/v1/").split("/"), fields, method)
                said = said[0], json.loads(json.dumps(said[1]))  # as it was then
                if not key:
                    return said
                self.answers[key] = said
            return self.answers[key]

    def _do(self, path: list[str], fields: dict[str, str], method: str) -> tuple[int, dict[str, Any]]:
        match method, path:
            case "POST", ["payment_intents"]:
                return self._begin(fields)
            case "GET", ["payment_intents"]:
                data = list(reversed(self.intents.values()))
                return 200, {"object": "list", "url": "/v1/payment_intents", "has_more": False, "data": data}
            case "GET", ["payment_intents", intent] if intent in self.intents:
                return 200, self.intents[intent]
            case "POST", ["payment_intents", intent, "capture" | "cancel" as step]:
                return self._move(self.intents[intent], step)
            case "POST", ["refunds"]:
                return self._refund(fields)
        return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing"}}

    def _begin(self, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        assert (fields["capture_method"], fields["confirm"]) == ("manual", "true")
        name, token = f"pi_{len(self.intents) + 1}", fields["payment_method"]
        intent = self.intents[name] = {
            "id": name,
            "object": "payment_intent",
            "amount": int(fields["amount"]),
            "currency": fields["currency"],
            "amount_received": 0,
            "status": "requires_capture",
            "latest_charge": None,
            "metadata": {"attempt": fields["metadata[attempt]"]},
        }
        if token == DECLINED:
            intent["status"] = "requires_payment_method"
            error = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}
            return 402, {"error": {**error, "payment_intent": intent}}
        if token == ABROAD:
            intent["status"] = "requires_action"
        return 200, intent

    def _move(self, intent: dict[str, Any], step: str) -> tuple[int, dict[str, Any]]:
        if intent["status"] != "requires_capture":
            return 400, {"error": {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}}
        intent["status"] = "succeeded" if step == "capture" else "canceled"
        if step == "capture":
            balance = {"id": "txn_1", "object": "balance_transaction", "fee": 190}
            intent["amount_received"] = intent["amount"]
            charge = {"id": "ch_1", "object": "charge", "amount_refunded": 0, "balance_transaction": balance}
            intent["latest_charge"] = charge
        return 200, intent

    def _refund(self, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        intent, amount = self.intents[fields["payment_intent"]], int(fields["amount"])
        given = sum(one["amount"] for one in self.refunds.values() if one["payment_intent"] == intent["id"])
        if intent["status"] != "succeeded" or given + amount > intent["amount"]:
            return 400, {"error": {"type": "invalid_request_error", "code": "charge_already_refunded"}}
        name = f"re_{len(self.refunds) + 1}"
        made = {"id": name, "object": "refund", "amount": amount, "payment_intent": intent["id"], "status": "succeeded"}
        self.refunds[name] = made
        intent["latest_charge"]["amount_refunded"] += amount
        return 200, made


@contextmanager
def serving() -> Iterator[tuple[Stub, str]]:
    """Yield the stub and its URL."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            fields = {name: values[0] for name, values in parse_qs(body).items()}
            said = stub.answer("POST", self.path, fields, self.headers.get("Idempotency-Key", ""))
            if fields.get("payment_method") == SLOW:
                time.sleep(stub.slow_seconds)
            self._say(*said)

        def do_GET(self) -> None:
            self._say(*stub.answer("GET", self.path.split("?")[0], {}, ""))

        def _say(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client gave up

        def log_message(self, *_words: Any) -> None:
            """Keep the log out of the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
