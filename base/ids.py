"""Make ids that sort by time."""

from __future__ import annotations

import os
import time
from uuid import UUID

VERSION, VARIANT = 0x7 << 76, 0b10 << 62
AT_ONCE = 256

_last = 0  # milliseconds and fraction of the last id
_chances: list[int] = []
os.register_at_fork(after_in_child=_chances.clear)  # otherwise parent and child would draw the same bits


def uuid7() -> UUID:
    """Return a UUID of version 7 (RFC 9562, 5.7) whose fraction of a millisecond has twelve bits (6.2, method 3).

    Ids made one after the other rise, also if the clock is set back.
    """
    global _last
    _last = stamp = max((time.time_ns() << 12) // 1_000_000, _last + 1)
    milliseconds, fraction = stamp >> 12, stamp & 0xFFF
    return UUID(int=milliseconds << 80 | VERSION | fraction << 64 | VARIANT | _chance() >> 2)


def _chance() -> int:
    """Return 64 random bits. Each call of the kernel makes the thread queue for the interpreter, so ask for many."""
    try:
        return _chances.pop()
    except IndexError:
        first, *others = memoryview(os.urandom(8 * AT_ONCE)).cast("Q")
        _chances.extend(others)
        return first
