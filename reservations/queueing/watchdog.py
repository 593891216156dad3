"""End this process from a thread when its work hangs, so that the supervisor or the container runtime restarts it.

Note [What counts as hanging]
The process hangs if no loop in it reported or noted progress for `STALL_SECONDS` (`reservations.queueing.liveness`). A
worker that waits for RabbitMQ, for PostgreSQL or for a lock notes progress at each try, so it may wait for as long as
it takes. A process that was stopped as a whole, with its watchdog, gets its time anew.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from django.conf import settings

from reservations.queueing import liveness

LOOK_EVERY = 0.5
WAS_STOPPED = 5.0  # a look this many seconds late means that the whole process was stopped
HELD_UP = 3.0  # seconds without a report, after which another worker may take over
HANGS = 70  # the exit code: EX_SOFTWARE
AT_WORK, WAITING = "at work", "waiting"  # the words of a pulse file

log = structlog.get_logger(__name__)


class Watchdog:
    """Watch the loop; call `let_go` once whenever it gave no report for `HELD_UP` seconds."""

    def __init__(self, *, let_go: Callable[[], None] | None = None) -> None:
        self._let_go = let_go
        self._held_up = False

    def start(self) -> None:
        liveness.note_progress()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while True:
            before = time.monotonic()
            time.sleep(LOOK_EVERY)
            if time.monotonic() - before > LOOK_EVERY + WAS_STOPPED:
                liveness.note_progress()
            try:
                self.look()
            except Exception:
                log.exception("watchdog.failed")  # it goes on: only the pulse watches the watchdog

    def look(self) -> None:
        if liveness.seconds_without_progress() > settings.STALL_SECONDS:
            end_hanging(seconds=liveness.seconds_without_progress())
        quiet = liveness.seconds_without_word()
        if quiet > HELD_UP and not self._held_up:
            self._held_up = True
            log.warning("worker.held_up", seconds=round(quiet, 1))
            if self._let_go is not None:
                self._let_go()
        elif quiet <= HELD_UP:
            self._held_up = False
        show_pulse(at_work=quiet <= HELD_UP)


def show_pulse(*, at_work: bool) -> None:
    """Write to the pulse file that this process doesn't hang, and whether its loop does its work."""
    if settings.PULSE_FILE:
        try:
            Path(settings.PULSE_FILE).write_text(AT_WORK if at_work else WAITING)
        except OSError as error:  # for example a full disk
            log.warning("watchdog.no_pulse", error=repr(error))


def end_hanging(*, seconds: float, what: str = "") -> None:
    """End this process at once, with the stack of each thread in its log."""
    try:
        log.critical("process.hangs", seconds=round(seconds), what=what)
        faulthandler.dump_traceback(
            file=sys.__stderr__ or 2, all_threads=True
        )  # Celery puts a logger in stderr's place
    finally:
        os._exit(HANGS)
