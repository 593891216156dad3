"""Check what the style sheets promise to phones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SHEETS = sorted(ROOT.glob("*/static/*/*.css"))


def rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Return each selector, with the conditions around it."""
    around: list[str] = []
    for head, mark in re.findall(r"([^{};]*)([{};])", re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)):
        if mark == "{":
            yield head.strip(), " ".join(around)
            around.append(head.strip())
        elif mark == "}":
            around.pop()


def test_rules_have_the_conditions_around_them() -> None:
    assert list(rules("a:hover { b: c; } @media (hover: hover) { d:hover { e: f } }")) == [
        ("a:hover", ""),
        ("@media (hover: hover)", ""),
        ("d:hover", "@media (hover: hover)"),
    ]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_nothing_stays_as_if_under_a_pointer_after_a_tap(sheet: Path) -> None:
    found = [
        selector
        for selector, around in rules(sheet.read_text())
        if ":hover" in selector and "(hover: hover)" not in around
    ]
    assert found == []


def test_style_sheets_have_pointer_rules() -> None:
    assert sum(":hover" in selector for sheet in SHEETS for selector, _around in rules(sheet.read_text())) >= 10
