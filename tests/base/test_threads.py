"""Check threads that outlive the errors of their work."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import REGISTRY

from base import threads


def test_thread_goes_on_after_an_error_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PAUSE", 0.0)
    again, end = threading.Event(), threading.Event()
    calls: list[int] = []

    def work() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ValueError("a bug")
        again.set()
        end.wait(10)

    thread = threads.keep_running(work, name="test")
    assert again.wait(10)
    assert thread.is_alive()
    assert thread.daemon
    assert REGISTRY.get_sample_value("frontrow_thread_failures_total", {"thread": "test"}) == 1
