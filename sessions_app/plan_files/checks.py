"""Check a plan, however it was written. All errors are shown at once, each with its place in the file."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _

from sessions_app.plans import Place

MOST_CHAIRS = 10_000
MOST_ERRORS = 20  # that are shown
LABEL, SECTION, ROW, NUMBER = 16, 40, 8, 9999  # characters, as many as the tables keep; and the highest number
SIDE, DEPTH = 200, 200  # seat widths to either side of the middle, and from the stage to the back
ELBOW_ROOM = 0.7  # seat widths between the middles of two chairs


class Wrong(NamedTuple):
    """An error in a plan; `path` is its place, as `sections[0].rows[2]` or “line 3”, or empty for the file."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class PlanRefused(Exception):
    """The file is no plan of a hall."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        super().__init__(wrong)
        self.wrong = wrong

    def lines(self) -> list[str]:
        """Return the first errors, and how many more there are."""
        more = len(self.wrong) - MOST_ERRORS
        shown = [str(wrong) for wrong in self.wrong[:MOST_ERRORS]]
        return [*shown, _("… and %(number)d more.") % {"number": more}] if more > 0 else shown


class Chair(NamedTuple):
    """A place, and its position in the file."""

    path: str
    place: Place


def checked(chairs: Sequence[Chair], wrong: Sequence[Wrong]) -> list[Place]:
    """Return the plan, if neither the whole nor a part has an error. Raises: PlanRefused."""
    found = [*wrong, *_in_number(chairs, wrong), *_labelled_twice(chairs), *_too_close(chairs)]
    if found:
        raise PlanRefused(found)
    return [chair.place for chair in chairs]


def is_name(text: str, longest: int) -> bool:
    """Tell whether the name can be read aloud and stored: not empty, printable, no space around it."""
    return 0 < len(text) <= longest and text.isprintable() and text == text.strip()


def _in_number(chairs: Sequence[Chair], wrong: Sequence[Wrong]) -> Iterator[Wrong]:
    if not chairs and not wrong:
        yield Wrong("", _("The plan has no seats."))
    if len(chairs) > MOST_CHAIRS:
        numbers = {"most": MOST_CHAIRS, "number": len(chairs)}
        yield Wrong("", _("A hall has at most %(most)d seats; these are %(number)d.") % numbers)


def _labelled_twice(chairs: Sequence[Chair]) -> Iterator[Wrong]:
    first: dict[str, str] = {}
    for path, place in chairs:
        if place.label in first:
            names = {"label": place.label, "path": first[place.label]}
            yield Wrong(path, _("The label “%(label)s” is taken: see %(path)s.") % names)
        first.setdefault(place.label, path)


def _too_close(chairs: Sequence[Chair]) -> Iterator[Wrong]:
    """Yield chairs that are too close to another.

    Only chairs in the same or a neighbouring square are compared; a square is as wide as chairs need.
    """
    squares: dict[tuple[int, int], list[Place]] = defaultdict(list)
    for path, place in chairs:
        column, row = math.floor(place.x / ELBOW_ROOM), math.floor(place.y / ELBOW_ROOM)
        around = itertools.product(range(column - 1, column + 2), range(row - 1, row + 2))
        neighbours = itertools.chain.from_iterable(squares.get(square, ()) for square in around)
        near = next((other for other in neighbours if _distance(place, other) < ELBOW_ROOM), None)
        if near:
            yield Wrong(path, _("This seat is in the same position as “%(label)s”.") % {"label": near.label})
        else:
            squares[column, row].append(place)


def _distance(one: Place, other: Place) -> float:
    return math.hypot(one.x - other.x, one.y - other.y)
