"""Schedule periodic jobs: record when a job was sent, and reconnect soon after the broker is back."""

from typing import Any

import celery.beat
import structlog

from reservations.queueing import liveness

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 2.0  # seconds between two attempts to reach the broker; Celery's pauses grow to 30


class Scheduler(celery.beat.Scheduler):
    """Extend Celery's plain scheduler. It keeps no file, so nothing can be corrupted and no folder must be writable."""

    def apply_async(self, *arguments: Any, **options: Any) -> Any:
        try:
            sent = super().apply_async(*arguments, **options)
        except Exception:
            liveness.note_progress()
            self._hang_up()
            raise
        liveness.worked("beat")
        return sent

    def _hang_up(self) -> None:
        """Send the next job over a new connection: this one may be broken in a way that no retry notices."""
        self.__dict__.pop("producer", None)
        connection = self.__dict__.pop("connection", None)
        if connection is not None:
            connection.collect()

    def _ensure_connected(self) -> Any:
        return self.connection.ensure_connection(
            self._note_absence, interval_start=0.5, interval_step=0.5, interval_max=LONGEST_PAUSE
        )

    def _note_absence(self, error: Exception, pause: float) -> None:
        liveness.note_progress()
        log.warning("beat.no_broker", error=type(error).__name__, again_in=pause)
