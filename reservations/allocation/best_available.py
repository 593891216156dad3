"""Choose the best seats for a party: together, near the focal point of the hall, without single seats left over.

Note [What best means]
Ordinary seats are free for any party. Wheelchair spaces and companion seats are kept for parties that ask for them
(`accessible`). A party gets nothing only if too few seats are free for it. The choice is ranked in this order:

1. Together: side by side in one row, no aisle between. Where that is impossible, the party splits into as few groups as
   can be, with as few people alone as can be (see `_loners`: the two never conflict).
2. No orphans. A group's orphans are the free seats beside it that it leaves without a free neighbour of their own sort,
   ordinary or kept.
3. Near. For seats together: the least sum of squared distances to the focal point. Several groups gather around a
   heart, which is one of the free seats: the least sum of squared distances to the heart, each plus the heart's own to
   the focal point. The `HEARTS` nearest runs of free seats that could hold a group offer one heart each. All groups but
   the last `TRIED` are whole runs, the nearest to the heart that keep to point 1.
4. First in plan order.

An accessible party has a wheelchair space among its seats. A single person gets just that; a larger party sits side by
side with a companion seat next to the space, or an ordinary seat where there is none. If possible the party takes no
more of the kept seats than that, which goes before points 2 and 3. Where it must split, the group with the wheelchair
has the size that leaves the fewest people alone. The others gather around it on ordinary seats, unless those are too
few or would leave more people alone. Without a free wheelchair space the party gets nothing.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from typing import NamedTuple

from reservations.allocation.hall_plan import TAKEN, Group, HallPlan, SeatOnPlan
from sessions_app.models import Seat, SeatStatus

HEARTS = 8
TRIED = 3  # the last groups, for which every combination is tried
ORDINARY_RUNS = re.compile(rb"o+")
ALL_RUNS = re.compile(rb"[ok]+")


class FreeSeats:
    """The free seats of a hall, read once for many parties: `choose` for each, then `take`."""

    def __init__(self, plan: HallPlan, free: Iterable[str]) -> None:
        self._plan = plan
        self._sorts = bytearray(len(plan.sorts))
        for index in map(plan.index.__getitem__, free):
            self._sorts[index] = plan.sorts[index]

    def take(self, labels: Iterable[str]) -> None:
        for label in labels:
            self._sorts[self._plan.index[label]] = TAKEN

    def choose(self, *, quantity: int, accessible: bool = False, ticket_type: uuid.UUID | None = None) -> list[str]:
        """Return the labels of the best seats in plan order; empty if too few are free. See Note [What best means]."""
        free = bytes(self._sorts)
        search = _Search(self._plan, free, self._plan.only(free, ticket_type) if ticket_type else free)
        return self._plan.labels(search.accessible(quantity) if accessible else search.ordinary(quantity))


def choose(
    seats: Iterable[Seat], *, quantity: int, accessible: bool = False, ticket_type: uuid.UUID | None = None
) -> list[Seat]:
    """Choose the best seats for a single party. `seats` are all of the session in plan order, taken ones too."""
    by_label = {seat.label: seat for seat in seats}
    plan = HallPlan(
        SeatOnPlan(seat.label, seat.section, seat.row, seat.x, seat.y, seat.kind, seat.ticket_type_id)
        for seat in by_label.values()
    )
    free = FreeSeats(plan, [seat.label for seat in by_label.values() if seat.status == SeatStatus.FREE])
    return [by_label[label] for label in free.choose(quantity=quantity, accessible=accessible, ticket_type=ticket_type)]


class _Search:
    """The search for one party. `free` has the sorts of all free seats, `offered` of those that this party may have."""

    def __init__(self, plan: HallPlan, free: bytes, offered: bytes) -> None:
        self.plan = plan
        self.free = free
        self.offered = offered

    def ordinary(self, party: int) -> list[Group]:
        together = self.together(party)
        return [together] if together else self.gather(party, among=ORDINARY_RUNS)

    def accessible(self, party: int) -> list[Group]:
        runs = [run for run in self.runs(ALL_RUNS) if self._wheelchairs(run)]
        together = self.with_wheelchair(party, runs)
        if together:
            return [together]
        longest = max((run.size for run in runs), default=0)
        cores = [self.with_wheelchair(size, runs) for size in range(min(party - 1, longest), 0, -1)]
        splits = []
        for among, core in itertools.product((ORDINARY_RUNS, ALL_RUNS), filter(None, cores)):
            rest = self._without(core).gather(party - core.size, among=among, hearts=self._wheelchairs(core))
            if rest:
                splits.append([core, *rest])
                if _alone(splits[-1]) == 0:
                    break
        return min(splits, key=_alone, default=[])

    def runs(self, pattern: re.Pattern[bytes]) -> list[Group]:
        return [Group(run.start(), run.end() - run.start()) for run in pattern.finditer(self.offered)]

    def orphans(self, group: Group) -> int:
        before, after = group.start - 1, group.end
        return (self.free[before] != TAKEN and self.free[before] != self.free[before - 1]) + (
            self.free[after] != TAKEN and self.free[after] != self.free[after + 1]
        )

    def together(self, party: int) -> Group | None:
        """Return the best group in one run, or None.

        Look at the nearest stretches first: after a choice without orphans, a stretch farther away can't be better.
        """
        best: tuple[int, int, Group] | None = None
        squares = self.plan.squares
        for nearest, start, end in self.plan.stretches:
            if best and best[0] == 0 and party * nearest > best[1]:
                break
            for run in ORDINARY_RUNS.finditer(self.offered, start, end):
                for first in range(run.start(), run.end() - party + 1):
                    way = squares[first + party] - squares[first]
                    if best is None or best[0] or way <= best[1]:
                        group = Group(first, party)
                        found = (self.orphans(group), way, group)
                        best = min(best, found) if best else found
        return best[2] if best else None

    def with_wheelchair(self, size: int, runs: Iterable[Group]) -> Group | None:
        groups = (group for run in runs for group in _windows(run, size) if self._wheelchairs(group))
        return min(groups, key=self._with_wheelchair_key, default=None)

    def _with_wheelchair_key(self, group: Group) -> tuple[bool, int, int, int, Group]:
        wheelchairs = self._wheelchairs(group)
        companions = self.plan.companions.intersection(range(group.start, group.end))
        unaccompanied = not any(seat - 1 in companions or seat + 1 in companions for seat in wheelchairs)
        needless = len(wheelchairs) - 1 + max(len(companions) - 1, 0)
        return unaccompanied, needless, self.orphans(group), self.plan.way(group), group

    def _wheelchairs(self, group: Group) -> list[int]:
        return [index for index in range(group.start, group.end) if index in self.plan.wheelchairs]

    def _without(self, group: Group) -> _Search:
        """Return the search without the group's seats."""
        taken = bytes(group.size)
        free = self.free[: group.start] + taken + self.free[group.end :]
        offered = self.offered[: group.start] + taken + self.offered[group.end :]
        return _Search(self.plan, free, offered)

    def gather(self, party: int, *, among: re.Pattern[bytes], hearts: Sequence[int] = ()) -> list[Group]:
        """Seat the party in the fewest groups, each from a run of its own; empty if too few seats are free."""
        runs = self.runs(among)
        if sum(run.size for run in runs) < party:
            return []
        _groups, smallest = _fewest(Counter(run.size for run in runs), party)
        runs = [run for run in runs if run.size >= smallest]
        best: tuple[int, int, list[Group]] | None = None
        for heart in hearts or self._hearts(runs):
            if best and best[0] == 0 and self.plan.way_around(heart, Group(heart, 1)) * party > best[1]:
                break
            groups = sorted(_Gathering(self, heart, runs).of(party))
            ways = sum(self.plan.way_around(heart, group) for group in groups)
            found = (sum(map(self.orphans, groups)), ways, groups)
            best = min(best, found) if best else found
        return best[2] if best else []

    def _hearts(self, runs: Iterable[Group]) -> list[int]:
        """Return the nearest seat to the focal point of each run: the `HEARTS` nearest of these, in order."""

        def way(index: int) -> int:
            return self.plan.way(Group(index, 1))

        return nsmallest(HEARTS, (min(range(run.start, run.end), key=way) for run in runs), key=way)


class _Gathering:
    """Seat a party's groups around one heart."""

    def __init__(self, search: _Search, heart: int, runs: Iterable[Group]) -> None:
        self.search = search
        self.heart = heart
        self.near = sorted((search.plan.nearest_to(heart, run), run) for run in runs)
        self.sizes = Counter(run.size for _near, run in self.near)

    def of(self, party: int) -> list[Group]:
        groups: list[Group] = []
        while _fewest(self.sizes, party)[0] > TRIED:
            index = self._whole_run(party)
            groups.append(self.near.pop(index)[1])
            self.sizes[groups[-1].size] -= 1
            party -= groups[-1].size
        return groups + self._best(party)

    def _whole_run(self, party: int) -> int:
        """Return the nearest run that leaves the rest the fewest groups and the fewest people alone."""
        _groups, smallest = _fewest(self.sizes, party)
        alone = _loners(self.sizes, party)
        return next(
            index
            for index, (_near, run) in enumerate(self.near)
            if run.size >= smallest
            and (run.size == 1) + _loners(self.sizes - Counter([run.size]), party - run.size) == alone
        )

    def _best(self, party: int) -> list[Group]:
        count, _smallest = _fewest(self.sizes, party)
        alone = _loners(self.sizes, party)
        shares = [share for share in _shares(party, count, max(+self.sizes)) if share.count(1) == alone]
        found = {size: self._nearest(size, count) for size in set(itertools.chain.from_iterable(shares))}
        choices = (
            choice
            for share in shares
            for choice in itertools.product(*(found[size] for size in share))
            if len({option.run for option in choice}) == count
        )
        return [option.group for option in min(choices, key=_of_all)]

    def _nearest(self, size: int, count: int) -> list[_Option]:
        """Return the best windows of `count` runs; a choice has that many groups, so it needs no more."""
        best: list[_Option] = []
        for near, run in self.near:
            if len(best) == count and best[-1].orphans == 0 and near * size > best[-1].way:
                break
            if run.size >= size:
                best = sorted([*best, min(self._options(run, size))])[:count]
        return best

    def _options(self, run: Group, size: int) -> Iterator[_Option]:
        for group in _windows(run, size):
            yield _Option(self.search.orphans(group), self.search.plan.way_around(self.heart, group), group, run)


class _Option(NamedTuple):
    """A place where a group could sit. Options sort best first."""

    orphans: int
    way: int
    group: Group
    run: Group


def _of_all(choice: Iterable[_Option]) -> tuple[int, int, list[Group]]:
    orphans, ways, groups, _runs = zip(*choice, strict=True)
    return sum(orphans), sum(ways), sorted(groups)


def _windows(run: Group, size: int) -> Iterator[Group]:
    for start in range(run.start, run.end - size + 1):
        yield Group(start, size)


def _shares(party: int, groups: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yield all ways to split a party, larger groups first."""
    if groups == 1:
        if 1 <= party <= largest:
            yield (party,)
        return
    for first in range(min(largest, party - groups + 1), 0, -1):
        for rest in _shares(party - first, groups - 1, first):
            yield (first, *rest)


def _fewest(sizes: Counter[int], party: int) -> tuple[int, int]:
    """Return how many groups the party needs, and the least size of the smallest of them.

    That size is the rest that the largest other runs can't hold.
    """
    groups = 0
    for size in sorted(sizes, reverse=True):
        needed = -(-party // size)
        if needed <= sizes[size]:
            return groups + needed, party - size * (needed - 1)
        groups += sizes[size]
        party -= size * sizes[size]
    raise ValueError("too few seats")


def _loners(sizes: Counter[int], party: int) -> int:
    """Count the people who must sit alone; the number is the same in the fewest groups and in any number of them.

    Runs of two and more seat people in company while they last. A person left over gets a neighbour out of a group of
    three or more, which needs no further group. Only where all runs are pairs does one person of an odd party sit
    alone.
    """
    in_company = {size: number for size, number in sizes.items() if size > 1 and number}
    seats = sum(size * number for size, number in in_company.items())
    if party == 1 or seats < party:
        return party - seats if party > 1 else 1
    return party % 2 if max(in_company) == 2 else 0


def _alone(groups: Iterable[Group]) -> int:
    return sum(group.size == 1 for group in groups)
