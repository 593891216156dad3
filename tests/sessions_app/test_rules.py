"""Rules of sessions that need no database."""

from __future__ import annotations

import pytest

from sessions_app import rules


@pytest.mark.parametrize(
    ("code", "lane"),
    [
        ("friends", 1),
        ("Família", 2),
        ("famÍlia", None),
        ("friend", None),
        ("friends ", None),
        ("", None),
        ("x" * 99, None),
    ],
)
def test_lane_is_found_by_its_whole_code(code: str, lane: int | None) -> None:
    assert rules.lane_by_code(code, [("friends", 1), ("Família", 2)]) == lane
