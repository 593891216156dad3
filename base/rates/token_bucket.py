"""A token bucket, kept as the moment at which it will be full again (GCRA).

https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm. All times are in microseconds: `cost` is the time in which
the taken tokens come back, `capacity` the time in which an empty bucket fills. Redis runs the same rule (`LUA`), and
`tests/base/test_token_bucket.py` compares the two.
"""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import NamedTuple

MICROSECONDS = 1_000_000  # of a second
LUA = (Path(__file__).parent / "token_bucket.lua").read_text()  # stands before each script that takes tokens


class Taken(NamedTuple):
    """When the bucket would be full again, and how long it takes until it has enough; 0: it has."""

    full_at: int
    wait: int


def take(full_at: int, now: int, *, cost: int, capacity: int) -> Taken:
    """Take tokens. A caller that must wait does not store the new `full_at`."""
    after = max(full_at, now) + cost
    return Taken(after, max(0, after - now - capacity))


def cost_of(tokens: int, *, rate: int) -> int:
    """Return the time in which so many tokens come back at a rate per second, rounded up."""
    return -(-tokens * MICROSECONDS // rate)


def left(full_at: int, now: int, *, rate: int, capacity: int) -> int:
    """Return how many tokens there are, at a rate per second."""
    return max(0, (capacity - max(0, full_at - now)) * rate // MICROSECONDS)


class Buckets:
    """The buckets of one process. If there are too many, it forgets those that are full; if still, the older half."""

    def __init__(self, *, most: int = 50_000) -> None:
        self._most = most
        self._full_at: dict[object, int] = {}
        self._lock = threading.Lock()

    def take(self, key: object, now: int, *, cost: int, capacity: int) -> int:
        """Return how long to wait; 0: the tokens were taken."""
        with self._lock:
            if len(self._full_at) >= self._most:
                self._forget_some(now)
            full_at, wait = take(self._full_at.get(key, 0), now, cost=cost, capacity=capacity)
            if not wait:
                self._full_at[key] = full_at
            return wait

    def _forget_some(self, now: int) -> None:
        left = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        if len(left) > self._most // 2:
            left = dict(itertools.islice(left.items(), len(left) // 2, None))
        self._full_at = left
