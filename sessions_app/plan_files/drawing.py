"""Read a plan drawn in letters: a line for each row, from the stage to the back, a letter for each seat width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from sessions_app.models import SeatKind
from sessions_app.plan_files.checks import DEPTH, ROW, SECTION, SIDE, Chair, Wrong, checked, is_name
from sessions_app.plans import FRONT, ROW_DEPTH, Place, label_of, row_name

AISLE = "_"
KINDS = {
    "a": SeatKind.STANDARD.value,
    "w": SeatKind.WHEELCHAIR.value,
    "c": SeatKind.COMPANION.value,
    "l": SeatKind.LOVE.value,
}
NOTE = "#"
HEADING = re.compile(r"\[(?P<name>.*)\]")
WIDEST = 2 * SIDE  # letters in a row
DEEPEST = int((DEPTH - FRONT) / ROW_DEPTH)  # rows and gaps


@dataclass
class Reading:
    """The state of the reading."""

    section: str = ""
    sections: set[str] = field(default_factory=set)
    rows: int = 0
    names: set[tuple[str, str]] = field(default_factory=set)  # of rows, each with its section
    depth: int = 0  # of the next row, in rows
    gap: bool = False  # before it
    wrong: list[Wrong] = field(default_factory=list)


def read(text: str) -> list[Place]:
    """Read a drawing. Raises: PlanRefused."""
    reading = Reading()
    return checked(list(_chairs(text, reading)), reading.wrong)


def _chairs(text: str, reading: Reading) -> Iterator[Chair]:
    for number, line in enumerate(text.split("\n"), 1):
        where, written = _("line %(line)d") % {"line": number}, line.strip()
        if written.startswith(NOTE):
            continue
        if heading := HEADING.fullmatch(written):
            _begin_section(heading["name"].strip(), where, reading)
        elif written:
            yield from _row(written, where, number, reading)
        reading.gap |= not written or bool(heading)


def _begin_section(name: str, where: str, reading: Reading) -> None:
    if not is_name(name, SECTION):
        longest = {"longest": SECTION}
        reading.wrong.append(Wrong(where, _("A section's name has 1 to %(longest)d characters.") % longest))
    elif name in reading.sections:
        reading.wrong.append(Wrong(where, _("“%(name)s” comes twice.") % {"name": name}))
    elif reading.rows and not reading.sections:
        reading.wrong.append(Wrong(where, _("The rows above need a section's name too.")))
    reading.section = name
    reading.sections.add(name)


def _row(written: str, where: str, line: int, reading: Reading) -> Iterator[Chair]:
    given, colon, drawn = written.rpartition(":")
    drawn, name = drawn.strip(), given.strip() if colon else row_name(reading.rows)
    reading.depth += 1 if reading.gap and reading.rows else 0
    y = round(FRONT + reading.depth * ROW_DEPTH, 2)
    reading.rows, reading.depth, reading.gap = reading.rows + 1, reading.depth + 1, False
    wrong = list(_wrong_with(name, drawn, where, line, reading))
    reading.names.add((reading.section, name))
    reading.wrong += wrong
    if not wrong:
        yield from _seats(drawn, name, y, where, reading.section)


def _wrong_with(name: str, drawn: str, where: str, line: int, reading: Reading) -> Iterator[Wrong]:
    if not is_name(name, ROW):
        yield Wrong(where, _("A row's name has 1 to %(longest)d characters.") % {"longest": ROW})
    elif (reading.section, name) in reading.names:
        yield Wrong(where, _("“%(name)s” comes twice.") % {"name": name})
    strange = next((index for index, letter in enumerate(drawn) if letter not in KINDS and letter != AISLE), None)
    if strange is not None:
        letters = {"letter": drawn[strange], "known": " ".join([AISLE, *KINDS])}
        yield Wrong(where, _("“%(letter)s” has no meaning here. You can use: %(known)s.") % letters)
    elif not drawn.strip(AISLE):
        yield Wrong(where, _("This row has no seats."))
    if len(drawn) > WIDEST:
        yield Wrong(where, _("A row has at most %(most)d letters.") % {"most": WIDEST})
    if reading.depth > DEEPEST:
        yield Wrong(where, _("The hall has too many rows: the limit is %(most)d.") % {"most": DEEPEST})


def _seats(drawn: str, row: str, y: float, where: str, section: str) -> Iterator[Chair]:
    """Yield the row's seats, numbered from the left; the row, with its aisles, is centred."""
    number = 0
    for index, letter in enumerate(drawn):
        if letter == AISLE:
            continue
        number += 1
        yield Chair(
            where,
            Place(
                label=label_of(row, number),
                section=section,
                row=row,
                number=number,
                x=index - (len(drawn) - 1) / 2,
                y=y,
                kind=KINDS[letter],
            ),
        )
