"""Hash passwords so that they cannot starve the site, and one address cannot block the others.

Note [Hashing in turns]
A hash deliberately takes a fraction of a second of processor time, and each attempt to sign in asks for one. So a
process hashes one password at a time, in a thread with a lower priority than those that serve. A few requests wait for
their turn, and a few of each address. The next one is refused with a time to try again, and so is one that waits too
long. One request per address is in the queue, and its others wait behind that one: a flood from one address costs the
others only the hash that is running. A waiting request keeps no connection to the database.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from prometheus_client import Counter

from base.addresses import current_network

WAITING = 12  # waiting requests, the current one included, of a process with 64 threads
OF_AN_ADDRESS = 3  # waiting requests of one address
# of the hashing thread: Linux keeps one per thread. With 10, no sign-in would succeed while the cores are busy
NICENESS = 4
LONGEST_WAIT = 10.0  # seconds until its turn

turned_away = Counter(
    "frontrow_hashing_turned_away_total", "Passwords that were not hashed because too many were waiting."
)


class HashingBusy(Exception):
    """Refuse a hash: too many passwords wait, or this one waited too long. Nothing was hashed for this request."""


class Queue:
    """Hold the requests of this process that wait for a hash, by address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, int] = {}
        self._first: dict[str, threading.Lock] = {}

    def __len__(self) -> int:
        return sum(self._waiting.values())

    @contextmanager
    def place(self, address: str) -> Iterator[threading.Lock]:
        """Take a place, and yield the lock that gives one request per address a turn. Raises: HashingBusy."""
        with self._lock:
            waiting = self._waiting.get(address, 0)
            if len(self) >= WAITING or waiting >= OF_AN_ADDRESS:
                raise HashingBusy
            self._waiting[address] = waiting + 1
            first = self._first.setdefault(address, threading.Lock())
        try:
            yield first
        finally:
            with self._lock:
                self._waiting[address] -= 1
                if not self._waiting[address]:
                    del self._waiting[address], self._first[address]


queue = Queue()


class TurnsHasher(PBKDF2PasswordHasher):
    """Hash as Django does, in turns: see Note [Hashing in turns]."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Hash the password when its turn comes. Raises: HashingBusy."""
        try:
            return _in_turn(partial(super().encode, password, salt, iterations))
        except HashingBusy:
            turned_away.inc()
            raise


def _in_turn(encode: Callable[[], str]) -> str:
    """Wait for the turn, then hash. Raises: HashingBusy."""
    deadline = time.monotonic() + LONGEST_WAIT
    with queue.place(current_network()) as first:
        if not connection.in_atomic_block:
            connection.close()  # back to the pool
        if not first.acquire(timeout=LONGEST_WAIT):
            raise HashingBusy
        try:
            return _hashed(encode, seconds=deadline - time.monotonic())
        finally:
            first.release()


def _hashed(encode: Callable[[], str], *, seconds: float) -> str:
    """Hash in the hashing thread. Raises: HashingBusy."""
    hashed = _hasher(os.getpid()).submit(encode)
    try:
        return hashed.result(timeout=max(0.0, seconds))
    except TimeoutError:
        if not hashed.cancel():  # its turn has come, so it ends by itself, however busy the machine is
            return hashed.result()
        raise HashingBusy from None


@cache
def _hasher(_pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="hashing", initializer=_give_way)


def _give_way() -> None:
    own = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + NICENESS)
