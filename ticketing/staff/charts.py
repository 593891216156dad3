"""Draw column charts as SVG, with templates/ticketing/desk/_chart.html and without script or library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

WIDTH, HEIGHT = 480, 210  # units of the drawing; small enough for readable text on a phone
TOP, FLOOR = 18, 182
GAP = 0.28  # share of a column's width
HALF_A_LABEL = 30
LINES = 4  # at most, above the floor


@dataclass(frozen=True, kw_only=True)
class Column:
    """Describe a column. `parts` are name (a colour in desk.css) and value, from the floor up; `says` is a tooltip."""

    parts: Sequence[tuple[str, int]]
    says: str
    label: str = ""  # text below the column


class Bar(NamedTuple):
    x: str
    y: str
    width: str
    height: str
    part: str
    says: str


class Text(NamedTuple):
    x: str
    y: str
    text: str
    anchor: str = "start"


@dataclass(frozen=True, kw_only=True)
class Chart:
    title: str
    bars: Sequence[Bar]
    lines: Sequence[Text]  # each with its value
    labels: Sequence[Text]
    width: int = WIDTH
    height: int = HEIGHT
    floor: int = FLOOR


def draw(title: str, columns: Sequence[Column], *, name: Callable[[int], str]) -> Chart:
    """Draw the columns; `name` formats a value for the label of a line."""
    step, top = scale(max((sum(value for _part, value in column.parts) for column in columns), default=0))
    wide = WIDTH / max(len(columns), 1)
    return Chart(
        title=title,
        bars=[bar for index, column in enumerate(columns) for bar in _bars(column, index * wide, wide, top)],
        lines=[Text("0", f"{_y(value, top):g}", name(value)) for value in range(step, top + 1, step)],
        labels=_labels(columns, wide),
    )


def _labels(columns: Sequence[Column], wide: float) -> list[Text]:
    labels = []
    for index, column in enumerate(columns):
        middle = (index + 0.5) * wide
        x, anchor = f"{middle:.4g}", "middle"
        if middle < HALF_A_LABEL:
            x, anchor = "0", "start"
        elif middle > WIDTH - HALF_A_LABEL:
            x, anchor = f"{WIDTH}", "end"
        if column.label:
            labels.append(Text(x, f"{FLOOR + 20}", column.label, anchor))
    return labels


def scale(most: int) -> tuple[int, int]:
    """Return the step between lines (1, 2 or 5 with zeros) and the value of the highest line."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if most <= step * LINES:
                return step, max(-(-most // step), 1) * step
        power *= 10


def _y(value: int, top: int) -> float:
    return round(FLOOR - (FLOOR - TOP) * value / top, 1)


def _bars(column: Column, left: float, wide: float, top: int) -> Iterator[Bar]:
    below = 0
    for part, value in column.parts:
        if value > 0:
            upper, lower = _y(below + value, top), _y(below, top)
            x, width = left + wide * GAP / 2, wide * (1 - GAP)
            yield Bar(f"{x:.4g}", f"{upper:g}", f"{width:.4g}", f"{max(lower - upper, 0.8):.4g}", part, column.says)
        below += value
