"""Read a client's JSON and report repeated names. Python's own reader silently takes the last of two equal names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rest_framework.utils import json

MOST_NAMES = 20  # repeated names in one report
LONGEST_NAME = 200  # characters of a name with the objects around it


class _Twice(dict[str, Any]):
    """Mark an object in which some names came more than once."""

    names: list[str]


def read(text: str) -> tuple[Any, list[str]]:
    """Return a body and its repeated fields at any depth (`payment.token`). Raises: ValueError, RecursionError."""
    found: list[_Twice] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        named = dict(pairs)
        if len(named) == len(pairs):
            return named
        twice = _Twice(named)
        twice.names = [name for name, times in Counter(name for name, _value in pairs).items() if times > 1]
        found.append(twice)
        return twice

    body = json.loads(text, object_pairs_hook=made)
    return body, [name[:LONGEST_NAME] for name in itertools.islice(_fields(body, ""), MOST_NAMES)] if found else []


def _fields(body: Any, path: str) -> Iterator[str]:
    if isinstance(body, _Twice):
        yield from (f"{path}{name}" for name in body.names)
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, value in inner:
        yield from _fields(value, f"{path}{name}.")
