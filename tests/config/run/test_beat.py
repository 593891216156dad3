"""Check beat's scheduler: its sign of life, and a broker that goes away."""

from __future__ import annotations

from typing import Any
from unittest import mock

import celery.beat
import pytest

from config.celery import app
from config.run.beat import Scheduler
from reservations.queueing import liveness


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(app=app, lazy=True)


def test_scheduler_gives_word_after_a_job_that_was_sent(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery.beat.Scheduler, "apply_async", mock.Mock(return_value="sent"))
    assert scheduler.apply_async("entry") == "sent"
    assert "beat" not in liveness.silent()


def test_scheduler_sends_over_a_new_connection_after_a_failure(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery.beat.Scheduler, "apply_async", mock.Mock(side_effect=celery.beat.SchedulingError))
    broken: Any = mock.Mock()
    scheduler.__dict__.update(connection=broken, producer=mock.Mock())
    with pytest.raises(celery.beat.SchedulingError):
        scheduler.apply_async("entry")
    broken.collect.assert_called_once_with()
    assert scheduler.connection is not broken
    assert "beat" in liveness.silent()
