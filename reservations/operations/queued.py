"""Allocate the requests that wait in the queue, in batches; halve a failing batch until the bad request is found."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TypeVar

import msgspec
import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from psycopg.errors import UniqueViolation

from base.clock import db_now, reckoned_now
from realtime import wire
from reservations import metrics, orders, people, refusals
from reservations.allocation import batch, locks
from reservations.allocation.announcements import Announcements, tell
from reservations.allocation.batch import ByWayOfTheInbox
from reservations.claims import pace, standings
from reservations.claims.claims import NoClaims
from reservations.claims.pace import NotDue
from reservations.hold_request import HOLD_SCOPE, ORDER_SCOPE, HoldRequest
from reservations.models import CancelMark, InboxRequest, Reservation, Status
from reservations.operations import holding
from reservations.queueing import inbox, liveness
from reservations.queueing.turns import Turns, interleave
from sessions_app.models import Lane, Session, shard_of

log = structlog.get_logger(__name__)


ATTEMPTS = 5
FIRST_PAUSE = 0.05  # seconds; doubles each time, with jitter
DRAIN_CHUNK = 200
Done = TypeVar("Done")


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed alone, `tries` times, the last time with `error`."""

    request: HoldRequest
    error: Exception
    tries: int

    @property
    def reason(self) -> str:
        return _in_a_line(self.error)


class Poison(Exception):
    """Some requests fail alone, again and again; all the others are allocated."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(", ".join(str(failure.request.id) for failure in failures))
        self.failures = failures


def allocate(requests: Sequence[HoldRequest], *, shard: int | None = None) -> None:
    """Bring every request to its outcome; doing it again is harmless.

    With `shard`, the requests are in that shard's inbox, and its lock is taken. A batch that fails is split until the
    requests to blame stand alone. These are tried again together, after each of the usual pauses. So their neighbours
    in the queue wait less than a second for them, however many they are.

    Raises: Poison, when all the others are allocated; DatabaseError or ConnectionError, when no request is to blame
    (see `_is_to_blame`); ByWayOfTheInbox, NotDue.
    """
    failed = _allocate_or_split(requests, shard)
    for tries, pause in enumerate(_pauses(), start=2):
        if not failed:
            return
        time.sleep(pause)
        failed = [
            dataclasses.replace(again, tries=tries)
            for before in failed
            for again in _allocate_or_split([before.request], shard)
        ]
    if failed:
        for failure in failed:
            log.error(
                "allocate.poison",
                reservation=str(failure.request.id),
                request_id=failure.request.cause,
                error=failure.reason,
            )
        raise Poison(failed)


def receive(requests: Sequence[HoldRequest]) -> None:
    """Allocate requests that come out of the queue, by way of the inbox where they must.

    Raises: as `allocate`.
    """
    left = list(requests)
    while True:
        try:
            return allocate(left)
        except ByWayOfTheInbox as instead:
            asked = [request.id for request in left if request.session in instead.sessions]
            allocated = set(Reservation.objects.filter(pk__in=asked).values_list("pk", flat=True))
            parked = [
                request for request in left if request.session in instead.sessions and request.id not in allocated
            ]
            left = [request for request in left if request not in parked]
            _park(parked)


def _park(requests: Sequence[HoldRequest]) -> None:
    inbox.store(requests, shard_for=lambda request: shard_of(request.session, settings.SHARDS))
    metrics.parked.inc(len(requests))
    for shard in {shard_of(request.session, settings.SHARDS) for request in requests}:
        drain_inbox(shard=shard)


def allocate_however_long(requests: Sequence[HoldRequest]) -> None:
    """Allocate, and wait for PostgreSQL while it is away: the requests keep their place in the queue.

    Raises: Poison.
    """
    while True:
        try:
            receive(requests)
        except (DatabaseError, ConnectionError) as error:
            log.warning("allocate.waits_for_the_database", requests=len(requests), error=repr(error))
            liveness.note_progress()
            time.sleep(1)
        else:
            return


def _allocate_or_split(requests: Sequence[HoldRequest], shard: int | None) -> list[Failure]:
    """Allocate the requests; return those that failed alone."""
    if not requests:
        return []
    try:
        with_retries(lambda: _allocate_once(requests, shard))
    except Exception as error:
        if not _is_to_blame(error):
            raise
        if len(requests) == 1:
            return [Failure(requests[0], error, tries=1)]
        middle = len(requests) // 2
        return [*_allocate_or_split(requests[:middle], shard), *_allocate_or_split(requests[middle:], shard)]
    return []


# Classes of SQLSTATE that no request causes: connection, authorisation, a read-only database, rollbacks such as
# deadlocks, tables that aren't migrated yet, resources, locks, an operator's intervention, the system.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
NOBODYS_FAULT = frozenset({"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58"})


def _is_to_blame(error: Exception) -> bool:
    """Tell whether the request itself caused the error, so that the others need not wait for it."""
    if isinstance(error, ConnectionError | NotDue | ByWayOfTheInbox):
        return False
    if isinstance(error, DatabaseError):
        state = getattr(error.__cause__, "sqlstate", None)
        return state[:2] not in NOBODYS_FAULT if state else not isinstance(error, OperationalError | InterfaceError)
    return True


def _allocate_once(requests: Sequence[HoldRequest], shard: int | None) -> None:
    started = time.perf_counter()
    with transaction.atomic(durable=True):
        if shard is not None:
            locks.lock_shard(shard)
        news = batch.allocate_batch(requests, from_inbox=shard is not None)
        announce(news)
    liveness.note_progress()
    seconds = time.perf_counter() - started
    metrics.allocate_seconds.observe(seconds)
    metrics.allocate_batch.observe(len(requests))
    log.info(
        "allocated",
        requests=len(requests),
        milliseconds=round(seconds * 1000, 1),
        request_ids=sorted({request.cause for request in requests if request.cause}),
    )


def announce(news: Announcements) -> None:
    """Write the announcements now, send them after the commit."""
    news.record()
    transaction.on_commit(partial(tell, news))


def with_retries(work: Callable[[], Done]) -> Done:
    """Run the work again after a lock timeout, a deadlock, a lost connection or a key that was written meanwhile."""
    for attempt, pause in enumerate(_pauses(), start=1):
        try:
            return work()
        except (OperationalError, IntegrityError) as error:
            if not isinstance(error, OperationalError) and not isinstance(error.__cause__, UniqueViolation):
                raise
            log.warning("transaction.retried", attempt=attempt, error=_in_a_line(error))
            liveness.note_progress()
            time.sleep(pause)
    return work()


def _in_a_line(error: Exception) -> str:
    """Return the error without the details that PostgreSQL adds: they quote the row."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _pauses() -> Iterator[float]:
    """Yield the seconds between the attempts: they double, with jitter."""
    for attempt in range(ATTEMPTS - 1):
        pause = FIRST_PAUSE * 2**attempt
        yield random.uniform(pause / 2, pause)  # noqa: S311 jitter, not a secret


def drain_inbox(*, shard: int) -> int:
    """Allocate the requests in the shard's inbox in order of arrival; return how many.

    Of sessions with turns, allocate the requests that are due. A session with nothing due any more is left to the next
    call, so that no request waits here for that session's time to pass.
    """
    drained, at_rest = 0, set[str]()
    while True:
        sessions = inbox.sessions_waiting(shard)
        in_turns = inbox.in_turns(sessions)
        some = _drain_plain(shard, of=set(sessions) - in_turns if in_turns else None)
        for session in sorted(in_turns - at_rest):
            allocated = _drain_turn(uuid.UUID(session), shard)
            some += allocated
            if allocated < DRAIN_CHUNK:
                at_rest.add(session)
        if not some:
            return drained
        drained += some


def _drain_plain(shard: int, *, of: Collection[str] | None) -> int:
    """Allocate a chunk of the waiting requests of these sessions; return how many."""
    waiting = inbox.waiting(shard, limit=DRAIN_CHUNK, of=of)
    _allocate_waiting(waiting, shard)
    return len(waiting)


def _allocate_waiting(waiting: Sequence[inbox.Waiting], shard: int) -> None:
    for suspected, some in itertools.groupby(waiting, key=lambda one: one.suspected):
        requests = [one.request for one in some]
        if suspected:
            for request in requests:
                _allocate_suspect(request, shard)
        else:
            _allocate_from_inbox(requests, shard)


def _drain_turn(session: uuid.UUID, shard: int) -> int:
    """Allocate the session's requests that are due now, at most a chunk; return how many."""
    row = Session.objects.get(pk=session)
    due = pace.due(row, db_now())
    most = DRAIN_CHUNK if due is None else min(due, DRAIN_CHUNK)
    waiting = _in_turn(row, shard, limit=most + 1)
    if due is not None and len(waiting) > due:
        metrics.put_off.labels("allocation").inc()
    try:
        _allocate_waiting(waiting[:most], shard)
    except NotDue:  # another process drained meanwhile
        return 0
    return min(len(waiting), most)


def _in_turn(session: Session, shard: int, *, limit: int) -> list[inbox.Waiting]:
    """Return the session's next requests: in order of arrival, or by the weights of its lanes."""
    weights = dict(Lane.objects.filter(session=session).values_list("name", "weight"))
    if not weights:
        return inbox.waiting(shard, limit=limit, of=[str(session.pk)])
    lanes = inbox.in_lanes(session.pk, shard=shard, limit=limit)
    return list(itertools.islice(interleave(lanes, Turns(weights, session.lanes_ahead)), limit))


def drain_however_long(*, shard: int) -> None:
    """Drain, and wait for PostgreSQL while it is away: the requests behind this one in the shard's queue came later."""
    while True:
        try:
            drain_inbox(shard=shard)
        except (DatabaseError, ConnectionError) as error:
            log.warning("drain.waits_for_the_database", shard=shard, error=repr(error))
            liveness.note_progress()
            time.sleep(1)
        else:
            return


def _allocate_from_inbox(requests: Sequence[HoldRequest], shard: int) -> None:
    try:
        allocate(requests, shard=shard)
    except Poison as poison:
        for failure in poison.failures:
            inbox.note_failure(failure.request.id, error=failure.reason, tries=failure.tries)


def _allocate_suspect(request: HoldRequest, shard: int) -> None:
    """Allocate a suspect alone, and count it before the try: a request that kills its process is not tried for ever."""
    inbox.note_failure(request.id, error="its process did not live to tell")
    try:
        _allocate_from_inbox([request], shard)
    except (DatabaseError, ConnectionError, NotDue):
        with contextlib.suppress(DatabaseError):
            inbox.take_back_a_try(request.id)
        raise


def refuse(request: HoldRequest, *, reason: str) -> Reservation | None:
    """Write down a request that can't be allocated as rejected, and notify its buyer.

    A request that was allocated before stays as it was. The row leaves out what the table can't hold. Without its
    session there can be no row: then return None.
    """
    try:
        return _refuse(request, request, reason)
    except inbox.UNSTORABLE:
        return _refuse(request, _bare(request), reason)


def _bare(request: HoldRequest) -> HoldRequest:
    """Return the request with its buyer and session only, so that no constraint can object."""
    return HoldRequest(
        id=request.id,
        session=request.session,
        buyer=request.buyer,
        arrival=0,
        quantity=1,
        scope=ORDER_SCOPE if request.is_order else HOLD_SCOPE,
        accepted_at=reckoned_now(),
        cause=request.cause,
        actor=request.actor,
    )


@transaction.atomic(durable=True)
def _refuse(request: HoldRequest, known: HoldRequest, reason: str) -> Reservation | None:
    """Refuse the request; `known` is the part of it that is written down."""
    session = locks.lock_sessions([request.session], people=[request.buyer]).get(request.session)
    buyer = people.account_of(request.buyer)
    request, known = (msgspec.structs.replace(one, buyer=buyer) for one in (request, known))
    InboxRequest.objects.filter(pk=request.id).delete()
    if allocated := Reservation.objects.filter(pk=request.id).first():
        return allocated
    released, _rows = CancelMark.objects.filter(pk=request.id).delete()
    if session is None:
        transaction.on_commit(partial(_forget, request, reason))
        return None
    news = Announcements(now=db_now())
    refused = batch.refuse(known, session, news, reason=refusals.Released.reason if released else reason)
    announce(news)
    transaction.on_commit(partial(holding.give_back, request))
    return refused


def _forget(request: HoldRequest, reason: str) -> None:
    """Give up the claims of a request whose session is gone, and notify its buyer; nothing is stored."""
    with contextlib.suppress(NoClaims):
        standings.give_back([request])
    message = {"type": "reservation:update", "id": str(request.id), "status": Status.REJECTED.value, "reason": reason}
    wire.send_personal(buyer=request.buyer, message=message)
    if request.is_order:
        wire.send_personal(buyer=request.buyer, message=orders.message_of_the_lost(request, reason))
