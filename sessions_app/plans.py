"""Plans of chairs: where each stands, what it is called, in which order it is drawn.

Distances are seat widths; the stage, or the screen, is the line y = 0 and x = 0 its middle.
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
    """Rows of chairs side by side. `aisles`: after which chairs of a row people walk; `kinds`: label → kind."""

    rows: Sequence[int]  # chairs of each row, front to back
    section: str = ""
    prefix: str = ""  # of every label, where several blocks would repeat them
    first_row: int = 0
    aisles: frozenset[int] = frozenset()
    left: float = 0.0  # x of the block's middle
    front: float = FRONT
    curve: float = 0.0  # how far the ends of a row come forward
    turn: float | None = (
        None  # degrees to the right; rows are then arcs around the middle of the stage, `front` the first one's radius
    )
    kinds: Mapping[str, str] = field(default_factory=dict)


def row_name(index: int) -> str:
    """A, B … Z, AA, AB …"""
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = string.ascii_uppercase[letter] + name
    return name


def label_of(row: str, number: int) -> str:
    """A7, or 3-7 where the row has a number itself: 37 would say nothing."""
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
    """Where a chair stands that is so far behind its block's first row and so far along its own from the middle."""
    radius = plan.front + depth
    if plan.turn is None:
        return plan.left + along, radius - plan.curve * (2 * along / widest) ** 2
    angle = math.radians(plan.turn) + along / radius
    return plan.left + math.sin(angle) * radius, math.cos(angle) * radius


def grid(*, rows: int, seats_per_row: int) -> list[Place]:
    """A plain room: A1 … in straight rows."""
    return list(block(Block(rows=[seats_per_row] * rows)))


def joined(*blocks: Block) -> list[Place]:
    return list(itertools.chain.from_iterable(map(block, blocks)))


def of_chairs(chairs: Sequence[Chair]) -> list[Place]:
    """The plan that stored chairs make."""
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
    """What a section of a plan consists of."""

    name: str
    rows: int
    kinds: Counter[str]

    @property
    def seats(self) -> int:
        return self.kinds.total()


def sizes(places: Sequence[Place]) -> list[SectionSize]:
    """Of each section, in plan order."""
    sections: dict[str, list[Place]] = {}
    for place in places:
        sections.setdefault(place.section, []).append(place)
    return [
        SectionSize(name, len({chair.row for chair in chairs}), Counter(str(chair.kind) for chair in chairs))
        for name, chairs in sections.items()
    ]
