"""Draw a session's seats. `static/sessions_app/seat-map.js` makes the drawing interactive and keeps it current."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, Self, TypedDict

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from sessions_app.pages.tier_looks import looks_of
from sessions_app.plans import Place

CELL = 24  # units of the drawing a seat width takes; the seat itself is 20
SEAT = 20
MARGIN = 1.4  # seat widths left free around, for row names
LARGE = 450  # seats from which on a room has a stage rather than a screen
# Seats from which on they travel packed, and static/sessions_app/far-seats.js creates elements for those in sight.
HUGE = 3_000
NAME = 4  # about how many seat widths a section's name takes
AISLE = 1.3  # seat widths from chair to chair beyond which people walk between

Chair = Mapping[str, Any]  # one of the `seats` of API.md's seat map

SHAPES = {"f": "free", "h": "held", "s": "sold", "b": "blocked"}
SEATS_KEPT = 32_768  # drawn seats that a process keeps, 700 bytes each
SEAT_FACTS = ("label", "section", "row", "number", "x", "y", "kind", "status")
facts_of = itemgetter(*SEAT_FACTS)
ROW_ROLE = ' role="row"'
SEAT_ROLE = ' role="gridcell" tabindex="-1" aria-selected="false"'
STILL_ROLE = ' role="img"'
ROW = f'<g{ROW_ROLE} data-row="{{}}" data-section="{{}}">{{}}</g>'
USE = (
    f'<use href="#seat-{{}}" x="{{}}" y="{{}}"{SEAT_ROLE}'
    ' data-seat="{}" data-number="{}"'
    ' data-look="{}" data-tier="{}" data-type="{}" data-kind="{}" aria-label="{}"/>'
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parts of the drawing that the template frames.

    `wide` and `tall` are seat widths, from which the style sheet makes a size on screen.
    """

    view_box: str
    wide: float
    tall: float
    middle: float
    stage: str
    stage_text_y: float
    is_large: bool
    rows: SafeString
    chairs: Packed | None  # instead of `rows`, for a huge hall
    names: SafeString
    seats: int
    looks: int  # how many of `tier_looks` it shows


@dataclass(frozen=True)
class Words:
    """The words for seats in one language, looked up once for ten thousand of them.

    _words.html has the same words for seat-map.js.
    """

    name: str
    statuses: Mapping[str, str]
    kinds: Mapping[str, str]

    @classmethod
    def of_the_page(cls) -> Self:
        return cls.of(get_language() or "")

    @classmethod
    @cache
    def of(cls, language: str) -> Self:
        return cls(
            name=_("Row {row} seat {number}"),
            statuses={"f": _("free"), "h": _("held"), "s": _("sold"), "b": _("not for sale")},
            kinds={"wheelchair": _("wheelchair space"), "companion": _("companion seat"), "love": _("love seat")},
        )

    def name_of(self, chair: Chair) -> str:
        """Return the seat's name, like “Balcony, row C seat 7”."""
        name = self.name.format(row=chair["row"], number=chair["number"])
        return f"{chair['section']}, {name}" if chair["section"] else name

    def describe(self, chair: Chair, price: str) -> str:
        """Return the seat's description, like “Row C seat 7, free, R$ 30,00”."""
        kind = self.kinds.get(chair["kind"])
        free = chair["status"] == "f"
        parts = [self.name_of(chair), kind, self.statuses[chair["status"]], price if free else None]
        return ", ".join(part for part in parts if part)


def draw(seats: Sequence[Chair], *, prices: Mapping[str, str], still: bool = False) -> Plan:
    """Draw the seats, which are listed as `queries.seat_map` does, in plan order, at least one.

    `prices` maps each ticket type to the text that a reader sees; prices look as `tier_looks` says. A `still` plan is a
    picture: no part of it has a role or takes the focus.
    """
    left = min(seat["x"] for seat in seats) - MARGIN
    right = max(seat["x"] for seat in seats) + 1 + MARGIN
    top = min(seat["y"] for seat in seats) - 2.6
    bottom = max(seat["y"] for seat in seats) + 1.4
    middle = (left + right) / 2 * CELL
    reach = min((right - left) * 0.42, 16) * CELL
    line = (top + 0.9) * CELL
    rows = _rows(seats)
    looks = looks_of(prices, seats)
    is_packed = len(seats) > HUGE and not still
    return Plan(
        view_box=" ".join(f"{number * CELL:g}" for number in (left, top, right - left, bottom - top)),
        wide=round(right - left, 1),
        tall=round(bottom - top, 1),
        middle=middle,
        stage=f"M{middle - reach:g} {line + 9:g}Q{middle:g} {line - 9:g} {middle + reach:g} {line + 9:g}",
        stage_text_y=line + 9,
        is_large=len(seats) > LARGE,
        rows=_drawn([] if is_packed else rows, prices, looks, still=still),
        chairs=_packed(rows, list(prices)) if is_packed else None,
        names=_names(rows),
        seats=len(seats),
        looks=len(looks),
    )


def draw_chairs(places: Sequence[Place]) -> Plan:
    """Draw a hall without a session, with at least one chair: all chairs free, each section with a look of its own."""
    chairs = [{**asdict(place), "ticket_type": place.section, "status": "f"} for place in places]
    return draw(chairs, prices=dict.fromkeys((place.section for place in places), ""), still=True)


class PlainSeat(NamedTuple):
    """A seat as a box to tick."""

    label: str
    number: str
    says: str
    shape: str
    look: str
    tier: int
    after_aisle: bool


class PlainSection(NamedTuple):
    """A section as a list of rows. Without rows, only its name is shown, as a link to them."""

    name: str
    free: int
    rows: list[tuple[str, list[PlainSeat]]]


def sections(seats: Sequence[Chair], *, prices: Mapping[str, str], shown: str | None) -> list[PlainSection]:
    """Return the sections for browsers without scripts. A large hall with sections lists only the seats of `shown`."""
    rows = _rows(seats)
    words = Words.of_the_page()
    looks = looks_of(prices, seats)
    by_section: dict[str, list[list[Chair]]] = {}
    for row in rows:
        by_section.setdefault(row[0]["section"], []).append(row)
    whole = len(seats) <= LARGE or len(by_section) == 1
    return [
        PlainSection(
            name,
            free=sum(seat["status"] == "f" for row in found for seat in row),
            rows=[(row[0]["row"], _plain_row(row, words, prices, looks)) for row in found]
            if whole or name == shown
            else [],
        )
        for name, found in by_section.items()
    ]


def _plain_row(
    row: Sequence[Chair], words: Words, prices: Mapping[str, str], looks: Mapping[str, int]
) -> list[PlainSeat]:
    along = [math.hypot(seat["x"] - before["x"], seat["y"] - before["y"]) for before, seat in itertools.pairwise(row)]
    return [
        PlainSeat(
            label=seat["label"],
            number=str(seat["number"]),
            says=words.describe(seat, prices[seat["ticket_type"]]),
            shape=_shape(seat, looks[seat["ticket_type"]]),
            look=seat["status"],
            tier=looks[seat["ticket_type"]],
            after_aisle=gap > AISLE,
        )
        for seat, gap in zip(row, [0.0, *along], strict=True)
    ]


def _shape(chair: Chair, look: int) -> str:
    """Return the id of the seat's shape; a free seat's shape has its price's mark."""
    status, kind = chair["status"], chair["kind"]
    return f"{kind if kind != 'standard' else 'free'}-{look}" if status == "f" else SHAPES[status]


def _rows(seats: Sequence[Chair]) -> list[list[Chair]]:
    return [list(chairs) for _row, chairs in itertools.groupby(seats, key=lambda seat: (seat["section"], seat["row"]))]


def _drawn(
    rows: Sequence[Sequence[Chair]], prices: Mapping[str, str], looks: Mapping[str, int], *, still: bool
) -> SafeString:
    language = get_language() or ""
    ways = {
        type_: (language, still, index, looks.get(type_, 0), price)
        for index, (type_, price) in enumerate(prices.items())
    }

    def seats_of(chairs: Sequence[Chair]) -> SafeString:
        return SafeString("".join([_seat(*ways[chair["ticket_type"]], *facts_of(chair)) for chair in chairs]))

    row = ROW.replace(ROW_ROLE, "") if still else ROW
    return format_html_join("", row, ((chairs[0]["row"], chairs[0]["section"], seats_of(chairs)) for chairs in rows))


class Packed(TypedDict):
    """The chairs of a huge hall, a row each, and the status letter of every seat."""

    rows: list[list[Any]]
    looks: str


def _packed(rows: Sequence[Sequence[Chair]], types: Sequence[str]) -> Packed:
    """Return all that the page needs to draw and name the seats, in a few bytes a seat once it is compressed."""
    looks = "".join(chair["status"] for chair in itertools.chain.from_iterable(rows))
    return {"rows": [_packed_row(row, types) for row in rows], "looks": looks}


def _packed_row(row: Sequence[Chair], types: Sequence[str]) -> list[Any]:
    numbers = [chair["number"] for chair in row]
    labels = [chair["label"] for chair in row]
    prefix = labels[0].removesuffix(str(numbers[0]))
    kinds = {str(index): chair["kind"] for index, chair in enumerate(row) if chair["kind"] != "standard"}
    tiers = [types.index(chair["ticket_type"]) for chair in row]
    return [
        row[0]["section"],
        row[0]["row"],
        prefix if labels == [f"{prefix}{number}" for number in numbers] else labels,
        numbers[0] if numbers == list(range(numbers[0], numbers[0] + len(row))) else numbers,
        _steps([chair["x"] for chair in row]),
        _steps([chair["y"] for chair in row]),
        kinds,
        tiers[0] if len(set(tiers)) == 1 else tiers,
    ]


def _steps(places: Sequence[float]) -> list[int]:
    """Return the steps from seat to seat, the first from zero, in whole units of the drawing."""
    units = [0, *(round(place * CELL) for place in places)]
    return [after - before for before, after in itertools.pairwise(units)]


@lru_cache(maxsize=SEATS_KEPT)
def _seat(language: str, still: bool, type_: int, look: int, price: str, *facts: Any) -> SafeString:
    """Draw a seat. A page is drawn again and again while it is asked for, and most of its seats are as they were."""
    chair = dict(zip(SEAT_FACTS, facts, strict=True))
    return format_html(
        USE.replace(SEAT_ROLE, STILL_ROLE) if still else USE,
        _shape(chair, look),
        f"{chair['x'] * CELL:g}",
        f"{chair['y'] * CELL:g}",
        chair["label"],
        chair["number"],
        chair["status"],
        look,
        type_,
        chair["kind"],
        Words.of(language).describe(chair, price),
    )


def _names(rows: Sequence[Sequence[Chair]]) -> SafeString:
    """Draw row names before each row's first seat, and section names over each section."""
    beside = [
        (f"{(row[0]['x'] - 0.2) * CELL:g}", f"{row[0]['y'] * CELL + 13:g}", "row-text", row[0]["row"]) for row in rows
    ]
    over = []
    for section, group in itertools.groupby(rows, key=lambda row: row[0]["section"]):
        if section:
            x, y = _head(list(group))
            over.append((f"{x * CELL + SEAT / 2:g}", f"{y * CELL - 7:g}", "section-text", section))
    return format_html_join("", '<text x="{}" y="{}" class="{}">{}</text>', [*beside, *over])


def _head(rows: Sequence[Sequence[Chair]]) -> tuple[float, float]:
    """Return the spot of a section's name: over its middle, or over its first row where the middle is empty."""
    chairs = list(itertools.chain.from_iterable(rows))
    centre = _middle(chairs)
    around = [chair for chair in chairs if abs(chair["x"] - centre) <= NAME / 2]
    return (centre, min(chair["y"] for chair in around)) if around else (_middle(rows[0]), rows[0][0]["y"])


def _middle(chairs: Sequence[Chair]) -> float:
    left, right = min(chair["x"] for chair in chairs), max(chair["x"] for chair in chairs)
    return float(left + right) / 2
