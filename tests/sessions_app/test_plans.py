from __future__ import annotations

import itertools
import math

import pytest

from sessions_app.models import SeatKind
from sessions_app.plans import Block, grid, joined, row_name, sizes


class TestRowName:
    @pytest.mark.parametrize(("index", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (702, "AAA")])
    def test_counts_in_letters(self, index: int, name: str) -> None:
        assert row_name(index) == name


class TestGrid:
    def test_labels_its_chairs_row_by_row(self) -> None:
        assert [place.label for place in grid(rows=2, seats_per_row=3)] == ["A1", "A2", "A3", "B1", "B2", "B3"]

    def test_stands_in_the_middle_with_later_rows_further_from_the_stage(self) -> None:
        first, *_others, last = grid(rows=2, seats_per_row=3)
        assert first.x == -last.x == -1
        assert 0 < first.y < last.y


class TestBlock:
    def test_leaves_a_gap_where_people_walk(self) -> None:
        xs = [place.x for place in joined(Block(rows=[4], aisles=frozenset({2})))]
        assert [after - before for before, after in itertools.pairwise(xs)] == [1, 2, 1]

    def test_brings_the_ends_of_a_curved_row_forward(self) -> None:
        left, middle, right = joined(Block(rows=[3], curve=1))
        assert left.y == right.y < middle.y

    def test_knows_places_for_wheelchairs(self) -> None:
        places = joined(Block(rows=[2], kinds={"A1": SeatKind.WHEELCHAIR}))
        assert [place.kind for place in places] == ["wheelchair", "standard"]

    def test_prefixes_labels_where_blocks_would_repeat_them(self) -> None:
        assert [place.label for place in joined(Block(rows=[2], prefix="101-"), Block(rows=[1], prefix="102-"))] == [
            "101-A1",
            "101-A2",
            "102-A1",
        ]

    def test_bends_its_rows_around_the_stage_where_it_is_turned(self) -> None:
        places = joined(Block(rows=[3, 4], front=10.0, turn=90.0))
        assert [round(math.hypot(place.x, place.y), 1) for place in places] == [10.0] * 3 + [11.3] * 4
        assert (places[1].x, places[1].y) == (10, 0)


def test_a_plan_is_counted_by_sections_and_kinds() -> None:
    stalls = Block(rows=[2, 3], section="Plateia", kinds={"A1": SeatKind.LOVE})
    first, second = sizes(joined(stalls, Block(rows=[4], section="Balcão", prefix="B-")))
    assert (first.name, first.rows, first.seats, first.kinds["love"]) == ("Plateia", 2, 5, 1)
    assert (second.name, second.rows, second.seats) == ("Balcão", 1, 4)
