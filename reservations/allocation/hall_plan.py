"""Measure where the chairs of a session stand, for the choice of the best seats."""

from __future__ import annotations

import itertools
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from sessions_app.models import SeatKind

NEXT_TO_EACH_OTHER = 1.6  # in seat widths between the middles of neighbours; an aisle is wider
FOCAL_DEPTH = 2 / 3  # the share of the way from the first row to the last; cinemas tune their sound for it
# Parts of a seat width. Plans have hundredths, and the focal point has their halves and thirds, so distances are whole
# numbers and equal distances compare as equal.
UNIT = 600
KEPT_KINDS = frozenset({SeatKind.WHEELCHAIR.value, SeatKind.COMPANION.value})
TAKEN, ORDINARY, KEPT = 0, ord("o"), ord("k")  # the sorts of seats


class SeatOnPlan(NamedTuple):
    label: str
    section: str
    row: str
    x: float
    y: float
    kind: str
    ticket_type: uuid.UUID
    pk: int = 0


class Group(NamedTuple):
    """Neighbouring seats, by their indexes in the hall."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


class Stretch(NamedTuple):
    """All chairs of a row between two aisles or walls. `nearest` is the least squared distance to the focal point."""

    nearest: int
    start: int
    end: int


class HallPlan:
    """The facts of a hall that don't change while a session is sold.

    Seats come in plan order and get an index. Between two stretches, and at both ends, stands a place of the sort
    TAKEN, so that a look beside a seat never reaches another row.
    """

    def __init__(self, seats: Iterable[SeatOnPlan]) -> None:
        everything = list(seats)
        self._seats: list[SeatOnPlan | None] = [None]
        self._focus = _focus(everything)
        stretches = []
        for chairs in _stretches(everything):
            nearest = min(x * x + y * y for x, y in map(self._way, chairs))
            stretches.append(Stretch(nearest, len(self._seats), len(self._seats) + len(chairs)))
            self._seats += [*chairs, None]
        self.stretches = sorted(stretches)
        self.index = {seat.label: index for index, seat in enumerate(self._seats) if seat}
        self.sorts = bytes(map(_sort, self._seats))
        self.wheelchairs = self._of_kind(SeatKind.WHEELCHAIR)
        self.companions = self._of_kind(SeatKind.COMPANION)
        self._ways = [self._way(seat) if seat else (0, 0) for seat in self._seats]
        # Running sums: the sum over a group is one subtraction.
        self._xs = list(itertools.accumulate((x for x, _y in self._ways), initial=0))
        self._ys = list(itertools.accumulate((y for _x, y in self._ways), initial=0))
        self.squares = list(itertools.accumulate((x * x + y * y for x, y in self._ways), initial=0))
        self._masks: dict[uuid.UUID, int] = {}

    def labels(self, groups: Iterable[Group]) -> list[str]:
        chosen = (self._seats[index] for group in sorted(groups) for index in range(group.start, group.end))
        return [seat.label for seat in chosen if seat]

    def __getitem__(self, label: str) -> SeatOnPlan:
        seat = self._seats[self.index[label]]
        assert seat is not None
        return seat

    def way(self, group: Group) -> int:
        """Return the sum of the squared distances of its seats to the focal point."""
        return self.squares[group.end] - self.squares[group.start]

    def way_around(self, heart: int, group: Group) -> int:
        """Return the sum of its seats' squared distances to the heart, each plus the heart's own to the focal point."""
        x, y = self._ways[heart]
        xs, ys = self._xs[group.end] - self._xs[group.start], self._ys[group.end] - self._ys[group.start]
        return self.way(group) - 2 * (x * xs + y * ys) + 2 * group.size * (x * x + y * y)

    def nearest_to(self, heart: int, group: Group) -> int:
        """Return what the seat nearest to the heart adds to `way_around`: no seat of the group adds less."""
        x, y = self._ways[heart]
        nearest = min((x - other) ** 2 + (y - row) ** 2 for other, row in self._ways[group.start : group.end])
        return nearest + x * x + y * y

    def only(self, sorts: bytes, ticket_type: uuid.UUID) -> bytes:
        """Return the same sorts, but with seats of other ticket types as TAKEN."""
        if ticket_type not in self._masks:
            mask = bytes(255 if seat and seat.ticket_type == ticket_type else 0 for seat in self._seats)
            self._masks[ticket_type] = int.from_bytes(mask)
        return (int.from_bytes(sorts) & self._masks[ticket_type]).to_bytes(len(sorts))

    def _way(self, seat: SeatOnPlan) -> tuple[int, int]:
        return round((seat.x - self._focus[0]) * UNIT), round((seat.y - self._focus[1]) * UNIT)

    def _of_kind(self, kind: SeatKind) -> frozenset[int]:
        return frozenset(index for index, seat in enumerate(self._seats) if seat and seat.kind == kind.value)


def _focus(seats: Sequence[SeatOnPlan]) -> tuple[float, float]:
    if not seats:
        return 0.0, 0.0
    left, right = min(seat.x for seat in seats), max(seat.x for seat in seats)
    front, back = min(seat.y for seat in seats), max(seat.y for seat in seats)
    return (left + right) / 2, front + (back - front) * FOCAL_DEPTH


def _stretches(seats: Sequence[SeatOnPlan]) -> Iterator[list[SeatOnPlan]]:
    rows: dict[tuple[str, str], list[SeatOnPlan]] = defaultdict(list)
    for seat in seats:
        rows[seat.section, seat.row].append(seat)
    for row in rows.values():
        row.sort(key=attrgetter("x"))
        walls = [i for i in range(1, len(row)) if row[i].x - row[i - 1].x > NEXT_TO_EACH_OTHER]
        for start, end in itertools.pairwise([0, *walls, len(row)]):
            yield row[start:end]


def _sort(seat: SeatOnPlan | None) -> int:
    if seat is None:
        return TAKEN
    return KEPT if seat.kind in KEPT_KINDS else ORDINARY
