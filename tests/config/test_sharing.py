from __future__ import annotations

from pathlib import Path

import pytest

from tests import sharing

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("test", "share"),
    [
        ("tests/journeys/test_gate.py::test_a_ticket_comes_in_once[chromium]", "tests/journeys"),
        ("tests/faults/test_road.py::TestWeb::test_killed[embedded]", "tests/faults on embedded"),
        ("tests/faults/test_dead_letters.py::test_poison_waits[rabbitmq-2]", "tests/faults on rabbitmq"),
        ("tests/faults/test_payments.py::test_every_attempt_ends", "tests/faults/test_payments.py"),
        (
            "tests/ticketing/letters/test_mail.py::TestTheWholeWay::test_a_letter[rabbitmq]",
            "tests/ticketing/letters/test_mail.py",
        ),
    ],
)
def test_what_uses_one_site_or_one_file_stays_together(test: str, share: str) -> None:
    assert sharing.share_of(test) == share


def test_what_has_its_turn_is_still_there() -> None:
    files = {share.partition(" on ")[0] for share in sharing.TURNS}
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_each_has_its_turn_and_the_rest_keeps_its_order() -> None:
    tests = [
        "tests/bench/test_bench.py::a",
        "tests/api/b.py::b",
        "tests/reservations/api/test_views.py::d",
        "tests/journeys/test_gate.py::c",
    ]
    assert sorted(tests, key=sharing.turn_of) == [tests[3], tests[2], *tests[:2]]
