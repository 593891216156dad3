"""Beat's scheduler: it says when it did its job, and comes back soon after the broker did."""

from typing import Any

import celery.beat
import structlog

from reservations import liveness

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 2.0  # seconds between two tries to reach the broker; Celery's grow to 30


class Scheduler(celery.beat.Scheduler):
    """The plain one keeps no file: nothing to corrupt, no folder to write to."""

    def apply_async(self, *arguments: Any, **options: Any) -> Any:
        sent = super().apply_async(*arguments, **options)
        liveness.worked("beat")
        return sent

    def _ensure_connected(self) -> Any:
        return self.connection.ensure_connection(
            lambda error, pause: log.warning("beat.no_broker", error=type(error).__name__, again_in=pause),
            interval_start=0.5,
            interval_step=0.5,
            interval_max=LONGEST_PAUSE,
        )
