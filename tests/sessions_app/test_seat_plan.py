from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import translation

from sessions_app import posters, seat_plan
from sessions_app.plans import Block, Place, joined
from sessions_app.templatetags import frontrow


def chair(label: str, **fields: Any) -> dict[str, Any]:
    row, number = label[0], int(label[1:])
    return {
        "label": label,
        "section": "",
        "row": row,
        "number": number,
        "x": float(number),
        "y": float(ord(row) - 64),
        "kind": "standard",
        "ticket_type": "t",
        "status": "f",
    } | fields


def draw(*chairs: dict[str, Any], prices: dict[str, str] | None = None) -> str:
    return seat_plan.draw(chairs, prices=prices or {"t": "R$30.00"}).rows


def test_a_seat_says_what_it_is_in_words_and_by_its_shape() -> None:
    drawn = draw(chair("A1", status="s"), chair("A2", kind="wheelchair"), chair("A3", status="h", kind="love"))
    assert re.findall(r'href="#seat-(\w+)"', drawn) == ["sold", "wheelchair", "held"]
    assert re.findall(r'aria-label="([^"]+)"', drawn) == [
        "Row A seat 1, sold",
        "Row A seat 2, wheelchair space, free, R$30.00",
        "Row A seat 3, love seat, held by somebody",
    ]


def test_a_section_is_part_of_a_seats_name() -> None:
    assert "Balcony, Row A seat 1, free" in draw(chair("A1", section="Balcony"))


def test_the_words_are_the_readers() -> None:
    with translation.override("pt-br"):
        assert "Fileira A poltrona 1, livre" in draw(chair("A1"))


def test_names_from_people_are_escaped() -> None:
    drawn = seat_plan.draw([chair("A1", row='"><b>', section="<i>")], prices={"t": "1"})
    assert "<b>" not in drawn.rows + drawn.names
    assert "<i>" not in drawn.rows + drawn.names


def test_the_fifth_price_has_a_colour_and_its_own_number() -> None:
    prices = {str(number): f"R${number}" for number in range(6)}
    drawn = draw(chair("A1", ticket_type="5"), prices=prices)
    assert 'data-tier="1" data-type="5"' in drawn
    assert "R$5" in drawn


def test_a_hall_that_sells_nothing_has_a_colour_for_each_section() -> None:
    places = joined(*(Block(rows=[1], section=name, prefix=name) for name in "PQP"))
    drawn = seat_plan.draw_chairs(places)
    assert re.findall(r'data-tier="(\d)"', drawn.rows) == ["0", "1", "0"]
    assert "Row PA seat 1, free" in drawn.rows


def over(*places: Place) -> tuple[int, int]:
    """Where the section's name is read, in seat widths."""
    found = re.search(r'x="([^"]+)" y="([^"]+)" class="section-text"', seat_plan.draw_chairs(places).names)
    assert found
    return round((float(found[1]) - 10) / 24), round((float(found[2]) + 7) / 24)


def test_a_sections_name_is_over_the_middle_of_its_first_row_even_if_that_is_curved() -> None:
    assert over(*joined(Block(rows=[31, 31], section="Balcão", curve=9.0))) == (0, 3)


def test_a_section_with_nothing_in_its_middle_has_its_name_over_its_first_row() -> None:
    sides = (Block(rows=[3], section="Camarotes", prefix=str(left), left=left) for left in (-30.0, 30.0))
    assert over(*joined(*sides)) == (-30, 3)


def test_a_poster_is_the_same_for_the_same_title() -> None:
    assert posters.poster("A Última Sessão") == posters.poster("A Última Sessão")
    assert posters.poster("A Última Sessão") != posters.poster("Outra")
    assert "<b>" not in posters.poster("<b>")


def test_money_reads_as_its_readers_write_it() -> None:
    assert frontrow.money(123450, "BRL") == "R$1,234.50"
    assert frontrow.money(500, "JPY") == "¥500"
    assert frontrow.money(1500, "CHF") == "CHF\N{NO-BREAK SPACE}15.00"
    with translation.override("pt-br"):
        assert frontrow.money(123450, "BRL") == "R$\N{NO-BREAK SPACE}1.234,50"
        assert frontrow.money(100, "USD") == "US$\N{NO-BREAK SPACE}1,00"


def test_a_duration_leaves_out_what_is_nothing() -> None:
    assert [frontrow.duration(minutes) for minutes in (45, 120, 104)] == ["45 min", "2 h", "1 h 44 min"]


class TestAHugeHall:
    @pytest.fixture(autouse=True)
    def _soon_huge(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(seat_plan, "HUGE", 2)

    def test_travels_packed(self) -> None:
        chairs = [chair("A1"), chair("A2", status="h", kind="love"), chair("A3", y=1.5), chair("B1", ticket_type="u")]
        plan = seat_plan.draw(chairs, prices={"t": "R$30.00", "u": "R$20.00"})
        assert plan.rows == ""
        assert plan.chairs == {
            "rows": [
                ["", "A", "A", 1, [24, 24, 24], [24, 0, 12], {"1": "love"}, 0],
                ["", "B", "B", 1, [24], [48], {}, 1],
            ],
            "looks": "fhff",
        }

    def test_spells_out_what_follows_no_rule(self) -> None:
        chairs = [chair("A1"), chair("A3", ticket_type="u"), chair("A4") | {"label": "A4b"}]
        plan = seat_plan.draw(chairs, prices={"t": "", "u": ""})
        assert plan.chairs is not None
        _section, _row, labels, numbers, *_places, types = plan.chairs["rows"][0]
        assert (labels, numbers, types) == (["A1", "A3", "A4b"], [1, 3, 4], [0, 1, 0])

    def test_is_drawn_in_full_where_it_is_only_a_picture(self) -> None:
        plan = seat_plan.draw_chairs(joined(Block(rows=[4])))
        assert plan.chairs is None
        assert plan.rows.count("<use") == 4
