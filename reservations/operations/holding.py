"""Change reservations for buyers and staff. Each operation is one transaction; one that fails changes nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypedDict

from django.db import transaction
from django.db.models.functions import Now

from reservations import queries, refusals
from reservations.allocation import changes, endings, locks, pricing, statements
from reservations.bodies import ReservationBody
from reservations.claims import standings
from reservations.claims.claims import NoClaims
from reservations.claims.standings import Standing
from reservations.hold_request import HoldRequest
from reservations.models import CancelMark, Reservation, Status
from reservations.operations import queued, sweeps
from reservations.queries import reservation_body
from reservations.refusals import (
    AlreadyPaid,
    ExtensionLimit,
    NotHeld,
    PaymentInProgress,
    ReservationExpired,
    VoucherUsedUp,
)
from sessions_app.models import Seat


@transaction.atomic(durable=True)
def release(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None, reason: str = refusals.Released.reason) -> None:
    """Give up a reservation: its seats are free at once, and one in the queue or on standby ends as cancelled.

    Doing it again is harmless. `reason` is why a hold, or an order on standby, ends.

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
            endings.leave_standby(locked, reason=reason)
            queued.announce(locked.news)
        case Status.HELD:
            over = locked.reservation.is_over_at(locked.now)
            endings.free(
                locked,
                status=Status.EXPIRED if over else Status.CANCELLED,
                reason=ReservationExpired.reason if over else reason,
            )
            queued.announce(locked.news)


def _lock_or_mark(reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> locks.Locked | None:
    """Lock the reservation; if it still waits in the queue, leave a mark that allocation obeys and return None."""
    with contextlib.suppress(Reservation.DoesNotExist):
        return locks.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    if Reservation.objects.filter(pk=reservation_id).exists():
        raise Reservation.DoesNotExist  # it belongs to another buyer
    request = queries.find_queued(reservation_id, buyer=buyer)
    locks.lock_sessions([request.session])
    if Reservation.objects.filter(pk=reservation_id).exists():
        return locks.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    CancelMark.objects.get_or_create(pk=reservation_id, defaults={"buyer": request.buyer})
    transaction.on_commit(partial(give_back, request))
    return None


def give_back(request: HoldRequest) -> None:
    """Give up the request's claims, though it may still wait in the queue. Without Redis, allocation decides alone."""
    with contextlib.suppress(NoClaims):
        standings.upkeep(
            [Standing.of_nothing(request)],
            draws=statements.draws(types=[request.ticket_type] if request.ticket_type else []),
        )


@transaction.atomic(durable=True)
def extend(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> ReservationBody:
    """Give the buyer as much time again, up to the session's longest hold; return the reservation's body.

    Raises: ReservationExpired, ExtensionLimit, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist,
    queries.NotYetKnown.
    """
    locked = lock_held(reservation_id=reservation_id, buyer=buyer)
    reservation, session = locked.reservation, locked.session
    assert reservation.held_at is not None
    assert reservation.expires_at is not None
    longest = reservation.held_at + dt.timedelta(seconds=session.max_hold_seconds)
    until = min(reservation.expires_at + dt.timedelta(seconds=session.hold_seconds), longest)
    if until <= reservation.expires_at:
        raise ExtensionLimit
    changes.prolong(locked, until=until)
    queued.announce(locked.news)
    return reservation_body(reservation)


@transaction.atomic(durable=True)
def no_longer_due(*, reservation_id: uuid.UUID) -> None:
    """Note that nothing is to be paid for it at the door any more. Doing it again is harmless.

    Raises: Reservation.DoesNotExist.
    """
    locked = locks.lock_reservation(reservation_id=reservation_id, buyer=None)
    if locked.reservation.due:
        changes.no_longer_due(locked)
        queued.announce(locked.news)


@transaction.atomic(durable=True)
def keep(*, reservation_id: uuid.UUID) -> None:
    """Extend a hold for the box office's counter, to the longest hold of its session.

    Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    locked = lock_held(reservation_id=reservation_id, buyer=None)
    reservation = locked.reservation
    assert reservation.held_at is not None
    changes.prolong(locked, until=reservation.held_at + dt.timedelta(seconds=locked.session.max_hold_seconds))
    queued.announce(locked.news)


class Terms(TypedDict):
    """The terms of a price; None leaves one unchanged, and "" takes a voucher off."""

    concessions: pricing.Choices | None
    voucher: str | None


@transaction.atomic(durable=True)
def _price(
    *, reservation_id: uuid.UUID, buyer: uuid.UUID | None, concessions: pricing.Choices | None, voucher: str | None
) -> ReservationBody:
    locked = lock_held(reservation_id=reservation_id, buyer=buyer)
    changes.reprice(locked, concessions=concessions, voucher=voucher)
    queued.announce(locked.news)
    return reservation_body(locked.reservation)


def price(
    *,
    reservation_id: uuid.UUID,
    buyer: uuid.UUID | None,
    concessions: pricing.Choices | None = None,
    voucher: str | None = None,
) -> ReservationBody:
    """Price a hold with these concessions and this voucher; return its body.

    None leaves a term unchanged, and "" takes a voucher off.

    Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown,
    and the errors of `changes.reprice`.
    """
    code = voucher and pricing.normal(voucher)
    work = partial(_price, reservation_id=reservation_id, buyer=buyer, concessions=concessions, voucher=code)
    try:
        return work()
    except VoucherUsedUp:
        over = Reservation.objects.ran_out(Now()).filter(voucher__code=code)
        sessions = list(
            over.values_list("session_id", flat=True).distinct().order_by("session_id")[: sweeps.EXPIRE_CHUNK]
        )
        if not any(
            queued.with_retries(partial(sweeps.expire_some, session, sweeps.EXPIRE_CHUNK)) for session in sessions
        ):
            raise
    return work()  # a hold that ran out is no obstacle, swept or not


def lock_held(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> locks.Locked:
    """Lock a hold in the caller's transaction.

    Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, queries.NotYetKnown.
    """
    try:
        locked = locks.lock_reservation(reservation_id=reservation_id, buyer=buyer)
    except Reservation.DoesNotExist:
        raise not_allocated(reservation_id, buyer=buyer) from None
    require_held(locked)
    return locked


def not_allocated(reservation_id: uuid.UUID, *, buyer: uuid.UUID | None) -> NotHeld:
    """Return the error to raise for a reservation without a row, with its ending if one is known.

    Raises, as GET would: Reservation.DoesNotExist, queries.NotYetKnown.
    """
    return NotHeld(refusals.ENDINGS.get(queries.find(reservation_id, buyer=buyer)["reason"] or ""))


def require_held(locked: locks.Locked) -> None:
    """Require that the reservation is held. Raises: ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid."""
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
            raise NotHeld(refusals.ENDINGS.get(reservation.reason))


def move_seats(
    *,
    reservation_id: uuid.UUID,
    seats: Sequence[str],
    to: Sequence[str],
    follow: Callable[[locks.Locked, list[tuple[Seat, Seat]]], None],
) -> None:
    """Give a hold or a purchase other free seats for some of its own, at the same price; its time and total stay.

    Staff does this. `follow` changes what else names the seats, in the same transaction: tickets, which this app
    doesn't know.

    Raises: changes.CannotMove, ReservationExpired, NotHeld, PaymentInProgress, Reservation.DoesNotExist.
    """
    session = Reservation.objects.values_list("session_id", flat=True).get(pk=reservation_id)
    queued.with_retries(partial(sweeps.expire_some, session, sweeps.EXPIRE_CHUNK))  # a hold that ran out is no obstacle
    with transaction.atomic(durable=True):
        locked = locks.lock_reservation(reservation_id=reservation_id, buyer=None)
        _require_seats(locked)
        follow(locked, changes.move(locked, seats, to))
        queued.announce(locked.news)


def _require_seats(locked: locks.Locked) -> None:
    """Require seats that are held or bought, with no payment under way.

    Raises: ReservationExpired, NotHeld, PaymentInProgress.
    """
    reservation = locked.reservation
    if reservation.status == Status.PAYING:
        raise PaymentInProgress
    if reservation.status == Status.EXPIRED or reservation.is_over_at(locked.now):
        raise ReservationExpired
    if reservation.status not in {Status.HELD, Status.CONFIRMED}:
        raise NotHeld(refusals.ENDINGS.get(reservation.reason))
