"""Read, encode and compress a session's seats once for each version of the map.

After a deploy or a broken network every page asks for the same seats at the same moment. The first request reads them,
the others wait for it.
"""

from __future__ import annotations

import datetime as dt
import gzip
import threading
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

import msgspec
from prometheus_client import Counter

from sessions_app import queries
from sessions_app.bodies import SeatMap

MOST_KEPT = 64  # of a process; the full form of 10,000 seats takes 2 MB
LONGEST_KEPT = dt.timedelta(seconds=30)  # a change without a version (a seat's kind) is seen by then
EFFORT = 6  # of gzip: 10,000 seats in 20 ms

READ = Counter("frontrow_snapshots", "How often all seats of a session were read for the API")

Key = tuple[UUID, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A session's seats, encoded. At `until` they stop being true by themselves, because a hold runs out."""

    version: int
    plain: bytes
    packed: bytes
    until: dt.datetime

    def is_good(self, version: int, now: dt.datetime) -> bool:
        return self.version >= version and now < self.until


class Kept:
    """Keep the snapshots that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Snapshot] = OrderedDict()
        self._changing = threading.Lock()
        self._reading = [threading.Lock() for _lock in range(64)]  # one reader a session, in almost all cases

    def get(self, key: Key) -> Snapshot | None:
        with self._changing:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, snapshot: Snapshot) -> None:
        with self._changing:
            self._kept[key] = snapshot
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)

    def reading(self, key: Key) -> threading.Lock:
        return self._reading[hash(key) % len(self._reading)]

    def forget(self) -> None:
        with self._changing:
            self._kept.clear()


kept = Kept()


def of(session_id: UUID, *, version: int, now: dt.datetime, compact: bool) -> Snapshot:
    """Return a snapshot of `version` or a newer one; `now` is the database's. Raises: Session.DoesNotExist."""
    key = (session_id, compact)
    found = kept.get(key)
    if found and found.is_good(version, now):
        return found
    with kept.reading(key):
        found = kept.get(key)
        if not (found and found.is_good(version, now)):
            found = read(session_id, now=now, compact=compact)
            kept.put(key, found)
        return found


def read(session_id: UUID, *, now: dt.datetime, compact: bool) -> Snapshot:
    READ.inc()
    body, lapses = queries.compact_map_until(session_id) if compact else in_full(session_id)
    plain = msgspec.json.encode(body)
    latest = now + LONGEST_KEPT
    return Snapshot(
        version=body["version"],
        plain=plain,
        packed=gzip.compress(plain, EFFORT, mtime=0),
        until=min(lapses, latest) if lapses else latest,
    )


def in_full(session_id: UUID) -> tuple[SeatMap, dt.datetime | None]:
    body = queries.spelled_out(queries.seat_map(session_id))
    return body, min((seat["held_until"] for seat in body["seats"] if "held_until" in seat), default=None)
