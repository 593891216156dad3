"""Stop calling a failed dependency, so that later callers do not wait for the same timeout.

Note [Who asks whether a dependency is back]
If a breaker has a `probe`, no caller tests the dependency. From the failure on, the breaker refuses every call at once,
and a thread of its own runs the probe again and again until it succeeds. So a request waits for a lost dependency at
most once. Each process has one such breaker per dependency, for all uses. A breaker without a probe lets one caller try
again after a pause.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import structlog
from prometheus_client import Gauge

MAX_COOL_SECONDS = 4.0
FIRST_PROBE_SECONDS = 0.25  # after the failure; each pause doubles
MAX_PROBE_SECONDS = 1.0  # longest wait until a restored dependency is noticed

breaker_open = Gauge(
    "frontrow_breaker_open",
    "1 if a dependency failed a moment ago and is not used until it is back.",
    ["dependency"],
    multiprocess_mode="max",
)

log = structlog.get_logger(__name__)


class BreakerOpen(Exception):
    """Refuse a call because the dependency failed a moment ago and was not tried again yet."""


class Breaker:
    """Guard calls: use `with breaker:` around each one. `failures` listed errors in a row open the breaker.

    If there is a `probe`, a thread of the breaker closes it: see Note [Who asks whether a dependency is back]. Without
    one, a single caller tries again after `cool_seconds`. The pause doubles with each failure, up to
    `MAX_COOL_SECONDS`.
    """

    def __init__(
        self,
        name: str,
        *,
        errors: tuple[type[BaseException], ...],
        probe: Callable[[], object] | None = None,
        cool_seconds: float = 1.0,
        failures: int = 1,
    ) -> None:
        self.name = name
        self.errors = errors
        self.cool_seconds = cool_seconds
        self.failures = failures
        self._probe = probe
        self._prober: threading.Thread | None = None
        self._failed = 0
        self._retry_at: float | None = None
        self._pause = cool_seconds
        self._lock = threading.Lock()
        breaker_open.labels(name).set(0)

    @property
    def is_open(self) -> bool:
        with self._lock:
            return self._is_open()

    def __enter__(self) -> None:
        with self._lock:
            if self._is_open():
                raise BreakerOpen(self.name)
            if self._retry_at is not None:  # this caller is the probe; the others wait for its result
                self._retry_at = time.monotonic() + self.cool_seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if kind is not None and issubclass(kind, self.errors):
                self._note_failure(error)
            elif self._retry_at is None or self._probe is None:  # a call that began before the failure proves nothing
                self._close()

    def _is_open(self) -> bool:
        if self._retry_at is None:
            return False
        if self._probe is None:
            return time.monotonic() < self._retry_at
        self._send_prober()  # a forked child has its parent's breaker but not its threads
        return True

    def _note_failure(self, error: BaseException | None) -> None:
        self._failed += 1
        if self._failed < self.failures:
            return
        if self._retry_at is None:
            log.warning("breaker.opened", dependency=self.name, error=repr(error))
            breaker_open.labels(self.name).set(1)
        else:
            self._pause = min(2 * self._pause, MAX_COOL_SECONDS)
        self._retry_at = time.monotonic() + self._pause
        if self._probe is not None:
            self._send_prober()

    def _close(self) -> None:
        self._failed = 0
        if self._retry_at is not None:
            log.info("breaker.closed", dependency=self.name)
            breaker_open.labels(self.name).set(0)
            self._retry_at, self._pause = None, self.cool_seconds

    def _send_prober(self) -> None:
        if self._prober is None or not self._prober.is_alive():
            self._prober = threading.Thread(target=self._probe_until_back, name=f"probe-{self.name}", daemon=True)
            self._prober.start()

    def _probe_until_back(self) -> None:
        assert self._probe is not None
        pause, tick = FIRST_PROBE_SECONDS, threading.Event()
        while True:
            tick.wait(pause)
            pause = min(2 * pause, MAX_PROBE_SECONDS)
            try:
                self._probe()
            except self.errors as error:
                log.debug("breaker.still_open", dependency=self.name, error=repr(error))
            except Exception:  # our own error must not keep it open silently
                log.exception("breaker.probe_failed", dependency=self.name)
            else:
                break
        with self._lock:
            self._prober = None  # the next failure starts another
            self._close()
