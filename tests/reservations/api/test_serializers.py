"""Two readers of one body: see Note [Who judges a body]."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import APIException

from base.asking import JSONParser
from reservations.api.serializers import SESSION, TICKET_TYPE, AskFields, plain_ask
from reservations.hold_request import Ask


def judged(body: bytes) -> Ask | None:
    """What DRF makes of it; None if it refuses."""
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
    def test_leaves_what_is_unusual_to_the_other(self, body: bytes) -> None:
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


# --- Bodies near the right ones: one that is right, with something in it replaced or added

ODD: list[Any] = [
    SESSION, TICKET_TYPE, f"{SESSION}\n", f" {SESSION}", SESSION.replace("-", ""), f"{{{SESSION}}}", f"urn:uuid:{SESSION}", "", "A1", "A1 ",
    "\u2003", "A\x001", "A\n1", "\ud800", "A" * 16, "A" * 17, "é" * 16, 0, 1, -1, 2.0, 1.5, 2**31 - 1, 2**31, 2**64, 10**30, None, True, [],
    ["A1"], {"quantity": 1},
]  # fmt: skip
anything = st.sampled_from(ODD) | st.text(max_size=18) | st.integers() | st.floats()
labels = st.lists(st.sampled_from(["A1", "B 2", "É3"]), min_size=1, max_size=3)
right: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"seats": labels}),
    st.fixed_dictionaries({"ticket_type": st.just(TICKET_TYPE), "quantity": st.integers(1, 9)}),
    st.fixed_dictionaries(
        {
            "best_available": st.fixed_dictionaries(
                {"quantity": st.integers(1, 9)},
                optional={"ticket_type": st.just(TICKET_TYPE), "accessible": st.booleans()},
            )
        }
    ),
).map(lambda asked: {"session": SESSION, **asked})


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    body = draw(right)
    place = draw(st.sampled_from([*body, "more", "seats", "quantity"]))
    match body.get(place):
        case [_first, *others] if draw(st.booleans()):
            body[place] = [draw(anything), *others]
        case dict(best) if draw(st.booleans()):
            best[draw(st.sampled_from(["quantity", "ticket_type", "accessible", "more"]))] = draw(anything)
        case _:
            body[place] = draw(anything)
    return json.dumps(body).encode()


bodies = right.map(json.dumps).map(str.encode) | nearly_right()


class TestNeverAccepts:
    @pytest.mark.parametrize("odd", ODD, ids=repr)
    def test_what_is_odd_in_one_place(self, odd: Any) -> None:
        for body in (
            {"session": odd, "seats": ["A1"]},
            {"session": SESSION, "seats": odd},
            {"session": SESSION, "seats": ["A1", odd]},
            {"session": SESSION, "ticket_type": odd, "quantity": 1},
            {"session": SESSION, "ticket_type": TICKET_TYPE, "quantity": odd},
            {"session": SESSION, "best_available": odd},
            {"session": SESSION, "best_available": {"quantity": odd}},
            {"session": SESSION, "best_available": {"quantity": 1, "ticket_type": odd}},
            {"session": SESSION, "best_available": {"quantity": 1, "accessible": odd}},
        ):
            sent = json.dumps(body).encode()
            plain = plain_ask(sent)
            assert plain is None or plain == judged(sent), (plain, body)

    @settings(max_examples=500, deadline=None)
    @given(bodies)
    def test_what_the_other_reader_refuses_or_reads_otherwise(self, body: bytes) -> None:
        plain = plain_ask(body)
        assert plain is None or plain == judged(body), plain

    @settings(max_examples=500, deadline=None)
    @given(bodies, st.data())
    def test_a_spoilt_body_that_the_other_does_not(self, body: bytes, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(body)))
        spoilt = body[:at] + data.draw(st.binary(max_size=2)) + body[at + data.draw(st.integers(0, 2)) :]
        plain = plain_ask(spoilt)
        assert plain is None or plain == judged(spoilt), plain

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
    def test_what_is_broken(self, body: bytes) -> None:
        body = body.replace(b"%s", SESSION.encode())
        assert plain_ask(body) is None
        assert judged(body) is None
