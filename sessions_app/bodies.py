"""The shapes of seat maps as JSON: typed dictionaries, so that no step converts the thousands of seats of a map."""

from __future__ import annotations

import datetime as dt
from typing import NotRequired, TypedDict


class Price(TypedDict):
    """Money in minor units."""

    amount: int
    currency: str


class SeatBody(TypedDict):
    """A seat on the map; `held_until` stands only while it is held."""

    label: str
    section: str
    row: str
    number: int
    x: float
    y: float
    kind: str
    ticket_type: str
    status: str
    held_until: NotRequired[dt.datetime]


class SeatMap(TypedDict):
    """A session's seats in plan order."""

    session: str
    version: int
    counts: dict[str, int]
    seats: list[SeatBody]


class CompactMap(TypedDict):
    """The version of a map, and one status letter for each seat, in plan order."""

    version: int
    seats: str
