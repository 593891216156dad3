"""End reservations and pass on the places that come free, to orders on standby first."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext

from django.db.models import QuerySet

from base import causes
from base.causes import Cause
from reservations import refusals
from reservations.allocation import decision, locks, pricing, standby, statements
from reservations.allocation.announcements import Announcements
from reservations.models import Reservation, Status
from sessions_app.models import Seat, SeatStatus, Session, TicketType


def expire_in(session: Session, news: Announcements, *, limit: int) -> int:
    """End at most `limit` of the session's expired holds, and free all they held; return how many.

    The session is locked.
    """
    return len(expire(ran_out(session, news.now)[:limit], session, news))


def end_holds_in(session: Session, news: Announcements, *, limit: int) -> int:
    """End at most `limit` of a cancelled session's holds, expired or not; return how many.

    The session is locked.
    """
    holds = Reservation.objects.filter(session=session, status=Status.HELD).order_by("expires_at")[:limit]
    return len(_end_all(holds, Status.CANCELLED, refusals.CalledOff.reason, session, news))


def ran_out(session: Session, now: dt.datetime) -> QuerySet[Reservation]:
    return Reservation.objects.ran_out(now).filter(session=session).order_by("expires_at")


def expire(holds: QuerySet[Reservation], session: Session, news: Announcements) -> list[Reservation]:
    return _end_all(holds, Status.EXPIRED, refusals.ReservationExpired.reason, session, news)


def free(locked: locks.Locked, *, status: Status, reason: str) -> None:
    """End one reservation and give back what it held."""
    over = {locked.reservation.pk: locked.reservation.seats}
    (ended,) = _end(over, status, reason, locked.session, locked.news, why=locked.reservation.changed_for)
    for name in ("status", "reason", "changed_at", "pinned_until"):
        setattr(locked.reservation, name, getattr(ended, name))


def _end_all(
    holds: QuerySet[Reservation], status: Status, reason: str, session: Session, news: Announcements
) -> list[Reservation]:
    over = dict(holds.values_list("pk", "seats"))
    return _end(over, status, reason, session, news) if over else []


def _end(
    over: Mapping[uuid.UUID, Sequence[str]],
    status: Status,
    reason: str,
    session: Session,
    news: Announcements,
    *,
    why: Cause | None = None,
) -> list[Reservation]:
    """End these reservations. `why` is the cause to record, where the caller works for none of its own.

    A hold that ran out ends because of its expiry, whichever process notices it.
    """
    ended, labels = statements.end(session.pk, over, status=status, reason=reason, at=news.now)
    with causes.working_for(causes.EXPIRY) if status == Status.EXPIRED else nullcontext():
        for reservation in ended:
            reservation.session, reservation.changed_for = session, why
        news.seats(session, "seat.released", dict.fromkeys(labels, SeatStatus.FREE), of=ended)
        _give_stock_back(session, ended, news)
        for reservation in ended:
            news.reservation(reservation, f"reservation.{status}")
    return ended


def _give_stock_back(session: Session, reservations: Sequence[Reservation], news: Announcements) -> None:
    places: Counter[uuid.UUID] = Counter()
    for reservation in reservations:
        if reservation.ticket_type_id and reservation.has_stock:
            places[reservation.ticket_type_id] += reservation.quantity
    _add_to_stock(session, places, news)


def _add_to_stock(session: Session, places: Mapping[uuid.UUID, int], news: Announcements) -> None:
    """Give back this many places of each ticket type. The session is locked."""
    if not places:
        return
    stock = locks.lock_stock([session.pk])
    for kind, number in places.items():
        stock.give_back(kind, number)
    standby.serve(session, stock, news, hold_for)
    stock.write(news)


def hold_for(order: Reservation, kind: TicketType, now: dt.datetime) -> None:
    """Hold the places that an order on standby was given."""
    order.lines = [decision.line_of(kind, order.session, None) for _place in range(order.quantity)]
    if pricing.has_charges(order.session):
        order.lines = pricing.priced(order.lines, session=order.session)
    decision.begin_hold(order, now)


def leave_standby(locked: locks.Locked, *, reason: str) -> None:
    """End the order's wait, and serve those behind it: the places that were too few for it may be enough for them."""
    standby.end([locked.reservation], locked.session, locked.news, status=Status.CANCELLED, reason=reason)
    stock = locks.lock_stock([locked.session.pk])
    standby.serve(locked.session, stock, locked.news, hold_for)
    stock.write(locked.news)


def serve_standby(session: Session, news: Announcements) -> int:
    """End a chunk of the standby orders whose sale is over, and serve the rest; return how many ended.

    The session is locked.
    """
    ended = standby.end_some(session, news)
    stock = locks.lock_stock([session.pk])
    standby.serve(session, stock, news, hold_for)
    stock.write(news)
    return ended


def expire_holders(session: Session, seats: Collection[Seat], news: Announcements) -> None:
    """End the holds of these seats that ran out, swept or not, so that they are no obstacle."""
    over = [
        seat.reservation_id
        for seat in seats
        if seat.reservation_id is not None and seat.held_until is not None and seat.held_until <= news.now
    ]
    ended = expire(ran_out(session, news.now).filter(pk__in=over), session, news) if over else []
    freed = {label for reservation in ended for label in reservation.seats}
    for seat in seats:
        if seat.label in freed:
            seat.status = SeatStatus.FREE


def lock_places_of(locked: locks.Locked) -> None:
    """Lock the reservation's places before its sale and tickets are locked.

    This keeps the order of Note [Why the session row is locked first] in locks.py.
    """
    if locked.reservation.seats:
        locks.lock_seats(locked.session.pk, locked.reservation.seats)
    elif locked.reservation.has_stock:
        locks.lock_stock([locked.session.pk])


def take_back(locked: locks.Locked, *, seats: Collection[str], kinds: Sequence[pricing.Kind]) -> None:
    """Put places that a buyer gave back on sale again: numbered ones by their `seats`, others by their `kinds`."""
    reservation, session, news = locked.reservation, locked.session, locked.news
    places = len(kinds)
    news.gave_back(reservation, seats=list(seats))
    if seats:
        owned = Seat.objects.of(session.pk).filter(label__in=seats, reservation_id=reservation.pk)
        owned.update(status=SeatStatus.FREE, reservation_id=None)
        news.seats(session, "seat.returned", dict.fromkeys(seats, SeatStatus.FREE), of=[reservation])
    elif reservation.ticket_type_id:
        _add_to_stock(session, {reservation.ticket_type_id: places}, news)
    reservation.seats = [label for label in reservation.seats if label not in seats]
    reservation.quantity -= places
    reservation.lines = (
        [line for line in reservation.lines if line["seat"] not in seats]
        if seats
        else pricing.without(reservation.lines, kinds)
    )
    locks.save(locked, "seats", "quantity", "lines")
    news.reservation(reservation)
