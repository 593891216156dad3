"""Name points at which a test kills this process, as if the machine had died: see tests/faults."""

from __future__ import annotations

import os
import signal

from django.conf import settings


def reach(point: str) -> None:
    if point == settings.FAULT_POINT:
        os.kill(os.getpid(), signal.SIGKILL)
