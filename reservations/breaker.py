"""A breaker: after a failure the next callers don't pay the same timeout again."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import structlog

MAX_COOL_SECONDS = 4.0

log = structlog.get_logger(__name__)


class BreakerOpen(Exception):
    """It failed a moment ago; not tried again yet."""


class Breaker:
    """`with breaker:` around each call; a listed error opens it for `cool_seconds`, then one caller tries again.

    While it keeps failing the pause doubles, up to `MAX_COOL_SECONDS`. `failures`: how many in a row open it.
    """

    def __init__(
        self, name: str, *, errors: tuple[type[BaseException], ...], cool_seconds: float = 1.0, failures: int = 1
    ) -> None:
        self.name = name
        self.errors = errors
        self.cool_seconds = cool_seconds
        self.failures = failures
        self._failed = 0
        self._retry_at: float | None = None
        self._pause = cool_seconds
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._retry_at is not None and time.monotonic() < self._retry_at

    def __enter__(self) -> None:
        with self._lock:
            if self._retry_at is None:
                return
            if time.monotonic() < self._retry_at:
                raise BreakerOpen(self.name)
            self._retry_at = (
                time.monotonic() + self.cool_seconds
            )  # this caller is the probe; the others wait for its word

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, self.errors):
            self._failed += 1
            if self._failed < self.failures:
                return
            if self._retry_at is None:
                log.warning("breaker.opened", dependency=self.name, error=repr(error))
            else:
                self._pause = min(2 * self._pause, MAX_COOL_SECONDS)
            self._retry_at = time.monotonic() + self._pause
            return
        self._failed = 0
        if self._retry_at is not None:
            log.info("breaker.closed", dependency=self.name)
            self._retry_at, self._pause = None, self.cool_seconds
