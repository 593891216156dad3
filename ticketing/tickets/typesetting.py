"""Set text of any script on the pages of a PDF: shaped, in its own direction, wrapped, and small enough for its box.

Note [Lines are broken here]
fpdf2 puts a paragraph into visual order before it breaks it, so the first line of a long Hebrew title would hold its
last words. This module breaks lines in reading order, and gives each line to fpdf2 with the direction of its paragraph.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import structlog

if TYPE_CHECKING:
    from fpdf.fonts import TTFFont

log = structlog.get_logger(__name__)

FONTS = Path(__file__).parent / "fonts"
SANS, EAST_ASIAN = "sans", "east"
POINT = 0.3528  # millimetres per point
LEADING = 1.25
SMALLER = 0.92  # factor from one attempt to the next
MISSING = "\N{WHITE SQUARE}"  # replaces a character that is in none of our fonts
STEERING = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}"
UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs"}  # categories of characters that print nothing
IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and Han: a line may break between any two
OPENING = "\u300c\u300e\uff08\u3010\u300a"  # brackets that may not end a line
# characters that may not begin a line
CLOSING = "\u3001\u3002\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\u30fb\u30fc\u3005\uff09\u300d\u300f\u3011\u300b\u2026"
PIECES = re.compile(rf"[{OPENING}]*[{IDEOGRAPH}][{CLOSING}]*\s*|[^\s{IDEOGRAPH}{OPENING}]+\s*|\S\s*")


@dataclass(frozen=True)
class Paragraph:
    text: str
    size: float  # points, if there is enough room
    bold: bool = False


class Box(NamedTuple):
    """Describe a box in millimetres from the upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Piece(NamedTuple):
    """Hold text that stays on one line. `width` excludes the next space, `advance` includes it; for one point."""

    text: str
    width: float
    advance: float


class Line(NamedTuple):
    text: str
    size: float
    bold: bool
    is_rtl: bool

    @property
    def height(self) -> float:
        return self.size * POINT * LEADING


class Typesetter:
    """Make a PDF, and write on its pages."""

    def __init__(self, *, page: tuple[float, float], title: str, language: str) -> None:
        from fpdf import FPDF  # takes a quarter of a second, so only printing should wait for it

        self.pdf = FPDF(unit="mm", format=page)
        self.pdf.set_auto_page_break(auto=False)
        self.pdf.set_title(title)
        self.pdf.set_lang(language)
        self.pdf.c_margin = 0
        self.pdf.add_font(SANS, "", FONTS / "DejaVuSans.ttf")
        self.pdf.add_font(SANS, "B", FONTS / "DejaVuSans-Bold.ttf")
        self.pdf.set_fallback_fonts([SANS], exact_match=False)
        self._glyphs = self._characters_of(SANS)
        self._widths: dict[tuple[str, bool], float] = {}

    def write(self, paragraphs: Sequence[Paragraph], box: Box, *, align: Literal["start", "center"] = "start") -> None:
        """Write the paragraphs into the box, and shrink all of them as much as necessary."""
        measured = [_Measured(self, one, self._printable(one.text)) for one in paragraphs]
        scale = 1.0
        lines = [line for one in measured for line in one.lines(scale, box.width)]
        while sum(line.height for line in lines) > box.height:
            scale *= SMALLER
            lines = [line for one in measured for line in one.lines(scale, box.width)]
        y = box.y
        for line in lines:
            self._draw(line, box._replace(y=y, height=line.height), align)
            y += line.height

    def width_of(self, text: str, *, bold: bool) -> float:
        """Return the width of a text in millimetres for a font of one point."""
        if (text, bold) not in self._widths:
            self.pdf.set_font(SANS, "B" if bold else "", 100)
            self.pdf.set_text_shaping(True)
            self._widths[text, bold] = float(self.pdf.get_string_width(text)) / 100
        return self._widths[text, bold]

    def _draw(self, line: Line, box: Box, align: str) -> None:
        self.pdf.set_font(SANS, "B" if line.bold else "", line.size)
        self.pdf.set_text_shaping(True, direction="rtl" if line.is_rtl else "ltr")
        self.pdf.set_xy(box.x, box.y)
        side = "C" if align == "center" else "R" if line.is_rtl else "L"
        self.pdf.cell(box.width, box.height, line.text, align=side)

    def _printable(self, text: str) -> str:
        """Compose the characters of a text and join its spaces; characters that no font has become squares."""
        composed = " ".join(unicodedata.normalize("NFC", text).split())
        seen = [char for char in composed if char in STEERING or not _is_unseen(char)]
        if any(self._lacks(char) and "\u1100" <= char < "\U00010000" for char in seen):
            self._add_east_asian()
        lacking = sorted({f"U+{ord(char):04X}" for char in seen if self._lacks(char)})
        if lacking:
            log.warning("ticket.no_glyph", characters=lacking)
        return "".join(MISSING if self._lacks(char) else char for char in seen).strip()

    def _lacks(self, char: str) -> bool:
        return ord(char) not in self._glyphs and not char.isspace() and char not in STEERING

    def _add_east_asian(self) -> None:
        """Load the large font if a text needs it; that takes a third of a second."""
        if EAST_ASIAN not in self.pdf.fonts:
            self.pdf.add_font(EAST_ASIAN, "", FONTS / "DroidSansFallback.ttf")
            self.pdf.set_fallback_fonts([SANS, EAST_ASIAN], exact_match=False)
            self._glyphs |= self._characters_of(EAST_ASIAN)

    def _characters_of(self, family: str) -> set[int]:
        return set(cast("TTFFont", self.pdf.fonts[family]).cmap)


class _Measured:
    """Measure a paragraph's pieces once for all sizes. See Note [Lines are broken here]."""

    def __init__(self, typesetter: Typesetter, paragraph: Paragraph, text: str) -> None:
        self._typesetter, self._paragraph, self._text = typesetter, paragraph, text

    @cached_property
    def _pieces(self) -> list[Piece]:
        return [self._measure(text) for text in PIECES.findall(self._text)]

    @cached_property
    def _is_rtl(self) -> bool:
        strong = (unicodedata.bidirectional(char) for char in self._text)
        return next((kind for kind in strong if kind in {"L", "R", "AL"}), "L") != "L"

    def lines(self, scale: float, width: float) -> Iterator[Line]:
        size = self._paragraph.size * scale
        line, used = "", 0.0
        for piece in self._no_wider_than(width / size):
            if line and used + piece.width > width / size:
                yield self._line(line, size)
                line, used = "", 0.0
            line, used = line + piece.text, used + piece.advance
        if line:
            yield self._line(line, size)

    def _line(self, text: str, size: float) -> Line:
        return Line(text.rstrip(), size, self._paragraph.bold, self._is_rtl)

    def _no_wider_than(self, width: float) -> Iterator[Piece]:
        for piece in self._pieces:
            if piece.width <= width:
                yield piece
            else:  # a word that is longer than a line
                yield from map(self._measure, clusters(piece.text))

    def _measure(self, text: str) -> Piece:
        bold = self._paragraph.bold
        return Piece(
            text, self._typesetter.width_of(text.rstrip(), bold=bold), self._typesetter.width_of(text, bold=bold)
        )


def clusters(text: str) -> list[str]:
    """Split a text into letters, each with its marks."""
    found: list[str] = []
    for char in text:
        joins = unicodedata.category(char).startswith("M") or char in STEERING or char.isspace()
        if found and (joins or found[-1].endswith("\N{ZERO WIDTH JOINER}")):
            found[-1] += char
        else:
            found.append(char)
    return found


def _is_unseen(char: str) -> bool:
    is_selector = "\ufe00" <= char <= "\ufe0f"  # selects the look of an emoji
    return is_selector or unicodedata.category(char) in UNSEEN
