"""What can be done with a reservation. Each operation is one transaction; whoever loses changes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import math
import random
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from psycopg.errors import UniqueViolation

from base import causes
from base.clock import db_now, reckoned_now
from realtime import events, wire
from reservations import metrics, orders, people, queries
from reservations.allocation import allocation, pricing, standby, statements
from reservations.allocation.allocation import ByWayOfTheInbox
from reservations.allocation.announcements import Announcements, tell
from reservations.claims import claims, pace
from reservations.claims.claims import NoClaims, Standing
from reservations.claims.pace import NotDue
from reservations.hold_request import HOLD_SCOPE, ORDER_SCOPE, HoldRequest
from reservations.models import FINAL, CancelMark, InboxRequest, Reservation, Status
from reservations.queries import reservation_body
from reservations.queueing import inbox, liveness
from reservations.queueing.turns import Turns, interleave
from sessions_app.models import Lane, Pool, Seat, Session, TicketType, shard_of

log = structlog.get_logger(__name__)

ATTEMPTS = 5
FIRST_PAUSE = 0.05  # seconds; doubles each time, with jitter
DRAIN_CHUNK = 200
EXPIRE_CHUNK = 200  # holds of a session ended at once: whoever asks for its seats meanwhile waits for these
SWEEPERS = 2  # sessions swept at a time: one waits for PostgreSQL while the other doesn't
KEYS_KEPT = dt.timedelta(hours=24)
DUE_LOOKED_AFTER = dt.timedelta(days=7)  # from the session's end on

Done = TypeVar("Done")


class ReservationExpired(Exception):
    """Its hold ran out."""


class ExtensionLimit(Exception):
    """Extended twice already, or as long as the session allows."""


class NotHeld(Exception):
    """It stands in line still, or ended without its seats."""


class PaymentInProgress(Exception):
    """A payment for it is under way."""


class AlreadyPaid(Exception):
    """`sale`: what it became."""

    def __init__(self, sale: uuid.UUID | None) -> None:
        super().__init__(str(sale))
        self.sale = sale


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A request that failed alone, `tries` times, in the end with `error`."""

    request: HoldRequest
    error: Exception
    tries: int

    @property
    def reason(self) -> str:
        return _in_a_line(self.error)


class Poison(Exception):
    """Some requests fail alone, again and again; all the others are settled."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(", ".join(str(failure.request.id) for failure in failures))
        self.failures = failures


def settle(requests: Sequence[HoldRequest], *, shard: int | None = None) -> None:
    """Bring every request to its outcome; again is harmless. With `shard`, under that shard's lock: they stand in the inbox.

    A batch that fails is split until those to blame stand alone. They are tried again together, after each of the usual pauses:
    however many they are, their neighbours in line wait less than a second for them.

    Raises: Poison, when all the others are settled; DatabaseError or ConnectionError when no request is to blame (see `_is_to_blame`);
    ByWayOfTheInbox, NotDue.
    """
    failed = _settle_or_split(requests, shard)
    for tries, pause in enumerate(_pauses(), start=2):
        if not failed:
            return
        time.sleep(pause)
        failed = [
            dataclasses.replace(again, tries=tries)
            for before in failed
            for again in _settle_or_split([before.request], shard)
        ]
    if failed:
        for failure in failed:
            log.error(
                "settle.poison",
                reservation=str(failure.request.id),
                request_id=failure.request.cause,
                error=failure.reason,
            )
        raise Poison(failed)


def receive(requests: Sequence[HoldRequest]) -> None:
    """Settle what comes out of the line; what has to goes by way of the inbox.

    Raises: as `settle`.
    """
    left = list(requests)
    while True:
        try:
            return settle(left)
        except ByWayOfTheInbox as instead:
            asked = [request.id for request in left if request.session in instead.sessions]
            settled = set(Reservation.objects.filter(pk__in=asked).values_list("pk", flat=True))
            parked = [request for request in left if request.session in instead.sessions and request.id not in settled]
            left = [request for request in left if request not in parked]
            _park(parked)


def _park(requests: Sequence[HoldRequest]) -> None:
    inbox.store(requests, shard_for=lambda request: shard_of(request.session, settings.SHARDS))
    metrics.parked.inc(len(requests))
    for shard in {shard_of(request.session, settings.SHARDS) for request in requests}:
        drain_inbox(shard=shard)


def settle_however_long(requests: Sequence[HoldRequest]) -> None:
    """Settle, and while PostgreSQL is away wait for it: the requests keep their place in line. Raises: Poison."""
    while True:
        try:
            receive(requests)
        except (DatabaseError, ConnectionError) as error:
            log.warning("settle.waits_for_the_database", requests=len(requests), error=repr(error))
            liveness.note_progress()
            time.sleep(1)
        else:
            return


def _settle_or_split(requests: Sequence[HoldRequest], shard: int | None) -> list[Failure]:
    """Those that failed alone; the others are settled."""
    if not requests:
        return []
    try:
        with_retries(lambda: _settle_once(requests, shard))
    except Exception as error:
        if not _is_to_blame(error):
            raise
        if len(requests) == 1:
            return [Failure(requests[0], error, tries=1)]
        middle = len(requests) // 2
        return [*_settle_or_split(requests[:middle], shard), *_settle_or_split(requests[middle:], shard)]
    return []


# Classes of SQLSTATE that no request brings about: connection, authorisation, a database that only reads, rollbacks such as
# deadlocks, tables that aren't migrated yet, resources, locks, an operator's say, the system. https://www.postgresql.org/docs/current/errcodes-appendix.html
NOBODYS_FAULT = frozenset({"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58"})


def _is_to_blame(error: Exception) -> bool:
    """Whether it is the request's own fault, so that the others need not wait for it."""
    if isinstance(error, ConnectionError | NotDue | ByWayOfTheInbox):
        return False
    if isinstance(error, DatabaseError):
        state = getattr(error.__cause__, "sqlstate", None)
        return state[:2] not in NOBODYS_FAULT if state else not isinstance(error, OperationalError | InterfaceError)
    return True


def _settle_once(requests: Sequence[HoldRequest], shard: int | None) -> None:
    started = time.perf_counter()
    with transaction.atomic(durable=True):
        if shard is not None:
            allocation.lock_shard(shard)
        news = allocation.settle_batch(requests, from_inbox=shard is not None)
        announce(news)
    liveness.note_progress()
    seconds = time.perf_counter() - started
    metrics.settle_seconds.observe(seconds)
    metrics.settle_batch.observe(len(requests))
    log.info(
        "settled",
        requests=len(requests),
        milliseconds=round(seconds * 1000, 1),
        request_ids=sorted({request.cause for request in requests if request.cause}),
    )


def announce(news: Announcements) -> None:
    """Write it down now, tell it after the commit."""
    news.record()
    transaction.on_commit(partial(tell, news))


def with_retries(work: Callable[[], Done]) -> Done:
    """Again after a lock timeout, a deadlock, a lost connection or a key that somebody else just wrote."""
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
    """Without the details that PostgreSQL adds: they quote the row."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _pauses() -> Iterator[float]:
    """Seconds between the attempts: they double, with jitter."""
    for attempt in range(ATTEMPTS - 1):
        pause = FIRST_PAUSE * 2**attempt
        yield random.uniform(pause / 2, pause)  # noqa: S311 jitter, not a secret


def drain_inbox(*, shard: int) -> int:
    """Settle what waits in PostgreSQL's inbox for the shard, in order of arrival, and of sessions with turns what is due; how many.

    A session that has nothing due any more is left to the next call, so that nobody waits here for its time to pass.
    """
    drained, at_rest = 0, set[str]()
    while True:
        sessions = inbox.sessions_waiting(shard)
        in_turns = inbox.in_turns(sessions)
        some = _drain_plain(shard, of=set(sessions) - in_turns if in_turns else None)
        for session in sorted(in_turns - at_rest):
            settled = _drain_turn(uuid.UUID(session), shard)
            some += settled
            if settled < DRAIN_CHUNK:
                at_rest.add(session)
        if not some:
            return drained
        drained += some


def _drain_plain(shard: int, *, of: Collection[str] | None) -> int:
    """A chunk of what waits, of these sessions; how many."""
    waiting = inbox.waiting(shard, limit=DRAIN_CHUNK, of=of)
    _settle_waiting(waiting, shard)
    return len(waiting)


def _settle_waiting(waiting: Sequence[inbox.Waiting], shard: int) -> None:
    for suspected, some in itertools.groupby(waiting, key=lambda one: one.suspected):
        requests = [one.request for one in some]
        if suspected:
            for request in requests:
                _settle_suspect(request, shard)
        else:
            _settle_from_inbox(requests, shard)


def _drain_turn(session: uuid.UUID, shard: int) -> int:
    """As many of the session's requests as are due now, at most a chunk; how many."""
    row = Session.objects.get(pk=session)
    due = pace.due(row, db_now())
    most = DRAIN_CHUNK if due is None else min(due, DRAIN_CHUNK)
    waiting = _in_turn(row, shard, limit=most + 1)
    if due is not None and len(waiting) > due:
        metrics.put_off.labels("settle").inc()
    try:
        _settle_waiting(waiting[:most], shard)
    except NotDue:  # somebody else drained meanwhile
        return 0
    return min(len(waiting), most)


def _in_turn(session: Session, shard: int, *, limit: int) -> list[inbox.Waiting]:
    """The session's next ones: in order of arrival, or with lanes as their weights have it."""
    weights = dict(Lane.objects.filter(session=session).values_list("name", "weight"))
    if not weights:
        return inbox.waiting(shard, limit=limit, of=[str(session.pk)])
    lanes = inbox.in_lanes(session.pk, shard=shard, limit=limit)
    return list(itertools.islice(interleave(lanes, Turns(weights, session.lanes_ahead)), limit))


def drain_however_long(*, shard: int) -> None:
    """Drain, and while PostgreSQL is away wait for it: what stands behind this in the shard's queue came later."""
    while True:
        try:
            drain_inbox(shard=shard)
        except (DatabaseError, ConnectionError) as error:
            log.warning("drain.waits_for_the_database", shard=shard, error=repr(error))
            liveness.note_progress()
            time.sleep(1)
        else:
            return


def _settle_from_inbox(requests: Sequence[HoldRequest], shard: int) -> None:
    try:
        settle(requests, shard=shard)
    except Poison as poison:
        for failure in poison.failures:
            inbox.note_failure(failure.request.id, error=failure.reason, tries=failure.tries)


def _settle_suspect(request: HoldRequest, shard: int) -> None:
    """Alone, and counted before it is tried: should it take this process down with it, that doesn't go on for ever."""
    inbox.note_failure(request.id, error="its process did not live to tell")
    try:
        _settle_from_inbox([request], shard)
    except (DatabaseError, ConnectionError, NotDue):
        with contextlib.suppress(DatabaseError):
            inbox.take_back_a_try(request.id)
        raise


def refuse(request: HoldRequest, *, reason: str) -> Reservation | None:
    """Settle a request that can't be settled otherwise as rejected; its buyer is told. One that was settled before stays as it was.

    What of it the table can't hold is left out. Without its session there can be no row: then None.
    """
    try:
        return _refuse(request, request, reason)
    except inbox.UNSTORABLE:
        return _refuse(request, _bare(request), reason)


def _bare(request: HoldRequest) -> HoldRequest:
    """Who asked in which session; nothing that a constraint could object to."""
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
    """`known`: what is written down of the request."""
    session = allocation.lock_sessions([request.session], people=[request.buyer]).get(request.session)
    buyer = people.account_of(request.buyer)
    request, known = (msgspec.structs.replace(one, buyer=buyer) for one in (request, known))
    InboxRequest.objects.filter(pk=request.id).delete()
    if settled := Reservation.objects.filter(pk=request.id).first():
        return settled
    released, _rows = CancelMark.objects.filter(pk=request.id).delete()
    if session is None:
        transaction.on_commit(partial(_forget, request, reason))
        return None
    news = Announcements(now=db_now())
    refused = allocation.refuse(known, session, news, reason="released" if released else reason)
    announce(news)
    transaction.on_commit(partial(_give_back, request))
    return refused


def _forget(request: HoldRequest, reason: str) -> None:
    """Its session is gone: nothing is kept of it, but its buyer is told."""
    with contextlib.suppress(NoClaims):
        claims.give_back([request])
    message = {"type": "reservation:update", "id": str(request.id), "status": Status.REJECTED.value, "reason": reason}
    wire.send_personal(buyer=request.buyer, message=message)
    if request.is_order:
        wire.send_personal(buyer=request.buyer, message=orders.message_of_the_lost(request, reason))


@transaction.atomic(durable=True)
def release(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None, reason: str = "released") -> None:
    """Give it up: its seats are free at once; one that stands in line still, or by, ends as cancelled. Again is harmless.

    `reason`: why one that is held, or stands by, ends.
    Raises: PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    locked = _lock_or_mark(reservation_id, buyer)
    if locked is None:
        return
    match locked.reservation.status:
        case Status.PAYING:
            raise PaymentInProgress
        case Status.CONFIRMED:
            raise AlreadyPaid(locked.reservation.sale_id)
        case Status.QUEUED:
            allocation.leave_standby(locked, reason=reason)
            announce(locked.news)
        case Status.HELD:
            over = locked.reservation.is_over_at(locked.now)
            allocation.free(
                locked, status=Status.EXPIRED if over else Status.CANCELLED, reason="expired" if over else reason
            )
            announce(locked.news)


def _lock_or_mark(reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> allocation.Locked | None:
    """The reservation, locked; where it still stands in line a mark is left that settling obeys."""
    with contextlib.suppress(Reservation.DoesNotExist):
        return allocation.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    if Reservation.objects.filter(pk=reservation_id).exists():
        raise Reservation.DoesNotExist  # somebody else's
    request = queries.find_queued(reservation_id, buyer=buyer)
    allocation.lock_sessions([request.session])
    if Reservation.objects.filter(pk=reservation_id).exists():
        return allocation.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    CancelMark.objects.get_or_create(pk=reservation_id, defaults={"buyer": request.buyer})
    transaction.on_commit(partial(_give_back, request))
    return None


def _give_back(request: HoldRequest) -> None:
    """What it claimed is free for the next one; it may be asked for still. While Redis is away that is decided without claims."""
    with contextlib.suppress(NoClaims):
        claims.upkeep(
            [Standing.of_nothing(request)],
            draws=statements.draws(types=[request.ticket_type] if request.ticket_type else []),
        )


@transaction.atomic(durable=True)
def extend(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> dict[str, Any]:
    """Give the buyer as much time again, never past the session's longest hold; the reservation's body.

    Raises: ReservationExpired, ExtensionLimit, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    locked = lock_held(reservation_id=reservation_id, buyer=buyer)
    reservation, session = locked.reservation, locked.session
    assert reservation.held_at is not None
    assert reservation.expires_at is not None
    longest = reservation.held_at + dt.timedelta(seconds=session.max_hold_seconds)
    until = min(reservation.expires_at + dt.timedelta(seconds=session.hold_seconds), longest)
    if until <= reservation.expires_at:
        raise ExtensionLimit
    allocation.prolong(locked, until=until)
    announce(locked.news)
    return reservation_body(reservation)


@transaction.atomic(durable=True)
def no_longer_due(*, reservation_id: uuid.UUID) -> None:
    """Note that nothing of it is to be paid at the door any more. Again is harmless. Raises: Reservation.DoesNotExist."""
    locked = allocation.lock_reservation(reservation_id=reservation_id, buyer=None)
    if locked.reservation.due:
        allocation.no_longer_due(locked)
        announce(locked.news)


@transaction.atomic(durable=True)
def keep(*, reservation_id: uuid.UUID) -> None:
    """For whoever stands at the counter: the hold goes on for as long as the session lets one go on at all.

    Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    locked = lock_held(reservation_id=reservation_id, buyer=None)
    reservation = locked.reservation
    assert reservation.held_at is not None
    allocation.prolong(locked, until=reservation.held_at + dt.timedelta(seconds=locked.session.max_hold_seconds))
    announce(locked.news)


@transaction.atomic(durable=True)
def _price(
    *, reservation_id: uuid.UUID, buyer: uuid.UUID | None, concessions: pricing.Choices | None, voucher: str | None
) -> dict[str, Any]:
    locked = lock_held(reservation_id=reservation_id, buyer=buyer)
    allocation.reprice(locked, concessions=concessions, voucher=voucher)
    announce(locked.news)
    return reservation_body(locked.reservation)


def price(
    *,
    reservation_id: uuid.UUID,
    buyer: uuid.UUID | None,
    concessions: pricing.Choices | None = None,
    voucher: str | None = None,
) -> dict[str, Any]:
    """What is held costs what it costs with these concessions and this voucher; None leaves what it has, "" takes a voucher off.

    Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown, and what
    `allocation.reprice` raises.
    """
    code = voucher and pricing.normal(voucher)
    work = partial(_price, reservation_id=reservation_id, buyer=buyer, concessions=concessions, voucher=code)
    try:
        return work()
    except pricing.VoucherUsedUp:
        over = Reservation.objects.filter(voucher__code=code, status=Status.HELD, expires_at__lte=Now())
        sessions = list(over.values_list("session_id", flat=True).distinct().order_by("session_id")[:EXPIRE_CHUNK])
        if not any(with_retries(partial(_expire_some, session, EXPIRE_CHUNK)) for session in sessions):
            raise
    return work()  # a hold that ran out is no obstacle, swept or not


def lock_held(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> allocation.Locked:
    """The reservation, locked and held, in the caller's transaction.

    Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    try:
        locked = allocation.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    except Reservation.DoesNotExist:
        raise not_settled(reservation_id, buyer=buyer) from None
    require_held(locked)
    return locked


def not_settled(reservation_id: uuid.UUID, *, buyer: uuid.UUID | None) -> NotHeld:
    """What to raise for one that isn't in the table. Raises itself: Reservation.DoesNotExist, queries.NotYetKnown, as GET would."""
    return NotHeld(queries.find(reservation_id, buyer=buyer)["status"])


def require_held(locked: allocation.Locked) -> None:
    """Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid."""
    reservation = locked.reservation
    match reservation.status:
        case Status.PAYING:
            raise PaymentInProgress
        case Status.CONFIRMED:
            raise AlreadyPaid(reservation.sale_id)
        case Status.EXPIRED:
            raise ReservationExpired
        case Status.HELD if reservation.is_over_at(locked.now):
            raise ReservationExpired
        case Status.HELD:
            return
        case _:
            raise NotHeld(reservation.status)


def move_seats(
    *,
    reservation_id: uuid.UUID,
    seats: Sequence[str],
    to: Sequence[str],
    follow: Callable[[allocation.Locked, list[tuple[Seat, Seat]]], None],
) -> None:
    """Staff gives a hold or a purchase other free seats for these of its own, at the same price; its time and its total stay.

    `follow` takes along, in the same transaction, what else names the seats: tickets, which this app doesn't know.

    Raises: allocation.CannotMove, ReservationExpired, NotHeld, PaymentInProgress, Reservation.DoesNotExist.
    """
    session = Reservation.objects.values_list("session_id", flat=True).get(pk=reservation_id)
    with_retries(partial(_expire_some, session, EXPIRE_CHUNK))  # a hold that ran out is no obstacle
    with transaction.atomic(durable=True):
        locked = allocation.lock_reservation(reservation_id=reservation_id, buyer=None)
        _require_seats(locked)
        follow(locked, allocation.move(locked, seats, to))
        announce(locked.news)


def _require_seats(locked: allocation.Locked) -> None:
    """Held or bought, and nobody is paying just now. Raises: ReservationExpired, NotHeld, PaymentInProgress."""
    reservation = locked.reservation
    if reservation.status == Status.PAYING:
        raise PaymentInProgress
    if reservation.status == Status.EXPIRED or reservation.is_over_at(locked.now):
        raise ReservationExpired
    if reservation.status not in {Status.HELD, Status.CONFIRMED}:
        raise NotHeld(reservation.status)


def expire_holds(*, limit: int = 50_000) -> int:
    """End holds that ran out, in short transactions, at most about `limit` of them, as many in each session; how many."""
    sessions = sessions_with_expired_holds()
    if not sessions:
        return 0
    with ThreadPoolExecutor(SWEEPERS, thread_name_prefix="sweeper") as sweepers:
        return sum(sweepers.map(partial(_sweep, limit=math.ceil(limit / len(sessions))), sessions))


def _sweep(session: uuid.UUID, *, limit: int) -> int:
    ended = 0
    try:
        while ended < limit and (some := with_retries(partial(_expire_some, session, limit - ended))):
            ended += some
    finally:
        connection.close()  # this thread's own
    return ended


def look_after_standby() -> int:
    """End orders that stand by when their sale is over, and pass on what is free by other ways than somebody's giving it back."""
    ended = 0
    for session in standby.sessions_to_look_after():
        while some := with_retries(partial(_serve_standby, session)):
            ended += some
    return ended


@causes.working_for(causes.job("standby"))
@transaction.atomic(durable=True)
def _serve_standby(session_id: uuid.UUID) -> int:
    session = allocation.lock_sessions([session_id])[session_id]
    news = Announcements(now=db_now())
    ended = allocation.serve_standby(session, news)
    announce(news)
    return ended


def forget_keys() -> int:
    """Idempotency keys are kept for a day, and addresses that count no more; how many keys were cleared."""
    old = Reservation.objects.filter(accepted_at__lt=Now() - KEYS_KEPT)
    over = Session.objects.filter(ends_at__range=(Now() - DUE_LOOKED_AFTER, Now()))
    Reservation.objects.filter(session__in=over, due=True).update(due=False)  # no one comes for them any more
    old.exclude(origin="").filter(status__in=FINAL, due=False).update(origin="")
    return Reservation.objects.filter(accepted_at__lt=Now() - KEYS_KEPT).exclude(key="").update(key="")


def sessions_with_expired_holds() -> list[uuid.UUID]:
    over = Reservation.objects.filter(status=Status.HELD, expires_at__lte=Now())
    return list(over.order_by("session_id").values_list("session_id", flat=True).distinct())


def count_expired_holds(*, grace_seconds: float = 0) -> int:
    """Holds that ran out at least `grace_seconds` ago and that nobody swept."""
    return Reservation.objects.filter(
        status=Status.HELD, expires_at__lte=Now() - dt.timedelta(seconds=grace_seconds)
    ).count()


@transaction.atomic(durable=True)
def _expire_some(session_id: uuid.UUID, limit: int) -> int:
    session = allocation.lock_sessions([session_id])[session_id]
    news = Announcements(now=db_now())
    ended = allocation.expire_in(session, news, limit=min(limit, EXPIRE_CHUNK))
    if ended:
        announce(news)
    return ended


@transaction.atomic(durable=True)
def block_seats(*, session: uuid.UUID, labels: Collection[str]) -> list[str]:
    """Take free seats off sale; the labels of those that were free. Raises: Session.DoesNotExist."""
    return _staff(session, labels, allocation.block)


@transaction.atomic(durable=True)
def unblock_seats(*, session: uuid.UUID, labels: Collection[str]) -> list[str]:
    """Put blocked seats back on sale; the labels of those that were blocked. Raises: Session.DoesNotExist."""
    return _staff(session, labels, allocation.unblock)


@transaction.atomic
def change_stock(*, ticket_type: uuid.UUID, capacity: int, pools: Collection[uuid.UUID]) -> None:
    """How many unnumbered places a type has, and which pools of its session it draws on; never fewer than are taken.

    Raises: stock.FewerThanTaken, TicketType.DoesNotExist.
    """
    owner = TicketType.objects.values_list("session_id", flat=True).get(pk=ticket_type, capacity__isnull=False)
    session = allocation.lock_sessions([owner])[owner]
    news = Announcements(now=db_now())
    allocation.change_stock(session, news, kind=ticket_type, capacity=capacity, pools=pools)
    announce(news)
    facts = {"ticket_type": str(ticket_type), "capacity": capacity, "pools": sorted(map(str, pools))}
    events.record(event="stock.changed", session=owner, facts=facts)


@transaction.atomic
def change_pool(*, pool: uuid.UUID, capacity: int) -> None:
    """How many places a pool has; never fewer than are taken. Raises: stock.FewerThanTaken, Pool.DoesNotExist."""
    owner = Pool.objects.values_list("session_id", flat=True).get(pk=pool)
    session = allocation.lock_sessions([owner])[owner]
    news = Announcements(now=db_now())
    allocation.change_pool(session, news, pool=pool, capacity=capacity)
    announce(news)
    events.record(event="stock.changed", session=owner, facts={"pool": str(pool), "capacity": capacity})


def _staff(
    session_id: uuid.UUID,
    labels: Collection[str],
    change: Callable[[Session, Collection[str], Announcements], list[str]],
) -> list[str]:
    session = allocation.lock_sessions([session_id]).get(session_id)
    if session is None:
        raise Session.DoesNotExist
    news = Announcements(now=db_now())
    changed = change(session, labels, news)
    announce(news)
    return changed
