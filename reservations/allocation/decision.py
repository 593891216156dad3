"""Decide what each request of a batch gets, in memory and one after the other; lock and write nothing.

`batch.allocate_batch` locks and reads what deciding needs, calls `decide` in the order of the requests' turns, and
writes the outcome.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import starmap
from typing import TypedDict

from base.refusals import Refused
from base.rows import new_row
from reservations import refusals, rules
from reservations.allocation import pricing, standby, statements
from reservations.allocation.announcements import Announcements
from reservations.allocation.best_available import FreeSeats
from reservations.allocation.hall_plan import HallPlan, SeatOnPlan
from reservations.allocation.standby import Wanted
from reservations.allocation.statements import Place
from reservations.allocation.stock import Stock
from reservations.allocation.terms import REFUSALS, Terms
from reservations.bodies import Conflict, Line
from reservations.hold_request import AT_THE_DOOR, HoldRequest, Means
from reservations.models import Reservation, Status
from reservations.queries import reservation_body
from sessions_app.models import Seat, SeatStatus, Session, TicketType

FREE = Means(method="free")  # pays for an order that costs nothing: no gateway is asked
REASONS = {SeatStatus.HELD: "held", SeatStatus.SOLD: "sold", SeatStatus.BLOCKED: "blocked"}


class Ended(TypedDict, total=False):
    """The columns of a request that got nothing, or not yet; empty if it got its places."""

    status: Status
    reason: str
    conflicts: list[Conflict]
    duplicate_of: uuid.UUID


@dataclasses.dataclass(slots=True)
class Batch:
    """Requests of some sessions, and all that deciding them needs, read under the locks."""

    sessions: dict[uuid.UUID, Session]
    news: Announcements
    seats: dict[uuid.UUID, dict[str, Place]]
    stock: Stock
    stood_by_for: Wanted
    has: Counter[tuple[uuid.UUID, uuid.UUID]]
    held: Counter[uuid.UUID | tuple[uuid.UUID, str]]
    cancelled: set[uuid.UUID]
    keys: dict[tuple[uuid.UUID, str, str], uuid.UUID]
    terms: Terms
    decided: list[Reservation] = dataclasses.field(default_factory=list)
    taken: list[Place] = dataclasses.field(default_factory=list)
    standing_by: list[tuple[HoldRequest, Reservation]] = dataclasses.field(default_factory=list)
    # the ends of the taken seats' holds, in their order
    ends: list[dt.datetime] = dataclasses.field(default_factory=list)
    # filled where the best seats were asked for
    free: dict[uuid.UUID, FreeSeats] = dataclasses.field(default_factory=dict)


def decide(request: HoldRequest, batch: Batch) -> None:
    reservation = row_of(request, batch.sessions[request.session], batch.news)
    refusal = _refusal(request, batch) or _take(request, reservation, batch)
    if refusal:
        for name, value in refusal.items():
            setattr(reservation, name, value)
    else:
        batch.has[request.session, request.buyer] += reservation.quantity
        if request.asks_stock and request.ticket_type:
            batch.has[request.ticket_type, request.buyer] += reservation.quantity
        batch.held[request.buyer] += reservation.quantity
        batch.held[request.pot, request.caps.origin] += reservation.quantity
    if request.key and reservation.status != Status.REJECTED:
        batch.keys[request.buyer, request.scope, request.key] = request.id
    batch.decided.append(reservation)
    judged_by = _judged_by(request, reservation, batch) if reservation.status == Status.HELD else {}
    batch.news.reservation(reservation, f"reservation.{reservation.status}", **judged_by)
    if reservation.status == Status.QUEUED:
        batch.standing_by.append((request, reservation))
    else:
        reply(request, reservation, batch.news)


def _judged_by(request: HoldRequest, reservation: Reservation, batch: Batch) -> dict[str, object]:
    """Return the limits of this moment for the log: they may be lowered later, and the audit judges by these."""
    kind = batch.stock.of(reservation.ticket_type_id) if reservation.has_stock else None
    judged_by: dict[str, object] = {**standby.limits_of(reservation.session, kind)}
    if reservation.voucher is not None:
        judged_by |= {"voucher": str(reservation.voucher_id), "voucher_uses": reservation.voucher.uses}
    if request.best_available:
        judged_by["best_available"] = True
    return judged_by


def reply(request: HoldRequest, reservation: Reservation, news: Announcements) -> None:
    """Send the outcome to the waiting web process, unless the order's payment must be taken first."""
    if reservation.waits_for_its_payment:
        news.to_pay(reservation, reply_to=request.reply_to)
    elif request.reply_to and not (reservation.payment and reservation.status == Status.PAYING):
        news.reply(request.reply_to, request.id, reservation_body(reservation))


def row_of(request: HoldRequest, session: Session, news: Announcements) -> Reservation:
    """Return the request's row, not decided yet."""
    reservation = new_row(
        Reservation,
        id=request.id,
        session_id=session.pk,
        buyer=request.buyer,
        arrival=request.arrival,
        seats=list(request.seats),
        ticket_type_id=request.ticket_type,
        quantity=request.places,
        best_available=request.best_available,
        scope=request.scope,
        key=request.key,
        fingerprint=request.fingerprint,
        lane=request.lane,
        origin=request.caps.origin,
        cause=request.cause,
        payment=request.payment and request.payment.to_json(),
        receipt=request.receipt and request.receipt.to_json(),
        accepted_at=request.accepted_at,
        settled_at=news.now,
        changed_at=news.now,
        lines=[],
        conflicts=[],
    )
    reservation.session = session
    reservation.changed_for = request.why
    return reservation


def _refusal(request: HoldRequest, batch: Batch) -> Ended:
    """Return why the request can't have anything, whatever is free; empty if it may."""
    first = batch.keys.get((request.buyer, request.scope, request.key)) if request.key else None
    if first is not None:
        return {**_rejected(refusals.Duplicate), "duplicate_of": first}
    if request.id in batch.cancelled:
        return {"status": Status.CANCELLED, "reason": refusals.Released.reason}
    kind = batch.stock.of(request.ticket_type) if request.asks_stock else None
    if refusal := _refusal_by_rules(kind, request, batch):
        return _rejected(refusal)
    if _holds_too_much(request, batch):
        return _rejected(refusals.TooManyHolds)
    return _refusal_of_terms(request, batch)


def _refusal_by_rules(kind: TicketType | None, request: HoldRequest, batch: Batch) -> type[Refused] | None:
    """Return the refusal by the rules of the session and the ticket type, in the order of admission."""
    session, now = batch.sessions[request.session], batch.news.now
    if refusal := rules.of_session(request, session, now):
        return refusal
    if kind:
        at_door = _is_paid_at_door(kind, request, batch)
        if refusal := rules.of_kind(request, session, kind, now, is_paid_at_door=at_door):
            return refusal
    passed = rules.limit_passed(
        request.places,
        has=batch.has[request.session, request.buyer],
        most=session.max_per_buyer,
        has_of_kind=batch.has[kind.pk, request.buyer] if kind else 0,
        most_of_kind=kind.max_per_buyer if kind else None,
    )
    return refusals.LimitReached if passed is not None else None


def _holds_too_much(request: HoldRequest, batch: Batch) -> bool:
    """Tell whether the buyer or the address would hold too much. See Note [What counts as held] in hold_caps.py."""
    caps = request.caps
    of_buyer = batch.held[request.buyer] + request.places
    of_address = batch.held[request.pot, caps.origin] + request.places
    return (0 < caps.buyer < of_buyer) or (0 < caps.address < of_address)


def _refusal_of_terms(request: HoldRequest, batch: Batch) -> Ended:
    if request.names_terms:
        try:
            batch.terms.judge(request, batch.sessions[request.session], now=batch.news.now)
        except REFUSALS as refused:
            return _rejected(type(refused))
    return {}


def _rejected(refusal: type[Refused]) -> Ended:
    return {"status": Status.REJECTED, "reason": refusal.reason}


def _take(request: HoldRequest, reservation: Reservation, batch: Batch) -> Ended:
    """Give the request what it asks for, all of it, or return why not."""
    session = batch.sessions[request.session]
    if request.seats:
        refusal = _take_seats(
            [batch.seats[session.pk].get(label) for label in request.seats], request.seats, reservation, batch
        )
    elif request.best_available:
        refusal = _take_best(request, reservation, batch)
    else:
        refusal = _take_stock(request, reservation, batch)
    if not refusal:
        if request.names_terms:
            batch.terms.put_on(reservation, request)
        elif pricing.has_charges(session):
            reservation.lines = pricing.priced(reservation.lines, session=session)
        if request.is_order and not reservation.payment:
            reservation.payment = _means_of(request, batch)
        until = begin_hold(reservation, batch.news.now)
        batch.ends.extend([until] * (len(batch.taken) - len(batch.ends)))
    return refusal


def begin_hold(reservation: Reservation, now: dt.datetime) -> dt.datetime:
    """Make the reservation a hold of its places, at the prices in its lines; return when it ends."""
    session = reservation.session
    reservation.status = Status.HELD
    reservation.held_at = now
    reservation.total = pricing.total_of(reservation.lines)
    if reservation.is_order and not reservation.total:
        reservation.payment = _means_of_nothing(reservation)
    # An order with a stored payment gets the longest hold, because it still has to wait for a payment worker.
    seconds = session.max_hold_seconds if reservation.payment else session.hold_seconds
    reservation.expires_at = now + dt.timedelta(seconds=seconds)
    return reservation.expires_at


def _means_of(request: HoldRequest, batch: Batch) -> dict[str, str] | None:
    """Return the means of an order that carries no payment: at the door, where its type allows that."""
    kind = batch.stock.of(request.ticket_type)
    if kind is None or not _is_paid_at_door(kind, request, batch):
        return None
    return {**Means(method=AT_THE_DOOR).to_json(), **(request.receipt.to_json() if request.receipt else {})}


def _is_paid_at_door(kind: TicketType, request: HoldRequest, batch: Batch) -> bool:
    session = batch.sessions[request.session]
    return kind.is_paid_at_door(session, now=batch.news.now, asked_at=request.accepted_at)


def _means_of_nothing(order: Reservation) -> dict[str, str]:
    """Return the means of an order that costs nothing: no payment, and no collecting at the door."""
    means: dict[str, str] | None = order.payment
    if means is None or means["method"] == AT_THE_DOOR:
        return {**FREE.to_json(), **(order.receipt or {}), **(means or {}), "method": FREE.method}
    return means


def _take_seats(seats: Sequence[Place | None], labels: Sequence[str], reservation: Reservation, batch: Batch) -> Ended:
    conflicts: list[Conflict] = [
        {"seat": label, "reason": REASONS[SeatStatus(seat.status)] if seat else "blocked"}
        for label, seat in zip(labels, seats, strict=True)
        if seat is None or seat.status != SeatStatus.FREE
    ]
    if conflicts:
        return {**_rejected(refusals.SeatsUnavailable), "conflicts": conflicts}
    for seat in seats:
        assert seat is not None
        seat.status, seat.reservation_id = SeatStatus.HELD, reservation.pk
        batch.taken.append(seat)
        reservation.lines.append(line_of(batch.stock.types[seat.ticket_type_id], reservation.session, seat.label))
    if reservation.session_id in batch.free:
        batch.free[reservation.session_id].take(labels)
    return {}


def _take_best(request: HoldRequest, reservation: Reservation, batch: Batch) -> Ended:
    """Take the best seats.

    Seats that were read as free stay free, because the session's row is locked. Writing the chosen seats locks them.
    """
    session = reservation.session
    if session.pk not in batch.free:
        batch.free[session.pk] = _free_seats(session, batch)
    labels = batch.free[session.pk].choose(
        quantity=request.quantity, accessible=request.accessible, ticket_type=request.ticket_type
    )
    if not labels:
        return _rejected(refusals.SoldOut)
    plan, seats = _hall_plan(session.pk, session.plan_version), batch.seats.setdefault(session.pk, {})
    for label in set(labels) - seats.keys():
        seats[label] = Place(plan[label].pk, session.pk, label, SeatStatus.FREE, plan[label].ticket_type)
    reservation.seats = labels
    return _take_seats([seats[label] for label in labels], labels, reservation, batch)


def _free_seats(session: Session, batch: Batch) -> FreeSeats:
    seats = FreeSeats(_hall_plan(session.pk, session.plan_version), statements.free_labels(session.pk))
    seats.take(seat.label for seat in batch.taken if seat.session_id == session.pk)
    return seats


@lru_cache(maxsize=64)
def _hall_plan(session: uuid.UUID, plan_version: int) -> HallPlan:
    """Read the plan once: chairs stay where they are until the plan has a new version."""
    columns = ("label", "section", "row", "x", "y", "kind", "ticket_type_id", "pk")
    return HallPlan(starmap(SeatOnPlan, Seat.objects.of(session).order_by("position").values_list(*columns)))


def _take_stock(request: HoldRequest, reservation: Reservation, batch: Batch) -> Ended:
    kind = batch.stock.of(request.ticket_type)
    if kind is None:
        return _rejected(refusals.SoldOut)
    if batch.stood_by_for.has(kind.pk) or not batch.stock.take(kind, request.quantity):
        if not standby.may_stand_by(request, reservation.session, kind):
            return _rejected(refusals.SoldOut)
        batch.stood_by_for.add(kind.pk)
        return {"status": Status.QUEUED}
    reservation.lines = [line_of(kind, reservation.session, None) for _place in range(request.quantity)]
    return {}


def line_of(kind: TicketType, session: Session, seat: str | None) -> Line:
    """Return a line item at the type's own price; `pricing` adds fees and takes off discounts."""
    return {
        "seat": seat,
        "ticket_type": str(kind.pk),
        "name": kind.name,
        "price": {"amount": kind.price, "currency": session.currency},
    }
