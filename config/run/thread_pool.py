"""Extend Celery's pool of threads: it knows how long all threads have been busy without one becoming free."""

import threading
import time
from collections.abc import Callable
from typing import Any

from celery.concurrency.thread import TaskPool


class ThreadPool(TaskPool):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lock = threading.Lock()
        self._busy = 0
        self._moved = time.monotonic()

    def on_apply(self, target: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return super().on_apply(self._counted(target), *arguments, **options)

    def seconds_exhausted(self) -> float:
        """Return how long every thread has been busy with the same task; 0 while one is free."""
        return time.monotonic() - self._moved if self._busy >= self.limit else 0.0

    def _counted(self, target: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._move(+1)
            try:
                return target(*arguments, **options)
            finally:
                self._move(-1)

        return counted

    def _move(self, step: int) -> None:
        with self._lock:
            self._busy += step
            self._moved = time.monotonic()
