"""Password hashing that can't starve the site.

Note [Hashing in turns]
A hash takes a fraction of a second of processor time, on purpose, and everybody may ask for one by trying to sign in. So a process hashes one
password at a time, in a thread of its own with a lower priority than those that serve; a few wait for their turn, and the next one is
told to come again in a moment, as is who waits too long for the turn. Those who wait keep no connection to the database meanwhile.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from prometheus_client import Counter

WAITING = 8  # of a process's 64 threads, the one whose turn it is included
NICENESS = 4  # of the hashing thread: Linux keeps one for each; with 10 nobody could sign in while the cores were busy
LONGEST_WAIT = 10.0  # seconds for the turn to come

turned_away = Counter("frontrow_hashing_turned_away_total", "Passwords that were not hashed since too many waited.")
waiting = threading.BoundedSemaphore(WAITING)


class HashingBusy(Exception):
    """Too many passwords wait to be hashed, or this one waited too long; none of this request was."""


class TurnsHasher(PBKDF2PasswordHasher):
    """Django's own, in turns: see Note [Hashing in turns]."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Raises: HashingBusy."""
        if not waiting.acquire(blocking=False):
            turned_away.inc()
            raise HashingBusy
        try:
            if not connection.in_atomic_block:
                connection.close()  # back to the pool
            hashed = _hasher(os.getpid()).submit(super().encode, password, salt, iterations)
            try:
                return hashed.result(timeout=LONGEST_WAIT)
            except TimeoutError:
                if not hashed.cancel():  # its turn has come, so it ends by itself, however busy the machine is
                    return hashed.result()
                turned_away.inc()
                raise HashingBusy from None
        finally:
            waiting.release()


@cache
def _hasher(_pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="hashing", initializer=_give_way)


def _give_way() -> None:
    own = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + NICENESS)
