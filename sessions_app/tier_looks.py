"""What seats of one price look like: the one source of the map, its legend, the seats as boxes, and the picture of a huge hall.

Note [Told apart by more than colour]
Each look has a mark on the seat's back beside its colour (WCAG 1.4.1), and both stand out from what lies under them (1.4.11). The prices of a
session that have seats take the looks in their order. From the twelfth price on they share the last look, and the legend names them
together: a seat never shows another price's look, and each seat says its own price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Theme(NamedTuple):
    """`strong`: outline and mark; `soft`: what lies under the mark."""

    strong: str
    soft: str


class Look(NamedTuple):
    """`mark`: a path on the seat's back, drawn as lines, or `filled`."""

    mark: str
    filled: bool
    light: Theme
    dark: Theme


LOOKS = (
    Look("", False, Theme("#1f6f96", "#d6ebf5"), Theme("#6cc3ec", "#17394a")),
    Look(
        "M8.2 6.3a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0-3.6 0z",
        True,
        Theme("#7646b8", "#e9dffa"),
        Theme("#c1a0ff", "#35265a"),
    ),
    Look("M6.6 6.3h6.8", False, Theme("#9a5b05", "#f9e7c6"), Theme("#efb45a", "#46330f")),
    Look("M10 3.2v6.2", False, Theme("#2b7a4b", "#d8f0e0"), Theme("#74d49a", "#173f28")),
    Look("M6.8 4.8h6.4M6.8 7.8h6.4", False, Theme("#973787", "#fedcf5"), Theme("#f19ddf", "#4b2b44")),
    Look("M8.3 3.2v6.2M11.7 3.2v6.2", False, Theme("#007373", "#d1efee"), Theme("#72d0d0", "#173f3f")),
    Look("M7.3 9.2l5.4-5.8", False, Theme("#62691b", "#e7ebd1"), Theme("#bbc679", "#373b1b")),
    Look("M10 3.1l3.6 6h-7.2z", True, Theme("#4b53c2", "#dee6ff"), Theme("#a5b6ff", "#2f3557")),
    Look(
        "M7.5 6.3a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0z", False, Theme("#924d35", "#fee1d7"), Theme("#f6a88d", "#4e2f24")
    ),
    Look("M7.3 3.4l5.4 5.8", False, Theme("#576574", "#e3e9ef"), Theme("#b0c0d1", "#323940")),
    Look("M7.2 3.6h5.6v5.6h-5.6z", True, Theme("#745583", "#efe3f5"), Theme("#d1afe2", "#403246")),
    Look("M6.4 8.6l1.8-4.4 1.8 4.4 1.8-4.4 1.8 4.4", False, Theme("#696257", "#eae7e3"), Theme("#c5bdb0", "#3b3732")),
)
LAST = len(LOOKS) - 1


class LegendEntry(NamedTuple):
    """A look, and the prices that have it: one, or from the twelfth on several."""

    look: int
    prices: list[Any]


def looks_of(prices: Iterable[str], seats: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Give each price that has seats its look. `prices`: ids of ticket types, in the order in which the page names them."""
    with_seats = {seat["ticket_type"] for seat in seats}
    return {price: min(place, LAST) for place, price in enumerate(price for price in prices if price in with_seats)}


def legend(prices: Mapping[str, Any], looks: Mapping[str, int]) -> list[LegendEntry]:
    """Name the prices of each look. `prices`: by ticket type's id, with what the legend says of it."""
    by_look: dict[int, list[Any]] = {}
    for price, look in looks.items():
        by_look.setdefault(look, []).append(prices[price])
    return [LegendEntry(look, named) for look, named in by_look.items()]
