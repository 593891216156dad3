"""Define the looks of seats by price, for the map, its legend, the seats as boxes, and the picture of a huge hall.

Note [Told apart by more than colour]
Each look has marks of its own beside its colour (WCAG 1.4.1): one on the seat's back and, from the thirteenth look on,
one under it. Colour and marks stand out from their background (1.4.11). The prices of a session that have seats take
the looks in their order, and there are more looks than a session may have prices. A hall may have more sections than
that: those begin again with the first look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Theme(NamedTuple):
    """The colours of a look: `strong` for outline and marks, `soft` for their background."""

    strong: str
    soft: str


class Mark(NamedTuple):
    """A path, drawn as lines, or `filled`."""

    path: str
    filled: bool = False


class Look(NamedTuple):
    """The look of a price; `under` is the mark between the seat's back and its edge."""

    back: Mark
    under: Mark
    light: Theme
    dark: Theme


COLOURS = (
    (Theme("#1f6f96", "#d6ebf5"), Theme("#6cc3ec", "#17394a")),
    (Theme("#7646b8", "#e9dffa"), Theme("#c1a0ff", "#35265a")),
    (Theme("#9a5b05", "#f9e7c6"), Theme("#efb45a", "#46330f")),
    (Theme("#2b7a4b", "#d8f0e0"), Theme("#74d49a", "#173f28")),
    (Theme("#973787", "#fedcf5"), Theme("#f19ddf", "#4b2b44")),
    (Theme("#007373", "#d1efee"), Theme("#72d0d0", "#173f3f")),
    (Theme("#62691b", "#e7ebd1"), Theme("#bbc679", "#373b1b")),
    (Theme("#4b53c2", "#dee6ff"), Theme("#a5b6ff", "#2f3557")),
    (Theme("#924d35", "#fee1d7"), Theme("#f6a88d", "#4e2f24")),
    (Theme("#576574", "#e3e9ef"), Theme("#b0c0d1", "#323940")),
    (Theme("#745583", "#efe3f5"), Theme("#d1afe2", "#403246")),
    (Theme("#696257", "#eae7e3"), Theme("#c5bdb0", "#3b3732")),
)
BACKS = (
    Mark(""),
    Mark("M8.2 6.3a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0-3.6 0z", filled=True),
    Mark("M6.6 6.3h6.8"),
    Mark("M10 3.2v6.2"),
    Mark("M6.8 4.8h6.4M6.8 7.8h6.4"),
    Mark("M8.3 3.2v6.2M11.7 3.2v6.2"),
    Mark("M7.3 9.2l5.4-5.8"),
    Mark("M10 3.1l3.6 6h-7.2z", filled=True),
    Mark("M7.5 6.3a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0z"),
    Mark("M7.3 3.4l5.4 5.8"),
    Mark("M7.2 3.6h5.6v5.6h-5.6z", filled=True),
    Mark("M6.4 8.6l1.8-4.4 1.8 4.4 1.8-4.4 1.8 4.4"),
)
UNDERS = (
    Mark(""),
    Mark("M8.8 15.9a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0z", filled=True),
    Mark("M6.2 15.9h7.6"),
    Mark(
        "M6.2 15.9a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0zM11.4 15.9a1.2 1.2 0 1 0 2.4 0a1.2 1.2 0 1 0-2.4 0z",
        filled=True,
    ),
    Mark("M7.6 16.7l2.4-1.8 2.4 1.8"),
)
TURN = 5  # colours further for each mark under the back, so that looks of one back differ in colour too
LOOKS = tuple(
    Look(back, under, *COLOURS[(place + TURN * turn) % len(COLOURS)])
    for turn, under in enumerate(UNDERS)
    for place, back in enumerate(BACKS)
)


class LegendEntry(NamedTuple):
    look: int
    price: Any


def look_of(place: int) -> int:
    """Return the look of the price, or of a hall's section, that is named at this place."""
    return place % len(LOOKS)


def looks_of(prices: Iterable[str], seats: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Give each price that has seats its look; `prices` are ids of ticket types, in the order of the page."""
    with_seats = {seat["ticket_type"] for seat in seats}
    return {price: look_of(place) for place, price in enumerate(price for price in prices if price in with_seats)}


def legend(prices: Mapping[str, Any], looks: Mapping[str, int]) -> list[LegendEntry]:
    """Pair each look with its price; `prices` maps ticket types' ids to the legend's text."""
    return [LegendEntry(look, prices[price]) for price, look in looks.items()]
