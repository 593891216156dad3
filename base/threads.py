"""Run threads that live as long as their process, whatever happens to their work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter

PAUSE = 0.5  # seconds between a failure and the next attempt

FAILED = Counter("frontrow_thread_failures", "Threads that failed and were started again.", ["thread"])

log = structlog.get_logger(__name__)


def keep_running(work: Callable[[], object], *, name: str) -> threading.Thread:
    """Start a daemon thread that calls `work` again and again. An error is logged and does not end the thread."""

    def run() -> None:
        while True:
            try:
                work()
            except Exception:
                FAILED.labels(name).inc()
                log.exception("thread.failed", thread=name)
                time.sleep(PAUSE)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
