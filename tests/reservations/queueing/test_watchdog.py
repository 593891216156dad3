"""End processes whose work hangs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import LazySettings

from reservations.queueing import liveness, watchdog
from reservations.queueing.watchdog import AT_WORK, HANGS, WAITING, Watchdog

ROOT = Path(__file__).resolve().parents[3]
HANGING = """
import threading, django
django.setup()
from reservations.queueing.watchdog import Watchdog
Watchdog().start()
threading.Event().wait(60)
"""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a loop that gave no report for ten seconds, and notes progress."""
    monkeypatch.setattr(liveness, "_spoke", time.monotonic() - 10)
    liveness.note_progress()


def test_hanging_process_ends_and_shows_its_stacks(tmp_path: Path) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": "config.settings", "STALL_SECONDS": "1", "PATH": ""}
    ended = subprocess.run(
        [sys.executable, "-c", HANGING], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == HANGS
    assert "process.hangs" in ended.stderr
    assert 'File "<string>", line 6' in ended.stderr


class TestLook:
    @pytest.mark.usefixtures("quiet")
    def test_lets_another_worker_take_over_once(self) -> None:
        let_go: list[bool] = []
        watching = Watchdog(let_go=lambda: let_go.append(True))
        watching.look()
        watching.look()
        assert let_go == [True]

    def test_lets_go_again_when_the_loop_is_held_up_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        let_go: list[bool] = []
        watching = Watchdog(let_go=lambda: let_go.append(True))
        for quiet in (10, 0, 10):
            monkeypatch.setattr(liveness, "_spoke", time.monotonic() - quiet)
            liveness.note_progress()
            watching.look()
        assert let_go == [True, True]

    def test_ends_no_process_that_notes_progress(self, settings: LazySettings) -> None:
        settings.STALL_SECONDS = 60
        liveness.note_progress()
        Watchdog().look()

    def test_ends_a_process_without_progress(self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
        ended: list[float] = []
        monkeypatch.setattr(watchdog, "end_hanging", lambda *, seconds: ended.append(seconds))
        monkeypatch.setattr(liveness, "_progressed", time.monotonic() - 61)
        settings.STALL_SECONDS = 60
        Watchdog().look()
        assert ended == [pytest.approx(61, abs=1)]


class TestPulse:
    def test_shows_whether_the_loop_is_at_work(
        self, settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.PULSE_FILE = str(tmp_path / "pulse")
        for quiet, said in ((0, AT_WORK), (10, WAITING)):
            monkeypatch.setattr(liveness, "_spoke", time.monotonic() - quiet)
            liveness.note_progress()
            Watchdog().look()
            assert (tmp_path / "pulse").read_text() == said

    def test_is_no_error_if_it_cannot_be_written(self, settings: LazySettings, tmp_path: Path) -> None:
        settings.PULSE_FILE = str(tmp_path / "nowhere" / "pulse")
        liveness.note_progress()
        Watchdog().look()
