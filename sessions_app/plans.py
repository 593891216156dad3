"""Build plans of chairs: where each stands, its name, and its place in the order of drawing.

Distances are seat widths. The line y = 0 is the stage, or the screen, and x = 0 is its middle.
"""

from __future__ import annotations

import itertools
import math
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sessions_app.models import Chair, SeatKind

FRONT = 3.0  # from the stage to the first row
ROW_DEPTH = 1.3


@dataclass(frozen=True, kw_only=True)
class Place:
    """One chair of a plan."""

    label: str
    row: str
    number: int
    x: float
    y: float
    section: str = ""
    kind: str = SeatKind.STANDARD


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows of chairs side by side.

    `aisles` are the chairs of a row after which people walk; `kinds` maps label to kind.
    """

    rows: Sequence[int]  # chairs of each row, front to back
    section: str = ""
    prefix: str = ""  # of every label, where several blocks would repeat them
    first_row: int = 0
    aisles: frozenset[int] = frozenset()
    left: float = 0.0  # x of the block's middle
    front: float = FRONT
    curve: float = 0.0  # how far the ends of a row come forward
    turn: float | None = (
        # degrees to the right; rows are then arcs around the middle of the stage, and `front` is the radius of the
        # first
        None
    )
    kinds: Mapping[str, str] = field(default_factory=dict)


def row_name(index: int) -> str:
    """Return the row's name: A, B … Z, AA, AB …"""
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = string.ascii_uppercase[letter] + name
    return name


def label_of(row: str, number: int) -> str:
    """Return the seat's label: A7, or 3-7 where the row's name ends in a digit, because 37 would be unclear."""
    return f"{row}-{number}" if row[-1:].isdigit() else f"{row}{number}"


def block(plan: Block) -> Iterator[Place]:
    widest = max(plan.rows, default=1)
    for index, chairs in enumerate(plan.rows):
        row = row_name(plan.first_row + index)
        aisles = sum(1 for after in plan.aisles if after < chairs)
        middle = (chairs - 1 + aisles) / 2
        for number in range(1, chairs + 1):
            along = number - 1 + sum(1 for after in plan.aisles if after < number) - middle
            x, y = spot(plan, depth=index * ROW_DEPTH, along=along, widest=widest)
            label = f"{plan.prefix}{row}{number}"
            yield Place(
                label=label,
                row=f"{plan.prefix}{row}",
                number=number,
                x=round(x, 2),
                y=round(y, 2),
                section=plan.section,
                kind=plan.kinds.get(label, SeatKind.STANDARD),
            )


def spot(plan: Block, *, depth: float, along: float, widest: int) -> tuple[float, float]:
    """Return where a chair stands, `depth` behind its block's first row and `along` its own row from the middle."""
    radius = plan.front + depth
    if plan.turn is None:
        return plan.left + along, radius - plan.curve * (2 * along / widest) ** 2
    angle = math.radians(plan.turn) + along / radius
    return plan.left + math.sin(angle) * radius, math.cos(angle) * radius


def grid(*, rows: int, seats_per_row: int) -> list[Place]:
    """Return a plain room: A1 … in straight rows."""
    return list(block(Block(rows=[seats_per_row] * rows)))


def joined(*blocks: Block) -> list[Place]:
    return list(itertools.chain.from_iterable(map(block, blocks)))


def of_chairs(chairs: Sequence[Chair]) -> list[Place]:
    """Return the plan of stored chairs."""
    return [
        Place(
            label=chair.label,
            row=chair.row,
            number=chair.number,
            x=chair.x,
            y=chair.y,
            section=chair.section,
            kind=chair.kind,
        )
        for chair in chairs
    ]


class SectionSize(NamedTuple):
    """The size of a section of a plan."""

    name: str
    rows: int
    kinds: Counter[str]

    @property
    def seats(self) -> int:
        return self.kinds.total()


def sizes(places: Sequence[Place]) -> list[SectionSize]:
    """Return the size of each section, in plan order."""
    sections: dict[str, list[Place]] = {}
    for place in places:
        sections.setdefault(place.section, []).append(place)
    return [
        SectionSize(name, len({chair.row for chair in chairs}), Counter(str(chair.kind) for chair in chairs))
        for name, chairs in sections.items()
    ]
