"""Two readers of one body, of holds and of orders: see Note [Who judges a body] in reservations/api/serializers.py."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.exceptions import APIException

from base.asking import JSONParser
from base.strict import Body
from reservations.api.serializers import AskFields, PlainAsk, plain_ask
from tests.support import request_bodies as bodies
from ticketing.api.order_fields import OrderFields, PlainOrder, plain_wish


@dataclass(frozen=True)
class Readers:
    """The two readers of one address. A body must have the fields of one of `ways`; it may also have optional ones."""

    plain: Callable[[bytes], Any]
    struct: type[msgspec.Struct]
    body: type[Body]
    read: Callable[[Any], Any]
    ways: list[list[str]]
    optional: list[str]

    def judged(self, sent: bytes) -> Any:
        """Return what DRF makes of a body; None if it refuses."""
        try:
            fields = self.body(data=JSONParser().parse(io.BytesIO(sent)))
            return self.read(fields) if fields.is_valid() else None
        except APIException:
            return None

    def right(self, *, of: set[str]) -> st.SearchStrategy[Any]:
        """Draw right bodies with these fields."""
        optional = [name for name in self.optional if name in of]
        return st.one_of([bodies.right_body(self.body().fields, way, optional) for way in self.ways])


HOLDS = Readers(
    plain=plain_ask,
    struct=PlainAsk,
    body=AskFields,
    read=AskFields.ask,
    ways=[["session", "seats"], ["session", "ticket_type", "quantity"], ["session", "best_available"]],
    optional=["lane_code"],
)
ORDERS = Readers(
    plain=plain_wish,
    struct=PlainOrder,
    body=OrderFields,
    read=OrderFields.wish,
    ways=[["session", "seats"], ["ticket_type", "quantity"], ["session", "ticket_type", "quantity"]],
    optional=["lane_code", "payment", "email", "voucher", "concessions"],
)
EACH = pytest.mark.parametrize("readers", [HOLDS, ORDERS], ids=["holds", "orders"])


def names_of_struct(struct: type[msgspec.Struct]) -> set[str]:
    found = set(struct.__struct_fields__)
    for name, hint in get_type_hints(struct).items():
        inner = [
            kind for kind in get_args(hint) or (hint,) if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        ]
        found |= {f"{name}.{of}" for kind in inner for of in names_of_struct(kind)}
    return found


def names_of_body(body: serializers.Serializer[Any]) -> set[str]:
    inner = [(name, field) for name, field in body.fields.items() if isinstance(field, serializers.Serializer)]
    return {*body.fields, *(f"{name}.{of}" for name, field in inner for of in names_of_body(field))}


@EACH
class TestTwoReaders:
    def test_readers_have_no_field_that_is_not_drawn(self, readers: Readers) -> None:
        everything = names_of_body(readers.body())
        assert bodies.drawn_names(readers.body().fields) == everything
        assert names_of_struct(readers.struct) <= everything
        assert {*readers.optional, *(name for way in readers.ways for name in way)} == set(readers.body().fields)

    @settings(max_examples=200, deadline=None)
    @given(data=st.data())
    def test_readers_both_take_a_right_body(self, readers: Readers, data: st.DataObject) -> None:
        """The quick one takes every body that is right and has only fields that it knows."""
        pairs = data.draw(readers.right(of=set(readers.struct.__struct_fields__)))
        sent = bodies.written(pairs).encode()
        assert readers.plain(sent) == readers.judged(sent) is not None

    @settings(max_examples=200, deadline=None)
    @given(data=st.data())
    def test_the_quick_one_leaves_a_field_that_it_does_not_know(self, readers: Readers, data: st.DataObject) -> None:
        pairs = data.draw(readers.right(of=set(readers.optional)))
        sent = bodies.written(pairs).encode()
        judged = readers.judged(sent)
        unknown = {name for name, _value in pairs} - set(readers.struct.__struct_fields__)
        assert judged is not None
        assert readers.plain(sent) == (None if unknown else judged)

    @settings(max_examples=400, deadline=None)
    @given(data=st.data())
    def test_readers_never_read_a_body_differently(self, readers: Readers, data: st.DataObject) -> None:
        fields, right = readers.body().fields, readers.right(of=set(readers.optional))
        pairs = data.draw(bodies.spoilt(fields, right) | bodies.spoilt(fields, right) | bodies.any_body(fields))
        sent = bodies.written(pairs).encode()
        plain = readers.plain(sent)
        assert plain is None or plain == readers.judged(sent)

    def test_readers_never_read_any_value_near_a_right_one_differently(self, readers: Readers) -> None:
        fields = readers.body().fields
        for way in readers.ways:
            right: dict[str, Any] = {name: _one(name, fields[name]) for name in [*way, "lane_code"]}
            for name, value in _near(right, fields):
                sent = bodies.written(tuple({**right, name: value}.items())).encode()
                plain = readers.plain(sent)
                assert plain is None or plain == readers.judged(sent), (name, value)

    @settings(max_examples=200, deadline=None)
    @given(data=st.data())
    def test_readers_never_read_broken_bytes_differently(self, readers: Readers, data: st.DataObject) -> None:
        sent = bodies.written(data.draw(readers.right(of=set(readers.struct.__struct_fields__)))).encode()
        at = data.draw(st.integers(0, len(sent)))
        broken = sent[:at] + data.draw(st.binary(max_size=2)) + sent[at + data.draw(st.integers(0, 2)) :]
        plain = readers.plain(broken)
        assert plain is None or plain == readers.judged(broken)


def _one(name: str, field: Any) -> Any:
    """Return one right value: the fields of an object that are needed, and all others."""
    if isinstance(field, serializers.Serializer):
        return tuple((of, _one(of, inner)) for of, inner in field.fields.items())
    return FIRST[name]


FIRST = {
    "session": bodies.ID, "ticket_type": bodies.ID, "quantity": 2, "seats": ["A1"], "lane_code": "friends",
    "accessible": True, "method": "fake", "token": "ok",
}  # fmt: skip


def _near(right: dict[str, Any], fields: Any) -> list[tuple[str, Any]]:
    """List each value near a right one, with its field; of an object, the object with it."""
    found = [(name, value) for name in right for value in bodies.NEAR.get(name, [])]
    for name, pairs in right.items():
        if isinstance(fields[name], serializers.Serializer):
            for of, _value in pairs:
                found += [(name, tuple({**dict(pairs), of: value}.items())) for value in bodies.NEAR[of]]
    return found
