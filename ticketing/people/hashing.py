"""Password hashing that can't starve the site, and of which no address can keep the others.

Note [Hashing in turns]
A hash takes a fraction of a second of processor time, on purpose, and everybody may ask for one by trying to sign in. So a process hashes one
password at a time, in a thread of its own with a lower priority than those that serve. A few requests wait for their turn, and a few of one
address; the next one is told to come again in a moment, and so is one that waits too long. Of each address one request stands in the queue, and its
others wait behind that one: a flood from one address costs the others the hash that is under way. A request that waits keeps no connection to
the database.
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

WAITING = 12  # of a process's 64 threads, the one whose turn it is included
OF_AN_ADDRESS = 3  # of these
NICENESS = 4  # of the hashing thread: Linux keeps one for each; with 10 nobody could sign in while the cores were busy
LONGEST_WAIT = 10.0  # seconds for the turn to come

turned_away = Counter(
    "frontrow_hashing_turned_away_total", "Passwords that were not hashed because too many were waiting."
)


class HashingBusy(Exception):
    """Too many passwords wait to be hashed, or this one waited too long; none of this request was."""


class Queue:
    """The requests of this process that wait for a hash, by address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, int] = {}
        self._first: dict[str, threading.Lock] = {}

    def __len__(self) -> int:
        return sum(self._waiting.values())

    @contextmanager
    def place(self, address: str) -> Iterator[threading.Lock]:
        """Take a place, and yield the lock that lets one request of an address be in turn. Raises: HashingBusy."""
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
    """Django's own, in turns: see Note [Hashing in turns]."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Raises: HashingBusy."""
        try:
            return _in_turn(partial(super().encode, password, salt, iterations))
        except HashingBusy:
            turned_away.inc()
            raise


def _in_turn(encode: Callable[[], str]) -> str:
    """Raises: HashingBusy."""
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
    """Raises: HashingBusy."""
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
