"""Keep copies of answers that are the same for every reader: one process makes one, and it is renewed each second.

Note [How old a copy gets]
A copy carries the time at which reading its facts began. For the first half of `COPY_SECONDS` a process serves its
copy without asking anything. In the second half one thread renews it while the others go on serving it. After that
every reader waits for the new one. So no answer is older than `COPY_SECONDS`, and in a rush no reader waits.

A process that renews a copy first looks for a newer one that another process has shared through the cache. It makes one
itself only if it gets the turn. While Redis is away each process makes its own. While PostgreSQL is away nothing can
change, so readers get the last copy until it is `LAST_RESORT_SECONDS` old; one reader a second tries to renew it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from prometheus_client import Counter

from base.bounded import Bounded
from base.copies import changes, sharing
from base.copies import copy as copy_
from base.copies.copy import Body, Copy
from base.rates import token_bucket

log = structlog.get_logger(__name__)

MOST_KEPT = 512  # copies of a process; a page of 2,400 seats takes 40 kB packed
LAST_RESORT_SECONDS = 600.0  # as long as admission knows sales by heart (sale_facts.STALE_SECONDS)
WAIT_SECONDS = 1.0  # for the copy that another process is making
LOOK_AGAIN_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 10.0  # for a thread of this process; then the reader makes its own

made = Counter(
    "frontrow_copies_made_total", "Number of answers for every reader that were made anew, by kind.", ["kind"]
)


@dataclass
class Slot:
    """Hold a process's copy of one answer, and the lock of the thread that renews it."""

    about: UUID | None = None
    copy: Copy | None = None
    changed: float = 0.0  # by the database's clock, when something that it says changed last
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_young(self) -> bool:
        """Tell whether the copy need not be renewed yet."""
        return self.copy is not None and is_young(self.copy)

    @property
    def is_good(self) -> bool:
        """Tell whether the copy may still be served."""
        return self.copy is not None and is_good(self.copy)

    def keep(self, copy: Copy) -> Copy:
        """Keep a copy. It is outdated at once if a change came while it was made."""
        copy.is_outdated = copy.made <= self.changed
        self.copy = copy
        return copy


COST = token_bucket.cost_of(1, rate=changes.A_SECOND)
A_SECOND = token_bucket.MICROSECONDS

_changes = token_bucket.Buckets(most=MOST_KEPT * 2)
slots: Bounded[str, Slot] = Bounded(MOST_KEPT)


def forget() -> None:
    """Drop this process's copies."""
    slots.clear()


def is_young(copy: Copy) -> bool:
    """Tell whether the copy need not be renewed yet."""
    return copy.is_spared or (not copy.is_outdated and copy.age < settings.COPY_SECONDS / 2)


def is_good(copy: Copy) -> bool:
    """Tell whether the copy may still be served."""
    return copy.is_spared or (not copy.is_outdated and copy.age < settings.COPY_SECONDS)


def outdate(session: UUID) -> None:
    """Outdate the copies that tell of the session, and the lists. See Note [Read what was written] in `changes`."""
    now = copy_.now()
    for name, slot in list(slots.items()):
        if slot.about not in {None, session} or slot.copy is None or slot.copy.is_outdated:
            continue
        if not _changes.take(name, int(now * A_SECOND), cost=COST, capacity=COST * changes.BURST):
            slot.changed = now
            slot.copy.is_outdated = slot.copy.made <= now


def of(kind: str, key: str, make: Callable[[], Body], *, about: UUID | None = None) -> Copy:
    """Return a copy that is at most `COPY_SECONDS` old.

    `kind` names it in metrics; `key` tells apart what differs; `about` is the only session of which it tells.

    Raises: what `make` raises; DatabaseError only if there is no copy of the last ten minutes.
    """
    if not settings.COPY_SECONDS:
        return _made(kind, make)
    name = f"{kind}:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
    slot = slots.get(name)
    if slot is not None and slot.copy is not None and slot.is_young:
        return slot.copy
    changes.listen(outdate)
    slot = slots[name] = slot or Slot(about=about)  # written again, so that it is not the first to be pushed out
    before = slot.copy if slot.is_good else None
    if not slot.lock.acquire(timeout=0 if before else LONGEST_WAIT_SECONDS):
        return before or _made(kind, make)
    try:
        if slot.copy is None or not slot.is_young:
            return slot.keep(_renewed_or_spared(kind, name, slot, make))
        return slot.copy
    finally:
        slot.lock.release()


def _renewed_or_spared(kind: str, name: str, slot: Slot, make: Callable[[], Body]) -> Copy:
    """Renew the copy. While PostgreSQL is away, spare the last one for as long as a copy lives, then try again."""
    try:
        return _renewed(kind, name, slot, make)
    except DatabaseError as error:
        last = slot.copy
        if last is None or last.age > LAST_RESORT_SECONDS:
            raise
        last.spared_until = copy_.now() + settings.COPY_SECONDS
        log.warning("copies.database_away", kind=kind, seconds=round(last.age, 1), error=type(error).__name__)
        return last


def _renewed(kind: str, name: str, slot: Slot, make: Callable[[], Body]) -> Copy:
    if found := _young(sharing.shared(name), slot):
        return found
    if not sharing.take_turn(name):
        if slot.copy and slot.is_good:
            return slot.copy
        if found := _awaited(name, slot):
            return found
        return _made(kind, make)
    try:
        copy = _made(kind, make)
        sharing.share(name, copy)
        return copy
    finally:
        sharing.end_turn(name)


def _young(copy: Copy | None, slot: Slot) -> Copy | None:
    return copy if copy is not None and is_young(copy) and copy.made > slot.changed else None


def _awaited(name: str, slot: Slot) -> Copy | None:
    """Wait for the copy that another process is making. None: it takes too long, or that process ended."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(LOOK_AGAIN_SECONDS)
        if found := _young(sharing.shared(name), slot):
            return found
    return None


def _made(kind: str, make: Callable[[], Body]) -> Copy:
    began = copy_.now()
    body = make()
    made.labels(kind).inc()
    return Copy.of(body, made=began)
