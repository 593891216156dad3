"""Order the turns of a session's lanes.

Note [Turns by weight]
Each request takes a stretch of its lane; the heavier the lane, the shorter the stretch. It starts where the request
before it in its lane ended, but never before the last one that had its turn. The request that starts earliest is next;
of two that start together, the one in the heavier lane (start-time fair queueing: Goyal, Vin, Cheng 1996). So lanes
with waiting requests share by weight, a lane alone has every turn, and none saves up turns while it is empty. The
session's row keeps how far each lane's end is ahead; it is moved under that row's lock, with the requests that were
allocated.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from base.rows import as_json, execute
from reservations.hold_request import HoldRequest
from sessions_app.models import Session

STRETCH = 1_000_000_000  # of a lane of weight 1
NOTE = """
UPDATE sessions_app_session AS session SET lanes_ahead = new.lanes_ahead
FROM jsonb_to_recordset(%s) AS new (id uuid, lanes_ahead text) WHERE session.id = new.id
"""

Waiting = TypeVar("Waiting")
Weights = Mapping[str, int]  # by lane; a lane that isn't named is open to all, and weighs 1


class Turns:
    """The turns of a session's lanes. `noted` is how far their ends are ahead, as the session's row keeps it."""

    def __init__(self, weights: Weights, noted: str) -> None:
        self._weights = weights
        self._ends: dict[str, int] = msgspec.json.decode(noted, type=dict[str, int]) if noted else {}
        self._at = 0

    def next(self, lanes: Sequence[str]) -> str:
        return min(lanes, key=lambda lane: (self._start_of(lane), -self._weight_of(lane), lane))

    def take(self, lane: str) -> None:
        self._at = self._start_of(lane)
        self._ends[lane] = self._at + STRETCH // self._weight_of(lane)

    def noted(self) -> str:
        ahead = {lane: end - self._at for lane, end in self._ends.items() if end > self._at}
        return msgspec.json.encode(ahead).decode() if ahead else ""

    def _start_of(self, lane: str) -> int:
        return max(self._at, self._ends.get(lane, 0))

    def _weight_of(self, lane: str) -> int:
        return self._weights.get(lane, 1)


def interleave(lanes: Mapping[str, Sequence[Waiting]], turns: Turns) -> Iterator[Waiting]:
    """Yield the requests of all lanes in the order of their turns, each lane's in their own order."""
    heads = {lane: iter(waiting) for lane, waiting in lanes.items()}
    following = {lane: next(head) for lane, head in heads.items() if lanes[lane]}
    while following:
        lane = turns.next(list(following))
        turns.take(lane)
        yield following.pop(lane)
        for waiting in heads[lane]:
            following[lane] = waiting
            break


def note(
    allocated: Sequence[HoldRequest],
    sessions: Mapping[uuid.UUID, Session],
    weights: Mapping[uuid.UUID, Weights],
) -> None:
    """Note that these requests had their turns, in this order.

    Their sessions are locked; those without lanes have no turns to note.
    """
    by_session: dict[uuid.UUID, list[str]] = defaultdict(list)
    for request in allocated:
        if request.session in weights:
            by_session[request.session].append(request.lane)
    if not by_session:
        return
    for session, lanes in by_session.items():
        turns = Turns(weights[session], sessions[session].lanes_ahead)
        for lane in lanes:
            turns.take(lane)
        sessions[session].lanes_ahead = turns.noted()
    execute(NOTE, as_json([{"id": row, "lanes_ahead": sessions[row].lanes_ahead} for row in by_session]))
