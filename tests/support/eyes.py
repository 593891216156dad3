"""Look at a printed page with foreign eyes: Chromium draws it, two foreign decoders scan it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import pypdfium2
import zxingcpp

SHARP = 2  # pixels per point: 144 dots per inch, less than any printer or screen
MM = 72 / 25.4  # points


@dataclass(frozen=True)
class Letter:
    """Hold a character and its place, in millimetres from the upper left corner of its page."""

    char: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Seen:
    """Hold a page. `zxing` and `opencv` are the codes that each decoder finds on it."""

    text: str
    letters: tuple[Letter, ...]
    width: float
    height: float
    zxing: tuple[str, ...]
    opencv: tuple[str, ...]


def pages_of(pdf: bytes) -> list[Seen]:
    with closing(pypdfium2.PdfDocument(pdf)) as document:
        return [_look(page) for page in document]


def _look(page: pypdfium2.PdfPage) -> Seen:
    picture = np.ascontiguousarray(page.render(scale=SHARP, grayscale=True).to_numpy().squeeze())
    with _text_of(page) as text:
        return Seen(
            text=text.get_text_range(),
            letters=tuple(_letters(text, page.get_height())),
            width=page.get_width() / MM,
            height=page.get_height() / MM,
            zxing=tuple(found.text for found in zxingcpp.read_barcodes(picture)),
            opencv=tuple(filter(None, [cv2.QRCodeDetectorAruco().detectAndDecode(picture)[0]])),
        )


@contextmanager
def _text_of(page: pypdfium2.PdfPage) -> Iterator[pypdfium2.PdfTextPage]:
    with closing(page.get_textpage()) as text:
        yield text


def _letters(text: pypdfium2.PdfTextPage, height: float) -> Iterator[Letter]:
    for index in range(text.count_chars()):
        left, bottom, right, top = text.get_charbox(index)
        char = text.get_text_range(index, 1)
        if char.strip() and right > left:
            yield Letter(char, left / MM, (height - top) / MM, right / MM, (height - bottom) / MM)
