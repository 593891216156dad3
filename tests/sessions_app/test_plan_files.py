from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.db.models import CharField
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import plan_files
from sessions_app.models import HallSeat
from sessions_app.plan_files import PlanRefused, checks, document, drawing
from sessions_app.plans import Place

GUIDE = Path(__file__).parents[2] / "docs" / "plans.md"
SEAT = {"x": 0}


def refused(text: str | bytes) -> list[str]:
    """Return the errors of a file that is no plan."""
    with pytest.raises(PlanRefused) as refusal:
        plan_files.read(text.encode() if isinstance(text, str) else text)
    return [str(wrong) for wrong in refusal.value.wrong]


def hall(*seats: Any, **row: Any) -> dict[str, Any]:
    """Return the document of one row."""
    return {"sections": [{"rows": [{"name": "A", "y": 3, "seats": list(seats), **row}]}]}


def labels(text: str) -> list[str]:
    return [place.label for place in plan_files.read(text.encode())]


class TestDocument:
    def test_places_each_seat(self) -> None:
        seats = [{"x": -1}, {"x": 0, "y": 2.75, "kind": "love"}, {"number": 7, "label": "Box", "x": 1}]
        assert plan_files.read(json.dumps(hall(*seats)).encode()) == [
            Place(label="A1", row="A", number=1, x=-1, y=3),
            Place(label="A2", row="A", number=2, x=0, y=2.75, kind="love"),
            Place(label="Box", row="A", number=7, x=1, y=3),
        ]

    def test_separates_a_rows_number_from_its_seats(self) -> None:
        assert labels(json.dumps(hall(SEAT, {"x": 1}, name="12"))) == ["12-1", "12-2"]

    def test_accepts_a_byte_order_mark(self) -> None:
        assert len(plan_files.read(b"\xef\xbb\xbf" + json.dumps(hall(SEAT)).encode())) == 1

    @pytest.mark.parametrize(
        ("plan", "path"),
        [
            ({}, "sections"),
            ({"sections": []}, "sections"),
            ({"sections": {}}, "sections"),
            ({"sections": [1]}, "sections[0]"),
            ({"sections": [{"rows": 1}]}, "sections[0].rows"),
            ({"sections": [{"rows": [[]]}]}, "sections[0].rows[0]"),
            ({**hall(SEAT), "seats": 1}, "seats"),
            (hall(), "sections[0].rows[0].seats"),
            (hall(SEAT, name=1), "sections[0].rows[0].name"),
            (hall(SEAT, name=""), "sections[0].rows[0].name"),
            (hall(SEAT, name=" A"), "sections[0].rows[0].name"),
            (hall(SEAT, name="A\n"), "sections[0].rows[0].name"),
            (hall(SEAT, name="\ud800"), "sections[0].rows[0].name"),
            (hall(SEAT, name=["A"]), "sections[0].rows[0].name"),
            (hall(SEAT, name="A" * 9), "sections[0].rows[0].name"),
            (hall(SEAT, y="3"), "sections[0].rows[0].y"),
            (hall(SEAT, y=None), "sections[0].rows[0].y"),
            (hall({}), "sections[0].rows[0].seats[0].x"),
            (hall(SEAT, {"x": True}), "sections[0].rows[0].seats[1].x"),
            (hall({"x": 200.5}), "sections[0].rows[0].seats[0].x"),
            (hall({"x": float("nan")}), "sections[0].rows[0].seats[0].x"),
            (hall({"x": float("-inf")}), "sections[0].rows[0].seats[0].x"),
            (hall({"x": 10**400}), "sections[0].rows[0].seats[0].x"),
            (hall({"x": 0, "y": -1}), "sections[0].rows[0].seats[0].y"),
            (hall({"x": 0, "number": 1.5}), "sections[0].rows[0].seats[0].number"),
            (hall({"x": 0, "number": 0}), "sections[0].rows[0].seats[0].number"),
            (hall({"x": 0, "kind": "sofa"}), "sections[0].rows[0].seats[0].kind"),
            (hall({"x": 0, "kind": []}), "sections[0].rows[0].seats[0].kind"),
            (hall({"x": 0, "label": "x" * 17}), "sections[0].rows[0].seats[0].label"),
            (hall({"x": 0, "lable": "A"}), "sections[0].rows[0].seats[0].lable"),
        ],
    )
    def test_names_the_place_of_an_error(self, plan: Any, path: str) -> None:
        assert [wrong.partition(": ")[0] for wrong in refused(json.dumps(plan))] == [path]

    def test_lists_all_errors_at_once(self) -> None:
        plan = hall({"x": "left"}, {"x": 0, "kind": "sofa"}, {"x": 1, "label": "B"}, {"x": 2, "label": "B"})
        assert refused(json.dumps(plan)) == [
            "sections[0].rows[0].seats[0].x: Must be a number from -200 to 200.",
            "sections[0].rows[0].seats[1].kind: Must be one of: standard, wheelchair, companion, love.",
            "sections[0].rows[0].seats[3]: The label “B” is taken: see sections[0].rows[0].seats[2].",
        ]

    def test_wants_a_name_of_its_own_for_each_of_several_sections(self) -> None:
        plan = {
            "sections": [{"name": name, **hall({"x": x}, name=name)["sections"][0]} for x, name in enumerate("PPQ")]
        }
        assert refused(json.dumps(plan))[0] == "sections[1].name: “P” comes twice."
        del plan["sections"][2]["name"]
        assert "sections[2].name: This field is missing." in refused(json.dumps(plan))

    def test_refuses_two_rows_of_a_name_even_with_different_seats(self) -> None:
        rows = [{"name": "A", "y": y, "seats": [{"x": 0, "label": str(y)}]} for y in (3, 5)]
        assert refused(json.dumps({"sections": [{"rows": rows}]})) == ["sections[0].rows[1].name: “A” comes twice."]

    @pytest.mark.parametrize(
        "text", ["{", '{"sections": [}', "{" * 5_000, '{"a":' * 100_000, f'{{"a": {"1" * 5_000}}}']
    )
    def test_refuses_text_that_is_not_json(self, text: str) -> None:
        assert "JSON" in refused(text)[0]

    def test_tells_where_json_ends(self) -> None:
        assert refused('{\n  "sections": oops\n}') == ["line 2, column 15: The text is not JSON from here on."]


class TestWholeHall:
    def test_has_a_seat(self) -> None:
        assert refused("") == refused("# nothing yet\n\n") == ["The plan has no seats."]

    def test_has_ten_thousand_seats_at_most(self) -> None:
        rows = "\n".join(["a" * 100] * 100)
        assert len(plan_files.read(rows.encode())) == 10_000
        assert refused(rows + "\na") == ["A hall has at most 10000 seats; these are 10001."]

    def test_leaves_room_between_chairs(self) -> None:
        assert refused(json.dumps(hall(SEAT, {"x": 0.5}))) == [
            "sections[0].rows[0].seats[1]: This seat is in the same position as “A1”."
        ]
        assert len(plan_files.read(json.dumps(hall(SEAT, {"x": 0.7}, {"x": 0.35, "y": 3.7})).encode())) == 3

    def test_is_no_huge_file(self) -> None:
        assert refused(b"a" * (plan_files.MAX_BYTES + 1)) == ["A plan has at most 2000000 bytes."]

    def test_is_text(self) -> None:
        assert refused(b"\xff\xfe{") == ["The file is not text in UTF-8."]

    def test_fits_the_tables(self) -> None:
        longest = {"label": checks.LABEL, "section": checks.SECTION, "row": checks.ROW}
        fields = [field for field in HallSeat._meta.get_fields() if isinstance(field, CharField)]
        assert {field.name: field.max_length for field in fields if field.name in longest} == longest

    def test_lists_twenty_errors_and_the_number_of_further_ones(self) -> None:
        with pytest.raises(PlanRefused) as refusal:
            plan_files.read(b"?\n" * 25)
        assert len(refusal.value.lines()) == 21
        assert refusal.value.lines()[-1] == "… and 5 more."

    def test_is_refused_in_the_readers_language(self) -> None:
        with translation.override("pt-br"):
            assert refused("a\naa?") == ["linha 2: “?” não tem significado aqui. Você pode usar: _ a w c l."]


class TestDrawing:
    def test_stands_in_the_middle_with_its_aisles(self) -> None:
        assert plan_files.read(b"wc_la\n a") == [
            Place(label="A1", row="A", number=1, x=-2, y=3, kind="wheelchair"),
            Place(label="A2", row="A", number=2, x=-1, y=3, kind="companion"),
            Place(label="A3", row="A", number=3, x=1, y=3, kind="love"),
            Place(label="A4", row="A", number=4, x=2, y=3),
            Place(label="B1", row="B", number=1, x=0, y=4.3),
        ]

    def test_has_cross_aisles_where_a_line_is_empty_or_a_section_begins(self) -> None:
        places = plan_files.read(b"\n[Front]\naa\naa\r\n\r\naa\n\n\n[Back]\n\naa\n\n")
        assert [place.y for place in places[::2]] == [3, 4.3, 6.9, 9.5]
        assert [place.section for place in places[::2]] == ["Front"] * 3 + ["Back"]
        assert [place.row for place in places[::2]] == ["A", "B", "C", "D"]

    def test_names_rows_by_their_place_unless_they_have_a_name(self) -> None:
        assert labels("a\nP-1: a\na") == ["A1", "P-1-1", "C1"]

    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            ("aa\na a", "line 2: “ ” has no meaning here. You can use: _ a w c l."),
            ("___", "line 1: This row has no seats."),
            ("A:", "line 1: This row has no seats."),
            (": a", "line 1: A row's name has 1 to 8 characters."),
            ("ROW NUMBER 1: a", "line 1: A row's name has 1 to 8 characters."),
            ("B: a\na", "line 2: “B” comes twice."),
            ("[]\na", "line 1: A section's name has 1 to 40 characters."),
            ("[P]\na\n[P]\na", "line 3: “P” comes twice."),
            ("a\n[P]\na", "line 2: The rows above need a section's name too."),
            ("a" * 401, "line 1: A row has at most 400 letters."),
            ("a\n" * 152, "line 152: The hall has too many rows: the limit is 151."),
            ("[P]\nX: a\n[Q]\nX: a", "line 4: The label “X1” is taken: see line 2."),
        ],
    )
    def test_says_which_line_is_wrong(self, text: str, wrong: str) -> None:
        assert refused(text) == [wrong]

    def test_keeps_the_limits_of_a_document(self) -> None:
        widest, deepest = "a" + "_" * (drawing.WIDEST - 2) + "a", "a\n" * drawing.DEEPEST
        for text in (widest, deepest):
            places = plan_files.read(text.encode())
            assert plan_files.read(document.write(places).encode()) == places


class TestGuide:
    """The examples of docs/plans.md."""

    _commands, drawn, written = re.findall(r"^```\w*\n(.*?)^```$", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)

    def test_has_a_drawing_and_a_document_that_can_be_imported(self) -> None:
        assert len(labels(self.drawn)) == 14 + 16 * 3 + 14 * 2
        assert labels(self.written) == ["A1", "A2", "A3", "A4", "Box 1-2", "Box 1-4"]


# A drawing's rows: letters, of which at least one is a chair.
rows = st.text(alphabet="awcl_", min_size=1, max_size=20).filter(lambda row: row.strip("_"))
names = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
    lambda name: checks.is_name(name, 40)
)
halls = st.dictionaries(names, st.lists(rows, min_size=1, max_size=6), min_size=1, max_size=4)
KIND_OF = {kind: letter for letter, kind in drawing.KINDS.items()}


@given(halls)
def test_a_drawing_makes_the_chairs_that_it_shows(hall: dict[str, list[str]]) -> None:
    drawn = "\n".join("\n".join([f"[{name}]", *rows]) for name, rows in hall.items())
    places = plan_files.read(drawn.encode())
    assert [KIND_OF[place.kind] for place in places] == [letter for letter in drawn_rows(hall) if letter != "_"]
    assert list(dict.fromkeys(place.section for place in places)) == list(hall)


def drawn_rows(hall: dict[str, list[str]]) -> str:
    return "".join("".join(rows) for rows in hall.values())


@given(halls)
def test_a_plan_that_is_written_down_reads_the_same(hall: dict[str, list[str]]) -> None:
    places = drawing.read("\n".join("\n".join([f"[{name}]", *rows]) for name, rows in hall.items()))
    assert plan_files.read(document.write(places).encode()) == places


@st.composite
def plans(draw: st.DrawFn) -> list[Place]:
    """Draw chairs in a grid, each moved a little, with any names, numbers and kinds."""
    short = st.text(min_size=1, max_size=8).filter(lambda name: checks.is_name(name, 8))
    rows = draw(st.lists(st.tuples(short, st.integers(1, 5)), min_size=1, max_size=5, unique_by=lambda row: row[0]))
    nudge = st.integers(-15, 15).map(lambda hundredths: hundredths / 100)
    seats = [(depth, name, index) for depth, (name, count) in enumerate(rows) for index in range(count)]
    return [
        Place(
            label=f"{depth}/{index}",
            row=name,
            number=draw(st.integers(1, checks.NUMBER)),
            x=round(index + draw(nudge), 2),
            y=round(3 + depth + draw(nudge), 2),
            kind=draw(st.sampled_from(sorted(KIND_OF))),
        )
        for depth, name, index in seats
    ]


@given(plans())
def test_any_plan_that_is_written_down_reads_the_same(places: list[Place]) -> None:
    assert plan_files.read(document.write(places).encode()) == places


def outcome(data: bytes) -> list[Any]:
    """Return the chairs, or the errors."""
    try:
        return plan_files.read(data)
    except PlanRefused as refusal:
        return refusal.lines()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["A", "standard"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["sections", "name", "rows", "seats", "x", "y", "kind", "label"]), inner)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.just("sections"), anything, min_size=1))
def test_any_document_is_read_or_refused_but_breaks_nothing(value: Any) -> None:
    assert outcome(json.dumps(value).encode())


@given(st.text() | st.text(alphabet="awcl_[]:#\n "))
def test_any_text_is_read_or_refused_but_breaks_nothing(text: str) -> None:
    assert outcome(text.encode(errors="replace"))
