"""Run buyers at once: threads start together, and each has a database connection of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from django.db import connection

Outcome = TypeVar("Outcome")

ROUNDS = int(os.environ.get("FRONTROW_RACE_ROUNDS", "20"))


def race(runners: Sequence[Callable[[], Outcome]]) -> list[Outcome | Exception]:
    """Start all at the same instant; return what each returned or raised, in their order."""
    line = threading.Barrier(len(runners))
    with ThreadPoolExecutor(len(runners)) as threads:
        return list(threads.map(partial(_run, line), runners))


def _run(line: threading.Barrier, runner: Callable[[], Outcome]) -> Outcome | Exception:
    line.wait(timeout=10)
    try:
        return runner()
    except Exception as error:  # noqa: BLE001 what a runner raised is its outcome; the test counts it
        return error
    finally:
        connection.close()
