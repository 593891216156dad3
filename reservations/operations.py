"""What can be done with a reservation. Each operation is one transaction; whoever loses changes nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from django.db import Error as DatabaseError
from django.db import IntegrityError, OperationalError, transaction
from django.db.models.functions import Now
from psycopg.errors import UniqueViolation

from realtime.clock import db_now
from reservations import allocation, claims, inbox, metrics, queries
from reservations.announcements import Announcements
from reservations.claims import NoClaims, Standing
from reservations.hold_request import HoldRequest
from reservations.models import CancelMark, Reservation, Status
from reservations.queries import MAX_EXTENSIONS, reservation_body
from sessions_app.models import Session

log = structlog.get_logger(__name__)

ATTEMPTS = 5
FIRST_PAUSE = 0.05  # seconds; doubles each time, with jitter
DRAIN_CHUNK = 200
EXPIRE_CHUNK = 500
KEYS_KEPT = dt.timedelta(hours=24)

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


class Poison(Exception):
    """A request that fails alone, again and again. `request`: its id."""

    def __init__(self, request: uuid.UUID) -> None:
        super().__init__(str(request))
        self.request = request


def settle(requests: Sequence[HoldRequest], *, shard: int | None = None) -> None:
    """Bring every request to its outcome; again is harmless. With `shard`, under that shard's lock (the inbox).

    A batch that keeps failing is split until the poison stands alone; its neighbours settle.

    Raises: Poison, with the first that failed alone, after all the others are settled; DatabaseError when PostgreSQL is away.
    """
    if not requests:
        return
    try:
        _with_retries(lambda: _settle_once(requests, shard))
    except (DatabaseError, ConnectionError):
        if not _database_answers():
            raise
        _settle_halves(requests, shard, None)
    except Exception as error:  # noqa: BLE001 whatever a request's content breaks, the others must not wait for it
        _settle_halves(requests, shard, error)


def settle_however_long(requests: Sequence[HoldRequest]) -> None:
    """Settle, and while PostgreSQL is away wait for it: the requests keep their place in line. Raises: Poison."""
    while True:
        try:
            settle(requests)
        except (DatabaseError, ConnectionError) as error:
            log.warning("settle.waits_for_the_database", requests=len(requests), error=repr(error))
            time.sleep(1)
        else:
            return


def _settle_halves(requests: Sequence[HoldRequest], shard: int | None, error: Exception | None) -> None:
    if len(requests) == 1:
        log.error("settle.poison", reservation=str(requests[0].id), error=repr(error))
        raise Poison(requests[0].id) from error
    middle = len(requests) // 2
    poison: Poison | None = None
    for half in (requests[:middle], requests[middle:]):
        try:
            settle(half, shard=shard)
        except Poison as found:
            poison = poison or found
    if poison:
        raise poison


def _settle_once(requests: Sequence[HoldRequest], shard: int | None) -> None:
    started = time.perf_counter()
    with transaction.atomic(durable=True):
        if shard is not None:
            allocation.lock_shard(shard)
        news = allocation.settle_batch(requests)
        announce(news)
    metrics.settle_seconds.observe(time.perf_counter() - started)
    metrics.settle_batch.observe(len(requests))


def announce(news: Announcements) -> None:
    """Write it down now, tell it after the commit."""
    news.record()
    transaction.on_commit(news.send)


def _with_retries(work: Callable[[], Done]) -> Done:
    """Again after a lock timeout, a deadlock, a lost connection or a key that somebody else just wrote."""
    pause = FIRST_PAUSE
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except (OperationalError, IntegrityError) as error:
            passing = isinstance(error, OperationalError) or isinstance(error.__cause__, UniqueViolation)
            if attempt == ATTEMPTS or not passing:
                raise
            log.warning("transaction.retried", attempt=attempt, error=str(error).strip().splitlines()[0])
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 jitter, not a secret
            pause *= 2
    raise AssertionError("unreachable")


def _database_answers() -> bool:
    try:
        Session.objects.exists()
    except DatabaseError:
        return False
    return True


def drain_inbox(*, shard: int) -> int:
    """Settle what waits in PostgreSQL's inbox for the shard, in order of arrival; how many."""
    drained = 0
    while requests := inbox.waiting(shard, limit=DRAIN_CHUNK):
        try:
            settle(requests, shard=shard)
        except Poison as poison:
            inbox.note_failure(poison.request, error=repr(poison.__cause__))
        drained += len(requests)
    return drained


@transaction.atomic(durable=True)
def release(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> None:
    """Give it up: its seats are free at once; one that stands in line still is settled as cancelled. Again is harmless.

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
        case Status.HELD:
            over = locked.reservation.is_over_at(locked.now)
            allocation.free(
                locked, status=Status.EXPIRED if over else Status.CANCELLED, reason="expired" if over else "released"
            )
            announce(locked.news)


def _lock_or_mark(reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> allocation.Locked | None:
    """The reservation, locked; where it still stands in line a mark is left that settling obeys."""
    with contextlib.suppress(Reservation.DoesNotExist):
        return allocation.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    if Reservation.objects.filter(pk=reservation_id).exists():
        raise Reservation.DoesNotExist  # somebody else's
    request = queries.find_queued(reservation_id)
    if buyer is not None and request.buyer != buyer:
        raise Reservation.DoesNotExist
    allocation.lock_sessions([request.session])
    if Reservation.objects.filter(pk=reservation_id).exists():
        return allocation.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    CancelMark.objects.get_or_create(pk=reservation_id, defaults={"buyer": request.buyer})
    transaction.on_commit(partial(_give_back, request))
    return None


def _give_back(request: HoldRequest) -> None:
    """What it claimed is free for the next one; it may be asked for still. While Redis is away that is decided without claims."""
    with contextlib.suppress(NoClaims):
        claims.upkeep([Standing.of_nothing(request)])


@transaction.atomic(durable=True)
def extend(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> dict[str, Any]:
    """Give the buyer more time, at most twice and never past the session's longest hold; the reservation's body.

    Raises: ReservationExpired, ExtensionLimit, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    locked = lock_held(reservation_id=reservation_id, buyer=buyer)
    reservation, session = locked.reservation, locked.session
    assert reservation.held_at is not None
    assert reservation.expires_at is not None
    longest = reservation.held_at + dt.timedelta(seconds=session.max_hold_seconds)
    until = min(locked.now + dt.timedelta(seconds=session.hold_seconds), longest)
    if reservation.extensions >= MAX_EXTENSIONS or until <= reservation.expires_at:
        raise ExtensionLimit
    allocation.prolong(locked, until=until)
    announce(locked.news)
    return reservation_body(reservation)


def lock_held(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> allocation.Locked:
    """The reservation, locked and held, in the caller's transaction.

    Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    try:
        locked = allocation.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    except Reservation.DoesNotExist:
        found = queries.find(reservation_id, buyer=buyer)  # raises what GET would
        raise NotHeld(found["status"]) from None
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
            return locked
        case _:
            raise NotHeld(reservation.status)


def expire_holds(*, limit: int = 50_000) -> int:
    """End holds that ran out, session by session in short transactions, at most `limit` of them; how many."""
    ended = 0
    for session in sessions_with_expired_holds():
        while ended < limit and (some := _with_retries(partial(_expire_some, session, limit - ended))):
            ended += some
    return ended


def forget_keys() -> int:
    """Idempotency keys are kept for a day; how many were cleared."""
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
