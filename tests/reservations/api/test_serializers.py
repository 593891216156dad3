"""Two readers of one body: see Note [Who judges a body]. tests/ticketing/api/test_plain_bodies.py draws more bodies."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rest_framework.exceptions import APIException

from base.asking import JSONParser
from reservations.api.serializers import SESSION, TICKET_TYPE, AskFields, plain_ask
from reservations.hold_request import Ask


def judged(body: bytes) -> Ask | None:
    """Return what DRF makes of the body; None if it refuses."""
    try:
        fields = AskFields(data=JSONParser().parse(io.BytesIO(body)))
        return fields.ask() if fields.is_valid() else None
    except APIException:
        return None


class TestPlainAsk:
    @pytest.mark.parametrize(
        "asked",
        [
            {"seats": ["A1"]},
            {"seats": ["A1", "Camarote É 1", "A" * 16]},
            {"best_available": {"quantity": 3}},
            {"best_available": {"quantity": 3, "ticket_type": TICKET_TYPE, "accessible": True}},
            {"ticket_type": TICKET_TYPE.upper(), "quantity": 2**31 - 1},
        ],
        ids=repr,
    )
    def test_reads_what_well_behaved_clients_send(self, asked: dict[str, Any]) -> None:
        body = json.dumps({"session": SESSION, **asked}).encode()
        assert plain_ask(body) == judged(body) is not None

    @pytest.mark.parametrize(
        "body",
        [
            b'{"session": "%s", "seats": ["A1 "]}',
            b'{"session": "%s", "best_available": {"quantity": 2.0}}',
        ],
    )
    def test_leaves_unusual_bodies_to_the_other(self, body: bytes) -> None:
        body = body % SESSION.encode()
        assert plain_ask(body) is None
        assert judged(body) is not None

    @pytest.mark.parametrize(
        "body",
        [
            b'{"session": "%s", "session": "%s", "seats": ["A1"]}',
            b'{"session": "%s", "seats": ["A1"], "seats": ["A2"]}',
            b'{"session": "%s", "seats": ["A1"], "s\\u0065ats": ["A2"]}',
            b'{"session": "%s", "seats": ["A1"], "lane_code": "x", "lane_code": "y"}',
            b'{"session": "%s", "best_available": {"quantity": 1}, "best_available": {"quantity": 2}}',
            b'{"session": "%s", "best_available": {"quantity": 1, "quantity": 2}}',
            b'{"session": "%s", "best_available": {"quantity": 1, "accessible": false, "accessible": true}}',
            b'{"session": "%s", "ticket_type": "%s", "quantity": 1, "quantity": 2}',
        ],
    )
    def test_refuses_a_name_that_comes_twice_as_the_other_does(self, body: bytes) -> None:
        body = body.replace(b"%s", SESSION.encode())
        assert plain_ask(body) is judged(body) is None

    def test_reads_a_label_with_a_colon_slowly(self) -> None:
        body = json.dumps({"session": SESSION, "seats": ["A:1"]}).encode()
        assert plain_ask(body) is None
        assert judged(body) is not None

    @pytest.mark.parametrize(
        "body",
        [
            b'{"session": "%s", "seats": ["A1"], "more": 1}',
            b'{"session": "%s", "best_available": {"quantity": 2, "more": 1}}',
        ],
    )
    def test_refuses_unknown_fields_as_the_other_does(self, body: bytes) -> None:
        body = body % SESSION.encode()
        assert plain_ask(body) is judged(body) is None


class TestNeverAccepts:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[" * 100_000,
            b'{"a":' * 30_000,
            b'\xef\xbb\xbf{"session": "%s", "seats": ["A1"]}',
            b'{"session": "%s", "seats": ["\xff"]}',
            b'{"session": "%s", "seats": ["A1"], "seats": []}',
            b'{"session": "%s", "seats": ["A1"]} ]',
            b'{"session": "%s", "seats": ["A\x011"]}',
        ],
        ids=lambda body: repr(body[:60]),
    )
    def test_broken_body(self, body: bytes) -> None:
        body = body.replace(b"%s", SESSION.encode())
        assert plain_ask(body) is None
        assert judged(body) is None
