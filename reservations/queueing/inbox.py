"""Store accepted requests in PostgreSQL's own queue, until the transaction that allocates them deletes them."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec
from django.db import DataError, IntegrityError
from django.db.models import F, QuerySet

from base.clock import reckoned_now
from base.rows import execute
from reservations.hold_request import UNREADABLE, HoldRequest
from reservations.models import InboxRequest

# Jumps from session to session through the index `inbox_in_lanes`.
SESSIONS_WAITING = """
WITH RECURSIVE found AS (
    (SELECT session FROM reservations_inboxrequest WHERE shard = %(shard)s AND attempts < 5 ORDER BY session LIMIT 1)
    UNION ALL
    SELECT (
        SELECT session FROM reservations_inboxrequest
        WHERE shard = %(shard)s AND attempts < 5 AND session > found.session ORDER BY session LIMIT 1
    ) FROM found WHERE found.session IS NOT NULL
)
SELECT session FROM found WHERE session IS NOT NULL
"""
# The first requests of each lane of these sessions.
HEADS = """
WITH RECURSIVE found AS (
    SELECT session, (
        SELECT lane FROM reservations_inboxrequest AS line
        WHERE line.shard = %(shard)s AND line.session = wanted.session AND attempts < 5 ORDER BY lane LIMIT 1
    ) FROM unnest(%(sessions)s::text[]) AS wanted (session)
    UNION ALL
    SELECT session, (
        SELECT lane FROM reservations_inboxrequest AS line
        WHERE line.shard = %(shard)s AND line.session = found.session AND line.lane > found.lane AND attempts < 5
        ORDER BY lane LIMIT 1
    ) FROM found WHERE lane IS NOT NULL
)
SELECT head.* FROM found CROSS JOIN LATERAL (
    SELECT * FROM reservations_inboxrequest AS line
    WHERE line.shard = %(shard)s AND line.session = found.session AND line.lane = found.lane AND attempts < 5
    ORDER BY arrival LIMIT %(limit)s
) AS head ORDER BY head.arrival
"""
IN_TURNS = """
SELECT id FROM sessions_app_session AS session WHERE id = ANY(%s::uuid[])
AND (settle_rate IS NOT NULL OR EXISTS (SELECT FROM sessions_app_lane WHERE session_id = session.id))
"""
NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # a session's id, in a request that can be read
UNSTORABLE = (DataError, IntegrityError, TypeError, ValueError)  # raised when a row can't hold a value of the request
MAX_ATTEMPTS = 5  # a request that fails this often alone is left for a person: `manage.py dead_letters`


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """A request in the inbox.

    `suspected`: it failed before, or a worker died with it; it is tried apart from the others.
    """

    request: HoldRequest
    suspected: bool


def store(requests: Sequence[HoldRequest], *, shard_for: Callable[[HoldRequest], int], suspicion: str = "") -> None:
    """Store the batch with one INSERT; a request already stored stays as it was.

    `suspicion` says what already happened to them.
    """
    InboxRequest.objects.bulk_create(
        [
            InboxRequest(
                id=request.id,
                shard=shard_for(request),
                arrival=request.arrival,
                buyer=request.buyer,
                request=request.to_json(),
                accepted_at=reckoned_now(),
                error=suspicion[:200],
            )
            for request in requests
        ],
        ignore_conflicts=True,
    )


def waiting(shard: int, *, limit: int, of: Collection[str] | None = None) -> list[Waiting]:
    """Return the next requests of the shard, in order of arrival; with `of`, only those that name these sessions.

    A request that can't be read is left for a person.
    """
    if of is None:
        return _readable(_waiting(shard).order_by("arrival")[:limit])
    return _readable(_heads_of(of, shard, limit))[:limit]


def in_lanes(session: uuid.UUID, *, shard: int, limit: int) -> dict[str, list[Waiting]]:
    """Return the session's next requests in each lane, in order of arrival."""
    lanes: dict[str, list[Waiting]] = defaultdict(list)
    for one in _readable(_heads_of([str(session)], shard, limit)):
        lanes[one.request.lane].append(one)
    return lanes


def _readable(rows: Iterable[InboxRequest]) -> list[Waiting]:
    found = []
    for row in rows:
        try:
            found.append(Waiting(_request(row), suspected=bool(row.error)))
        except UNREADABLE as error:
            note_failure(row.pk, error=f"cannot be read: {error!r}", tries=MAX_ATTEMPTS)
    return found


def _waiting(shard: int) -> QuerySet[InboxRequest]:
    return InboxRequest.objects.filter(shard=shard, attempts__lt=MAX_ATTEMPTS)


def _heads_of(sessions: Collection[str], shard: int, limit: int) -> Iterable[InboxRequest]:
    """Read the first requests of these sessions, and none of the requests before them in the shard."""
    return InboxRequest.objects.raw(HEADS, {"sessions": list(sessions), "shard": shard, "limit": limit})


def sessions_waiting(shard: int) -> list[str]:
    """Return the sessions, as requests name them, that have requests waiting.

    Each takes one step in the index, however many requests wait.
    """
    return [session for (session,) in execute(SESSIONS_WAITING, shard=shard)]


def in_turns(sessions: Collection[str]) -> set[str]:
    """Return those of the sessions whose requests are allocated in turns of their own."""
    named = [session for session in sessions if NAME.fullmatch(session)]
    return {str(found) for (found,) in execute(IN_TURNS, named)}


def note_failure(request: uuid.UUID, *, error: str, tries: int = 1) -> None:
    InboxRequest.objects.filter(pk=request).update(attempts=F("attempts") + tries, error=error[:200])


def take_back_a_try(request: uuid.UUID) -> None:
    """Lower the count of tries: the request wasn't the one that failed."""
    InboxRequest.objects.filter(pk=request, attempts__gt=0).update(attempts=F("attempts") - 1)


def left_for_a_person() -> QuerySet[InboxRequest]:
    return InboxRequest.objects.filter(attempts__gte=MAX_ATTEMPTS).order_by("accepted_at")


def put_back(requests: Collection[uuid.UUID]) -> int:
    """Try these requests anew, each apart from the others; return how many."""
    return InboxRequest.objects.filter(pk__in=requests).update(attempts=0)


def forget(request: uuid.UUID) -> None:
    """Delete a request that a person looked at and that can't be allocated in any way."""
    InboxRequest.objects.filter(pk=request, attempts__gte=MAX_ATTEMPTS).delete()


def find(reservation: uuid.UUID) -> HoldRequest | None:
    row = InboxRequest.objects.filter(pk=reservation).first()
    return _request(row) if row else None


def of_buyers(buyers: Collection[uuid.UUID]) -> list[HoldRequest]:
    return [_request(row) for row in InboxRequest.objects.filter(buyer__in=buyers)]


def _request(row: InboxRequest) -> HoldRequest:
    return msgspec.structs.replace(
        HoldRequest.from_json(row.request), buyer=row.buyer
    )  # a guest may have signed in since
