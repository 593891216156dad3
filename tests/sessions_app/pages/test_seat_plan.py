from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.utils import translation

from sessions_app.new_prices import MAX_TICKET_TYPES
from sessions_app.pages import posters, seat_plan, tier_looks
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


def test_seat_is_described_in_words_and_by_its_shape() -> None:
    drawn = draw(chair("A1", status="s"), chair("A2", kind="wheelchair"), chair("A3", status="h", kind="love"))
    assert re.findall(r'href="#seat-([\w-]+)"', drawn) == ["sold", "wheelchair-0", "held"]
    assert re.findall(r'aria-label="([^"]+)"', drawn) == [
        "Row A seat 1, sold",
        "Row A seat 2, wheelchair space, free, R$30.00",
        "Row A seat 3, love seat, held",
    ]


def test_a_section_is_part_of_a_seats_name() -> None:
    assert "Balcony, Row A seat 1, free" in draw(chair("A1", section="Balcony"))


def test_words_are_in_the_readers_language() -> None:
    with translation.override("pt-br"):
        assert "Fileira A poltrona 1, livre" in draw(chair("A1"))


def test_names_from_people_are_escaped() -> None:
    drawn = seat_plan.draw([chair("A1", row='"><b>', section="<i>")], prices={"t": "1"})
    assert "<b>" not in drawn.rows + drawn.names
    assert "<i>" not in drawn.rows + drawn.names


def test_each_of_the_most_prices_has_its_own_look() -> None:
    """The session has as many prices as can be asked for, and the one of the other seats."""
    prices = {str(price): f"R${price}" for price in range(MAX_TICKET_TYPES + 1)}
    chairs = [chair(f"A{price}", ticket_type=price) for price in prices]
    drawn = re.findall(r'href="#seat-free-(\d+)".*? data-tier="(\d+)" data-type="(\d+)"', draw(*chairs, prices=prices))
    assert drawn == [(price,) * 3 for price in prices]
    looks = tier_looks.looks_of(prices, chairs)
    assert tier_looks.legend(prices, looks) == [(int(price), says) for price, says in prices.items()]


def test_page_knows_the_looks_of_its_plan_alone() -> None:
    prices = {str(price): f"R${price}" for price in range(3)}
    chairs = [chair(f"A{price}", ticket_type=price) for price in prices]
    shapes = render_to_string("sessions_app/_seat_shapes.html", {"plan": seat_plan.draw(chairs, prices=prices)})
    assert re.findall(r'id="seat-free-(\d+)"', shapes) == ["0", "1", "2"]
    assert re.findall(r'\[data-tier="(\d+)"\]', shapes) == ["0", "1", "2"] * 2


def test_prices_without_seats_take_no_look() -> None:
    """Unnumbered places, or a price of an empty section, stand between the prices of the seats."""
    prices = {"floor": "R$5", "stalls": "R$30", "empty": "R$1", "balcony": "R$20"}
    chairs = [chair("A1", ticket_type="stalls"), chair("A2", ticket_type="balcony")]
    looks = tier_looks.looks_of(prices, chairs)
    assert looks == {"stalls": 0, "balcony": 1}
    assert re.findall(r'data-tier="(\d)" data-type="(\d)"', draw(*chairs, prices=prices)) == [("0", "1"), ("1", "3")]
    (section,) = seat_plan.sections(chairs, prices=prices, shown=None)
    assert [(seat.shape, seat.tier) for _row, seats in section.rows for seat in seats] == [("free-0", 0), ("free-1", 1)]


def test_looks_differ_by_more_than_colour() -> None:
    marks = {(look.back, look.under) for look in tier_looks.LOOKS}
    assert len(marks) == len(tier_looks.LOOKS) == 60


def test_looks_of_one_back_differ_in_colour_too() -> None:
    for theme in ("light", "dark"):
        seen = {(look.back, getattr(look, theme)) for look in tier_looks.LOOKS}
        assert len(seen) == len(tier_looks.LOOKS)


@pytest.mark.parametrize(("theme", "surface"), [("light", "#fffdfb"), ("dark", "#1c1821")])
def test_outlines_and_marks_stand_out_from_their_background(theme: str, surface: str) -> None:
    site = (Path(seat_plan.__file__).parents[1] / "static/sessions_app/site.css").read_text()
    assert f"--surface: {surface};" in site
    for look in tier_looks.LOOKS:
        strong, soft = getattr(look, theme)
        assert contrast(strong, surface) >= 3
        assert contrast(strong, soft) >= 3


def contrast(one: str, other: str) -> float:
    """Return the contrast as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_hall_without_a_session_has_a_colour_for_each_section() -> None:
    places = joined(*(Block(rows=[1], section=name, prefix=name) for name in "PQP"))
    drawn = seat_plan.draw_chairs(places)
    assert re.findall(r'data-tier="(\d)"', drawn.rows) == ["0", "1", "0"]
    assert "Row PA seat 1, free" in drawn.rows


def over(*places: Place) -> tuple[int, int]:
    """Return where the section's name is read, in seat widths."""
    found = re.search(r'x="([^"]+)" y="([^"]+)" class="section-text"', seat_plan.draw_chairs(places).names)
    assert found
    return round((float(found[1]) - 10) / 24), round((float(found[2]) + 7) / 24)


def test_sections_name_is_over_the_middle_of_its_curved_first_row() -> None:
    assert over(*joined(Block(rows=[31, 31], section="Balcão", curve=9.0))) == (0, 3)


def test_sections_beyond_the_looks_begin_again_with_the_first() -> None:
    names = [f"Box {number}" for number in range(len(tier_looks.LOOKS) + 1)]
    drawn = seat_plan.draw_chairs(joined(*(Block(rows=[1], section=name, prefix=name) for name in names)))
    assert re.findall(r'data-tier="(\d+)"', drawn.rows)[-2:] == ["59", "0"]
    assert frontrow.tier_look(len(names) - 1) == 0


def test_section_with_an_empty_middle_has_its_name_over_its_first_row() -> None:
    sides = (Block(rows=[3], section="Camarotes", prefix=str(left), left=left) for left in (-30.0, 30.0))
    assert over(*joined(*sides)) == (-30, 3)


def test_a_poster_is_the_same_for_the_same_title() -> None:
    assert posters.poster("A Última Sessão") == posters.poster("A Última Sessão")
    assert posters.poster("A Última Sessão") != posters.poster("Outra")
    assert "<b>" not in posters.poster("<b>")


def test_money_is_written_in_the_readers_language() -> None:
    assert frontrow.money(123450, "BRL") == "R$1,234.50"
    assert frontrow.money(500, "JPY") == "¥500"
    assert frontrow.money(1500, "CHF") == "CHF\N{NO-BREAK SPACE}15.00"
    with translation.override("pt-br"):
        assert frontrow.money(123450, "BRL") == "R$\N{NO-BREAK SPACE}1.234,50"
        assert frontrow.money(100, "USD") == "US$\N{NO-BREAK SPACE}1,00"


def test_duration_leaves_out_parts_that_are_zero() -> None:
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

    def test_spells_out_seats_that_follow_no_rule(self) -> None:
        chairs = [chair("A1"), chair("A3", ticket_type="u"), chair("A4") | {"label": "A4b"}]
        plan = seat_plan.draw(chairs, prices={"t": "", "u": ""})
        assert plan.chairs is not None
        _section, _row, labels, numbers, *_places, types = plan.chairs["rows"][0]
        assert (labels, numbers, types) == (["A1", "A3", "A4b"], [1, 3, 4], [0, 1, 0])

    def test_is_drawn_in_full_where_it_is_only_a_picture(self) -> None:
        plan = seat_plan.draw_chairs(joined(Block(rows=[4])))
        assert plan.chairs is None
        assert plan.rows.count("<use") == 4
