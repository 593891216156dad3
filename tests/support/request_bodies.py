"""Bodies of requests for places, right ones and spoilt ones.

An object is a tuple of pairs, so that a name can come twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from rest_framework import serializers

Values = st.SearchStrategy[Any]
Pairs = tuple[tuple[str, Any], ...]
Fields = Mapping[str, Any]

ID = str(uuid4())
NAMES = ["more", "Seats", "seat", "", "session ", "\ud800"]  # that no body has


def near(longest: int, *right: str) -> list[Any]:
    """List texts at the edges of a field of that length, and right texts with something in or around them."""
    edges = [letter * many for letter in ("x", "é", "\U0001f600") for many in (longest, longest + 1)]
    around = [
        form for one in right for form in (f" {one}", f"{one} ", f"{one}\n", f"{one}\0", f"{one}:1", f"{one}\ud800")
    ]
    odd = ["", " ", "\u2003", "\x1c", "\u200b", "A\n1", "\0", '"', "\\", "{", "a,b", "\x7f", "\u2028", "1", 1, 1.0]
    return [*right, *edges, *around, f"{'x' * longest} ", *odd]


IDS = [ID.upper(), ID.replace("-", ""), f"{ID}\n", f" {ID}", f"{{{ID}}}", f"urn:uuid:{ID}", ID[:-1], f"{ID}0", "", 7]
LABELS = near(16, "A1", "É 3")
# For each field: values that are plainly right, and values near them.
RIGHT: dict[str, Values] = {
    "session": st.uuids().map(str) | st.just(ID),
    "ticket_type": st.uuids().map(str) | st.just(ID),
    "quantity": st.integers(1, 9) | st.just(2**31 - 1),
    "seats": st.lists(st.sampled_from(["A1", "B 2", "É3", "x" * 16]), min_size=1, max_size=4),
    "lane_code": st.sampled_from(["friends", "Para os amigos", "x" * 100]),
    "accessible": st.booleans(),
    "method": st.sampled_from(["fake", "stripe"]),
    "token": st.sampled_from(["ok", "tok_x1", "x" * 120]),
    "email": st.sampled_from(["", "ana@example.com"]),
    "voucher": st.sampled_from(["SUMMER", "summer", None]),
    "concessions": st.sampled_from([(), (("A1", "Estudante"),), (("Estudante", 2),)]),
}
NEAR: dict[str, list[Any]] = {
    "session": IDS,
    "ticket_type": IDS,
    "quantity": [0, -1, 2.0, -0.0, 1.5, 2**31, 2**63, 2**64, 10**30, "1", True],
    "seats": [[], [None], *([label] for label in LABELS), *(["A1", label] for label in LABELS),
              ["A1"] * 1_000, ["A1"] * 1_001],
    "lane_code": near(100, "friends"),
    "accessible": [0, 1, "true", "", 1.0],
    "method": ["cash", "Fake", " fake", "", 1],
    "token": near(120, "ok"),
    "email": ["ana", " ana@example.com", "ana@example.com\n", "\0", 1],
    "voucher": near(100, "SUMMER"),
    "concessions": [(("", 1),), (("A1", None),), (("A1", "\0"),), (("A1", 2.0),), (("x" * 61, 1),),
                     (("A", 1), ("A", 2)), [], "A1"],
}  # fmt: skip
ANYTHING: Values = (
    st.sampled_from([None, True, False, (), [], ["A1"], (("quantity", 1),), [[]], ID, float("inf"), float("nan")])
    | st.text(max_size=18)
    | st.integers()
    | st.floats()
)


def drawn_names(fields: Fields) -> set[str]:
    """Name the fields of a body, and those of the objects in it, that are drawn here."""
    inner = {f"{name}.{of}" for name, field in fields.items() if _is_object(field) for of in drawn_names(field.fields)}
    return {name for name, field in fields.items() if name in RIGHT or _is_object(field)} | inner


def right_body(fields: Fields, needed: Collection[str], optional: Collection[str]) -> Values:
    """Draw an object with right values, in any order of its names. The optional ones may be missing."""
    always = {name: right_value(name, fields[name]) for name in needed}
    maybe = {name: right_value(name, fields[name]) for name in optional}
    return st.fixed_dictionaries(always, optional=maybe).flatmap(
        lambda said: st.permutations([*said.items()]).map(tuple)
    )


def right_value(name: str, field: Any) -> Values:
    if not _is_object(field):
        return RIGHT[name]
    needed = [of for of, inner in field.fields.items() if inner.required]
    return right_body(field.fields, needed, field.fields.keys() - needed)


def any_value(name: str, field: Any) -> Values:
    if _is_object(field):
        names = st.lists(st.sampled_from([*field.fields, *field.fields, "more"]), max_size=4)
        body = names.flatmap(lambda drawn: st.tuples(*(_pair(of, any_value(of, field.fields.get(of))) for of in drawn)))
        return right_value(name, field) | body | ANYTHING
    return RIGHT[name] | st.sampled_from(NEAR[name]) | ANYTHING if field else ANYTHING


def any_body(fields: Fields) -> Values:
    """Draw an object with any of the fields, each with any value; names that no body has and names that come twice."""
    names = st.lists(st.sampled_from([*fields, *fields, *NAMES]), max_size=7)
    return names.flatmap(lambda drawn: st.tuples(*(_pair(name, any_value(name, fields.get(name))) for name in drawn)))


@st.composite
def spoilt(draw: st.DrawFn, fields: Fields, right: Values) -> Pairs:
    """Draw a right body and change one thing in it: a value, a name, or the same in an object of the body."""
    pairs = list(draw(right))
    at = draw(st.integers(0, len(pairs) - 1))
    name, value = pairs[at]
    if _is_object(fields[name]) and value and draw(st.booleans()):
        pairs[at] = (name, draw(spoilt(fields[name].fields, st.just(value))))
        return tuple(pairs)
    other = draw(st.sampled_from(sorted(fields)))
    change: Values = st.sampled_from(
        [
            [(name, draw(any_value(name, fields[name])))],
            [(name, value), (name, draw(any_value(name, fields[name])))],
            [(name, value), (other, draw(any_value(other, fields[other])))],
            [(name, value), (draw(st.sampled_from(NAMES)), 1)],
            [],
        ]
    )
    pairs[at : at + 1] = draw(change)
    return tuple(pairs)


def written(value: Any) -> str:
    """Write JSON."""
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(name)}: {written(of)}" for name, of in value) + "}"
    return json.dumps(value)


def _pair(name: str, value: Values) -> Values:
    return st.tuples(st.just(name), value)


def _is_object(field: Any) -> bool:
    return isinstance(field, serializers.Serializer)
