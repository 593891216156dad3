"""Check what a gate's phone stores and reports, in gate_scans.mjs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import javascript


def test_a_phone_keeps_and_tells_its_scans() -> None:
    report = javascript.run_tests(Path(__file__).with_name("gate_scans.mjs"))
    passed = re.search(r"^# pass (\d+)", report, re.MULTILINE)
    assert passed
    assert int(passed[1]) >= 15
