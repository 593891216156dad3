"""Check text of any script in its box: joined, in its direction, wrapped."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.support.eyes import Letter, Seen, pages_of
from ticketing.tickets.typesetting import MISSING, Box, Paragraph, Typesetter, clusters

BOX = Box(10, 10, 80, 100)


def written(*texts: str, size: float = 16, box: Box = BOX) -> Seen:
    setter = Typesetter(page=(100, 150), title="A page", language="en")
    setter.pdf.add_page()
    setter.write([Paragraph(text, size) for text in texts], box)
    (page,) = pages_of(bytes(setter.pdf.output()))
    return page


def the(page: Seen, char: str) -> Letter:
    """Return the first such character in reading order of the file."""
    return next(letter for letter in page.letters if letter.char == char)


def breadth(page: Seen) -> float:
    return max(letter.right for letter in page.letters) - min(letter.left for letter in page.letters)


class TestShaping:
    def test_arabic_letters_join(self) -> None:
        apart = "\N{ZERO WIDTH NON-JOINER}".join("سلام")
        assert breadth(written("سلام")) < breadth(written(apart)) * 0.9

    def test_marks_come_composed(self) -> None:
        assert "\u00e9" in written("Cafe\N{COMBINING ACUTE ACCENT}").text

    @pytest.mark.parametrize(("first", "last", "text"), [("ש", "ם", "שלום"), ("ك", "ب", "كتب")])
    def test_right_to_left_begins_at_the_right(self, first: str, last: str, text: str) -> None:
        page = written(text)
        assert the(page, first).left > the(page, last).left
        assert the(page, first).right == pytest.approx(BOX.x + BOX.width, abs=1)

    def test_left_to_right_begins_at_the_left(self) -> None:
        assert the(written("Xyz"), "X").left == pytest.approx(BOX.x, abs=1)

    def test_numbers_and_foreign_words_keep_their_direction_within(self) -> None:
        page = written("שלום 12 ab")
        assert the(page, "1").left < the(page, "2").left < the(page, "ש").left
        assert the(page, "a").left < the(page, "b").left < the(page, "1").left


class TestLines:
    @pytest.mark.parametrize("text", ["ש " + "מילה " * 30 + "ת", "ش " + "كلمة " * 30 + "ظ", "X " + "word " * 30 + "Z"])
    def test_first_word_stands_on_the_first_line(self, text: str) -> None:
        page = written(text)
        assert the(page, text[0]).bottom < the(page, text[-1]).top

    @pytest.mark.parametrize("text", ["W" * 160, "千" * 160, "word " * 32, "ლ" * 160, "ش" * 160, "é́̂" * 40])
    def test_text_of_any_kind_stays_in_its_box(self, text: str) -> None:
        small = Box(10, 10, 80, 30)
        for letter in written(text, text, box=small).letters:
            assert letter.left >= small.x - 0.5
            assert letter.right <= small.x + small.width + 0.5
            assert letter.top >= small.y
            assert letter.bottom <= small.y + small.height

    def test_text_that_fits_keeps_its_size(self) -> None:
        alone, beside = written("Xyz"), written("Xyz", "abc " * 10)
        assert the(alone, "X").right == the(beside, "X").right

    def test_no_line_begins_with_a_closing_mark(self) -> None:
        page = written("千" * 14 + "。" + "千" * 14)
        stop, han = the(page, "。"), [letter for letter in page.letters if letter.char == "千"]
        assert stop.left > min(letter.left for letter in han)

    def test_marks_stay_with_their_letters(self) -> None:
        assert clusters("e\u0301a") == ["e\u0301", "a"]
        assert clusters("👨\u200d👩 x") == ["👨\u200d👩 ", "x"]


class TestMissing:
    def test_character_that_no_font_has_shows_as_a_square_and_is_logged(self) -> None:
        with capture_logs() as logs:
            page = written("Film 🎬 night")
        assert MISSING in page.text
        assert [entry["characters"] for entry in logs if entry["event"] == "ticket.no_glyph"] == [["U+1F3AC"]]

    @pytest.mark.parametrize("text", ["a\u0000b", "a\ufe0fb", "a\u202eb", "a\u00adb", "a\ue000b"])
    def test_what_prints_nothing_leaves_no_trace(self, text: str) -> None:
        assert written(text).text.strip() == "ab"
