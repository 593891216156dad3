"""Halls are drawn, one line a row, with the stage above.

`o` is a free seat, `L` a free love seat, `W` a free wheelchair space, `C` a free companion seat; `x`, `w`, `c` are
taken ones, and a space is an aisle. `*` is where the party sits.
"""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Collection, Iterable
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.rows import execute
from reservations.allocation import statements
from reservations.allocation.best_available import HEARTS, TRIED, FreeSeats, choose
from reservations.allocation.hall_plan import HallPlan, SeatOnPlan
from reservations.hold_request import HoldRequest
from reservations.models import Reservation, Status
from reservations.operations import queued
from sessions_app.models import Seat, SeatKind, Session, TicketType
from tests.factories import SessionFactory
from tests.reservations.test_holding import request_for, run_out

Chair: TypeAlias = tuple[int, int]  # row, column
Party: TypeAlias = frozenset[Chair]

ROWS = "ABCDEFGH"
KINDS = {"W": SeatKind.WHEELCHAIR, "C": SeatKind.COMPANION, "L": SeatKind.LOVE}
STANDARD = uuid.uuid4()
FRONT = uuid.uuid4()
COMBINATIONS = 3_000  # that one example may have


class Drawing:
    """A hall that was drawn; the first `front` rows have a ticket type of their own."""

    def __init__(self, rows: Iterable[str], *, front: int = 0) -> None:
        self.rows = list(rows)
        self.front = front

    def __repr__(self) -> str:
        return f"Drawing({self.rows!r})"

    @cached_property
    def chairs(self) -> dict[Chair, str]:
        marks = ((row, column, mark) for row, line in enumerate(self.rows) for column, mark in enumerate(line))
        return {(row, column): mark for row, column, mark in marks if mark != " "}

    @cached_property
    def free(self) -> Party:
        return frozenset(chair for chair, mark in self.chairs.items() if mark in "oLWC")

    @cached_property
    def ordinary(self) -> Party:
        return frozenset(chair for chair in self.free if self.chairs[chair] in "oL")

    def label(self, chair: Chair) -> str:
        return f"{ROWS[chair[0]]}{chair[1] + 1}"

    def seat(self, chair: Chair) -> SeatOnPlan:
        row, column = chair
        kind = KINDS.get(self.chairs[chair].upper(), SeatKind.STANDARD)
        ticket_type = FRONT if row < self.front else STANDARD
        return SeatOnPlan(self.label(chair), "", ROWS[row], column, row, kind.value, ticket_type)

    def free_seats(self) -> FreeSeats:
        return FreeSeats(HallPlan(map(self.seat, self.chairs)), map(self.label, self.free))

    def choose(self, party: int, *, accessible: bool = False, ticket_type: uuid.UUID | None = None) -> Party:
        labels = self.free_seats().choose(quantity=party, accessible=accessible, ticket_type=ticket_type)
        chosen = frozenset(chair for chair in self.free if self.label(chair) in labels)
        assert len(chosen) == len(labels), "free seats, each once"
        return chosen

    def drawn(self, chosen: Party) -> list[str]:
        return [
            "".join("*" if (row, column) in chosen else mark for column, mark in enumerate(line))
            for row, line in enumerate(self.rows)
        ]


def seated(party: int, *rows: str, accessible: bool = False) -> list[str]:
    hall = Drawing(rows)
    return hall.drawn(hall.choose(party, accessible=accessible))


class TestSeatsTogether:
    def test_are_in_the_middle_two_thirds_from_the_front(self) -> None:
        assert seated(2, *["oooooo"] * 4) == ["oooooo", "oooooo", "oo**oo", "oooooo"]
        assert seated(1, *["ooooo"] * 4) == ["ooooo", "ooooo", "oo*oo", "ooooo"]

    def test_are_in_one_row_with_no_aisle_between(self) -> None:
        assert seated(3, "ooo oo oo", "xxo oo xx") == ["*** oo oo", "xxo oo xx"]

    def test_may_be_far_from_the_middle_where_the_middle_is_too_narrow(self) -> None:
        assert seated(3, "oooxx", "xoxox", "xxoox") == ["***xx", "xoxox", "xxoox"]

    def test_are_in_a_worse_row_rather_than_far_aside_in_the_best(self) -> None:
        rows = ["xxxxxxxxx"] * 7
        rows[1], rows[4] = "xxxxooxxx", "xxxxxxxoo"
        assert seated(2, *rows)[1] == "xxxx**xxx"

    def test_leave_no_orphan_if_they_can_be_elsewhere(self) -> None:
        assert seated(2, "oooo", "xxxx") == ["**oo", "xxxx"]
        assert seated(2, "oox", "ooo") == ["**x", "ooo"]
        assert seated(1, "xooxoxx") == ["xoox*xx"]

    def test_leave_an_orphan_rather_than_part_the_party(self) -> None:
        assert seated(2, "xooox", "oxoxo") == ["x**ox", "oxoxo"]

    def test_leave_no_ordinary_seat_alone_beside_the_kept_ones(self) -> None:
        assert seated(2, "WCooooox") == ["WC**ooox"]

    def test_are_the_first_in_plan_order_among_equals(self) -> None:
        assert seated(1, "oooooo") == ["oo*ooo"]

    def test_may_be_love_seats(self) -> None:
        assert seated(2, "ooLLoo") == ["oo**oo"]

    def test_are_of_the_ticket_type_that_is_asked_for(self) -> None:
        hall = Drawing(["oooo", "oooo", "oooo", "oooo"], front=1)
        assert hall.drawn(hall.choose(2, ticket_type=FRONT)) == ["**oo", "oooo", "oooo", "oooo"]
        assert hall.choose(5, ticket_type=FRONT) == frozenset()

    def test_touch_on_any_plan(self) -> None:
        places = {"A1": 0.0, "A2": 1.5, "A3": 3.2, "A4": 4.4, "A5": 5.9}
        plan = HallPlan(SeatOnPlan(label, "", "A", x, 3.0, "standard", STANDARD) for label, x in places.items())
        assert FreeSeats(plan, places).choose(quantity=3) == ["A3", "A4", "A5"]

    def test_do_not_reach_into_another_section(self) -> None:
        places = {"L1": 0.0, "L2": 1.0, "R1": 2.0, "R2": 3.0, "R3": 4.0}
        plan = HallPlan(SeatOnPlan(label, label[0], "A", x, 3.0, "standard", STANDARD) for label, x in places.items())
        assert FreeSeats(plan, places).choose(quantity=3) == ["R1", "R2", "R3"]


class TestAPartyThatMustSplit:
    def test_sits_in_two_groups_behind_each_other(self) -> None:
        assert seated(4, "ooxxoo", "ooxxxx", "xxxxoo") == ["**xxoo", "**xxxx", "xxxxoo"]

    def test_has_no_single_person(self) -> None:
        assert seated(5, "xoooox", "xoooxx", "xxxxxo") == ["x**oox", "x***xx", "xxxxxo"]
        assert seated(4, "ooo", "xxx", "ooo") == ["**o", "xxx", "**o"]

    def test_has_a_single_person_where_only_pairs_are_left(self) -> None:
        assert seated(3, "ooxoo", "xxxxx", "xxoxx") == ["**xoo", "xxxxx", "xx*xx"]

    def test_is_scattered_rather_than_sent_away(self) -> None:
        assert seated(3, "oxo", "xox") == ["*x*", "x*x"]

    def test_is_sent_away_when_there_are_too_few(self) -> None:
        assert seated(4, "oxo", "xox") == ["oxo", "xox"]
        assert seated(5, "ooo", "WCo") == ["ooo", "WCo"]

    def test_gathers_on_one_side_of_a_hall_whose_middle_is_gone(self) -> None:
        sides = "oooxxxxxxooo"
        assert seated(6, *[sides] * 4) == [sides, "***xxxxxxooo", "***xxxxxxooo", sides]

    def test_sits_close_rather_than_around_the_very_best_seat(self) -> None:
        assert seated(2, "xoxxxx", "xoxoxo", "xoxxxo", "xxxxxx") == ["xoxxxx", "x*xoxo", "x*xxxo", "xxxxxx"]

    def test_has_few_groups_rather_than_near_ones(self) -> None:
        assert seated(17, "xxoooxx", "xxoooxx", "oooxooo", "xooxoox", "xooxoox", "xxoooxx") == [
            "xx***xx",
            "xx***xx",
            "***x***",
            "x**xoox",
            "xooxoox",
            "xx***xx",
        ]

    def test_may_be_as_large_as_the_hall(self) -> None:
        hall = Drawing(["oo oxo oo"] * 8)
        assert hall.choose(48) == hall.free


class TestAnAccessibleParty:
    def test_of_one_has_a_wheelchair_space(self) -> None:
        assert seated(1, "ooooo", "ooooo", "WCooo", accessible=True) == ["ooooo", "ooooo", "*Cooo"]

    def test_of_two_has_the_companion_seat_beside_it(self) -> None:
        assert seated(2, "oooooo", "oWoWCo", "oooooo", accessible=True) == ["oooooo", "oWo**o", "oooooo"]

    def test_has_an_ordinary_seat_beside_it_where_no_companion_seat_is(self) -> None:
        assert seated(2, "oooo", "Wcxx", "xWoo", accessible=True) == ["oooo", "Wcxx", "x**o"]

    def test_has_ordinary_seats_next_to_the_companion(self) -> None:
        assert seated(4, "oooooo", "WWCooo", "oooooo", accessible=True) == ["oooooo", "W****o", "oooooo"]

    def test_takes_no_more_of_the_kept_seats_than_it_needs(self) -> None:
        assert seated(3, "ooooooo", "WWCooCW", accessible=True) == ["ooooooo", "WWCo***"]

    def test_leaves_the_other_wheelchair_spaces_their_companion(self) -> None:
        assert seated(1, "WWCo", accessible=True) == ["*WCo"]

    def test_gathers_around_its_wheelchair_space(self) -> None:
        assert seated(4, "oooooo", "xxxoxx", "WCxxxx", "ooxxoo", accessible=True) == [
            "oooooo",
            "xxxoxx",
            "**xxxx",
            "**xxoo",
        ]

    def test_has_more_of_the_kept_seats_rather_than_nothing(self) -> None:
        assert seated(4, "WC xx", "xx WC", accessible=True) == ["** xx", "xx **"]

    def test_gets_nothing_without_a_wheelchair_space(self) -> None:
        assert seated(2, "oooo", "wCoo", accessible=True) == ["oooo", "wCoo"]

    def test_gets_nothing_when_there_are_too_few(self) -> None:
        assert seated(4, "WCxo", accessible=True) == ["WCxo"]


class Rules:
    """The rules of Note [What best means], checked against every set of free seats."""

    def __init__(self, hall: Drawing) -> None:
        self.hall = hall
        rows, columns = zip(*hall.chairs, strict=True)
        self.focus = (
            min(rows) + Fraction(2, 3) * (max(rows) - min(rows)),
            Fraction(min(columns) + max(columns), 2),
        )

    def groups(self, seats: Party) -> list[Party]:
        groups: list[list[Chair]] = []
        for row, column in sorted(seats):
            if groups and groups[-1][-1] == (row, column - 1):
                groups[-1].append((row, column))
            else:
                groups.append([(row, column)])
        return [frozenset(group) for group in groups]

    def alone(self, seats: Party) -> int:
        return sum(len(group) == 1 for group in self.groups(seats))

    def orphans(self, seats: Party) -> int:
        return sum(
            self.is_stranded(beside, self.hall.free - group)
            for group in self.groups(seats)
            for beside in neighbours(group) & self.hall.free
        )

    def is_stranded(self, chair: Chair, free: Party) -> bool:
        sort = self.hall.ordinary if chair in self.hall.ordinary else self.hall.free - self.hall.ordinary
        return not neighbours({chair}) & free & sort

    def way(self, seats: Party) -> Fraction:
        return sum((square(chair, self.focus) for chair in seats), Fraction())

    def way_around(self, heart: Chair, seats: Party) -> Fraction:
        return sum((square(chair, heart) + square(heart, self.focus) for chair in seats), Fraction())

    def hearts(self, choices: Collection[Party]) -> list[Chair]:
        held = frozenset(itertools.chain.from_iterable(choices))
        runs = [run for run in self.groups(self.hall.ordinary) if run & held]
        nearest = [min(sorted(run), key=lambda chair: square(chair, self.focus)) for run in runs]
        return sorted(nearest, key=lambda chair: square(chair, self.focus))[:HEARTS]


def neighbours(chairs: Iterable[Chair]) -> Party:
    """Return the neighbours in the same row."""
    chairs = frozenset(chairs)
    return frozenset((row, column + step) for row, column in chairs for step in (-1, 1)) - chairs


def square(chair: Chair, other: tuple[Fraction | int, Fraction | int]) -> Fraction:
    return Fraction((chair[0] - other[0]) ** 2 + (chair[1] - other[1]) ** 2)


@st.composite
def halls(draw: st.DrawFn, marks: str = "oLWCx") -> Drawing:
    """Draw at most four rows of eight, with aisles and some seats taken."""
    width, rows = draw(st.integers(2, 8)), draw(st.integers(1, 4))
    seat = st.sampled_from("o" * draw(st.integers(1, 4)) + "x" * draw(st.integers(0, 4)) + marks)
    lines = draw(st.lists(st.lists(seat, min_size=width, max_size=width), min_size=rows, max_size=rows))
    for aisle in sorted(draw(st.sets(st.integers(1, width - 1), max_size=2)), reverse=True):
        for line in lines:
            line.insert(aisle, " ")
    return Drawing(map("".join, lines))


@st.composite
def parties(draw: st.DrawFn, hall: Drawing, among: Party) -> int:
    sizes = [size for size in range(1, len(among) + 1) if math.comb(len(among), size) <= COMBINATIONS]
    return draw(st.sampled_from(sizes or [1]))


thoroughly = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@thoroughly
@given(st.data(), halls())
def test_an_ordinary_party_has_the_best_of_all_choices(data: st.DataObject, hall: Drawing) -> None:
    party = data.draw(parties(hall, hall.ordinary))
    chosen = hall.choose(party)
    choices = [frozenset(seats) for seats in itertools.combinations(sorted(hall.ordinary), party)]
    if not choices:
        assert chosen == frozenset()
        return
    rules = Rules(hall)
    fewest = min(len(rules.groups(choice)) for choice in choices)
    loners = min(map(rules.alone, choices))
    assert (len(rules.groups(chosen)), rules.alone(chosen)) == (fewest, loners)
    if fewest > TRIED:
        return
    gathered = [choice for choice in choices if len(rules.groups(choice)) == fewest]
    choices = [choice for choice in gathered if rules.alone(choice) == loners]
    orphans = min(map(rules.orphans, choices))
    assert rules.orphans(chosen) == orphans
    choices = [choice for choice in choices if rules.orphans(choice) == orphans]
    if fewest == 1:
        assert rules.way(chosen) == min(map(rules.way, choices))
    else:
        hearts = rules.hearts(gathered)
        assert min(rules.way_around(heart, chosen) for heart in hearts) == min(
            rules.way_around(heart, choice) for heart in hearts for choice in choices
        )


@thoroughly
@given(st.data(), halls(marks="WWCx"))
def test_an_accessible_party_has_the_best_of_all_choices(data: st.DataObject, hall: Drawing) -> None:
    party = data.draw(parties(hall, hall.free))
    chosen = hall.choose(party, accessible=True)
    spaces = frozenset(chair for chair in hall.free if hall.chairs[chair] == "W")
    choices = [
        frozenset(seats) for seats in itertools.combinations(sorted(hall.free), party) if spaces & frozenset(seats)
    ]
    if not choices:
        assert chosen == frozenset()
        return
    rules = Rules(hall)
    together = [choice for choice in choices if len(rules.groups(choice)) == 1]
    if together:
        assert accessible_rank(rules, chosen) == min(accessible_rank(rules, choice) for choice in together)
        return
    assert chosen & spaces
    assert rules.alone(chosen) == min(map(rules.alone, choices))


def accessible_rank(rules: Rules, group: Party) -> tuple[int, bool, int, int, Fraction]:
    spaces = {chair for chair in group if rules.hall.chairs[chair] == "W"}
    companions = {chair for chair in group if rules.hall.chairs[chair] == "C"}
    needless = len(spaces) - 1 + max(len(companions) - 1, 0)
    accompanied = bool(neighbours(spaces) & companions)
    return len(rules.groups(group)), not accompanied, needless, rules.orphans(group), rules.way(group)


@thoroughly
@given(halls(), st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=12))
def test_free_seats_serve_many_parties_like_a_fresh_look_for_each(
    hall: Drawing, parties: list[tuple[int, bool]]
) -> None:
    free = hall.free_seats()
    taken: set[str] = set()
    for party, accessible in parties:
        labels = free.choose(quantity=party, accessible=accessible)
        left = [chair for chair in hall.free if hall.label(chair) not in taken]
        fresh = FreeSeats(HallPlan(map(hall.seat, hall.chairs)), map(hall.label, left))
        assert labels == fresh.choose(quantity=party, accessible=accessible)
        assert taken.isdisjoint(labels)
        assert labels or accessible or len(hall.ordinary.intersection(left)) < party
        free.take(labels)
        taken.update(labels)


def test_rows_of_a_session_are_chosen_from_as_they_are() -> None:
    rows = [
        Seat(label=f"A{n}", row="A", number=n, x=n, y=3, position=n, status=status, ticket_type_id=STANDARD)
        for n, status in enumerate("fshbffff")
    ]
    assert choose(rows, quantity=2) == rows[4:6]
    assert choose(rows, quantity=6) == []


def best(session: Session, quantity: int, *, arrival: int = 1, **more: object) -> HoldRequest:
    return request_for(session, buyer=uuid.uuid4(), arrival=arrival, best_available=True, quantity=quantity, **more)


def allocate(*requests: HoldRequest) -> list[Reservation]:
    """Allocate the requests in one batch; return the reservations by arrival."""
    queued.allocate(requests)
    return list(Reservation.objects.filter(pk__in=[request.id for request in requests]).order_by("arrival"))


def seats_of(reservations: Iterable[Reservation]) -> list[str]:
    return [label for reservation in reservations for label in reservation.seats]


@pytest.mark.django_db(transaction=True)
class TestInTheWorker:
    def test_parties_of_one_batch_never_collide(self, session: Session) -> None:
        *pairs, late = allocate(*(best(session, 2, arrival=n) for n in range(1, 10)))
        assert {pair.status for pair in pairs} == {Status.HELD}
        assert sorted(seats_of(pairs)) == sorted(Seat.objects.of(session.pk).values_list("label", flat=True))
        assert (late.status, late.reason) == (Status.REJECTED, "sold_out")
        for pair in pairs:
            assert set(Seat.objects.filter(reservation_id=pair.pk).values_list("label", flat=True)) == set(pair.seats)

    @pytest.mark.parametrize("batch", [1, 3, 8])
    def test_no_party_is_refused_while_a_fitting_pair_is_free(self, batch: int) -> None:
        session = SessionFactory(seats=(5, 3))
        requests = [best(session, 2, arrival=n) for n in range(1, 9)]
        *pairs, late = itertools.chain.from_iterable(itertools.starmap(allocate, batched(requests, batch)))
        assert [pair.status for pair in pairs] == [Status.HELD] * 7
        assert all(pair.seats[0][0] == pair.seats[1][0] for pair in pairs[:5]), "side by side while that was possible"
        assert (len(set(seats_of(pairs))), late.reason) == (14, "sold_out")

    def test_the_best_and_the_named_seats_of_a_batch_go_by_arrival(self, session: Session) -> None:
        named, nearest, conflict = allocate(
            best(session, 2, arrival=2),
            request_for(session, "C1", "C2", buyer=uuid.uuid4(), arrival=1),
            request_for(session, "C4", buyer=uuid.uuid4(), arrival=3),
        )
        assert (named.status, nearest.seats) == (Status.HELD, ["C3", "C4"])
        assert conflict.conflicts == [{"seat": "C4", "reason": "held"}]

    def test_seats_whose_hold_ran_out_are_free_again(self) -> None:
        session = SessionFactory(seats=(1, 2))
        run_out(*allocate(best(session, 2)))
        assert allocate(best(session, 2))[0].seats == ["A1", "A2"]

    def test_kept_seats_are_for_parties_that_ask(self) -> None:
        session = SessionFactory(seats=(1, 4))
        seats = Seat.objects.of(session.pk)
        seats.filter(label="A1").update(kind=SeatKind.WHEELCHAIR)
        seats.filter(label="A2").update(kind=SeatKind.COMPANION)
        refused, with_wheelchair, others = allocate(
            best(session, 3, arrival=1), best(session, 2, arrival=2, accessible=True), best(session, 2, arrival=3)
        )
        assert (refused.reason, with_wheelchair.seats, others.seats) == ("sold_out", ["A1", "A2"], ["A3", "A4"])

    def test_party_gets_only_the_ticket_type_that_it_asked_for(self, session: Session) -> None:
        front = TicketType.objects.create(session=session, name="Front", price=9000)
        Seat.objects.of(session.pk).filter(row="A").update(ticket_type=front)
        held, refused = allocate(
            best(session, 3, arrival=1, ticket_type=front.pk), best(session, 2, arrival=2, ticket_type=front.pk)
        )
        assert (held.seats, held.total, refused.reason) == (["A1", "A2", "A3"], 27_000, "sold_out")

    def test_the_hall_is_read_once_for_a_batch(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[str] = []

        def listening(statement: str, *parameters: Any, **named: Any) -> Any:
            said.append(statement)
            return execute(statement, *parameters, **named)

        allocate(best(session, 1))
        monkeypatch.setattr(statements, "execute", listening)
        with CaptureQueriesContext(connection) as queries:
            allocate(*(best(session, 2, arrival=n) for n in range(2, 9)))
        assert [statement for statement in said if "sessions_app_seat" in statement] == [
            statements.FREE_LABELS,
            statements.WRITE,
        ]
        assert not [query for query in queries if "sessions_app_seat" in query["sql"]]


def batched(requests: list[HoldRequest], size: int) -> Iterable[list[HoldRequest]]:
    return (requests[start : start + size] for start in range(0, len(requests), size))
