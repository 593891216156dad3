"""Decide who gets a seat: one transaction for a batch of requests.

Note [A key belongs to one request]
A buyer's idempotency key names one reservation that wasn't rejected. Redis may forget the key. Then allocation rejects
a second request with the key: its reason is `duplicate`, and `duplicate_of` names the first request.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import msgspec
from django.db.models import Q, QuerySet

from reservations import refusals
from reservations.allocation import decision, endings, locks, standby, statements
from reservations.allocation.announcements import Announcements
from reservations.allocation.decision import Batch
from reservations.allocation.past import Past, read
from reservations.allocation.standby import Wanted
from reservations.allocation.statements import Place, lock_places
from reservations.allocation.terms import Terms
from reservations.claims import pace
from reservations.hold_request import HoldRequest
from reservations.models import Reservation, Status
from reservations.queueing import turns
from sessions_app.models import SeatStatus, Session


class ByWayOfTheInbox(Exception):
    """New requests of these `sessions` are allocated from the inbox only; nothing of the batch was written.

    Note [By way of the inbox]
    A session has a rate or lanes, or requests of it still wait in the inbox. Then the worker stores requests from
    RabbitMQ behind those in the inbox, and allocates only from there. So a rule that is set or dropped in the middle of
    a sale lets no request overtake another.
    """

    def __init__(self, sessions: Collection[uuid.UUID]) -> None:
        super().__init__(", ".join(map(str, sessions)))
        self.sessions = frozenset(sessions)


def allocate_batch(requests: Sequence[HoldRequest], *, from_inbox: bool = False) -> Announcements:
    """Decide all requests and write the outcome.

    Requests are decided in order of arrival; those from the inbox in the order that they are given in. Requests that
    were allocated before only have their outcome sent again. Runs in the caller's transaction.

    Raises: ByWayOfTheInbox; pace.NotDue.
    """
    requests = sorted(
        {request.id: request for request in requests}.values(),
        key=lambda request: (request.session, 0 if from_inbox else request.arrival),
    )
    buyers = {request.buyer for request in requests}
    sessions = locks.lock_sessions((request.session for request in requests), people=buyers)
    past = read(requests, from_inbox=from_inbox)
    if past.joined:
        gave_up, requests = past.cancelled, as_accounts(requests, past.joined)
        past = read(requests, from_inbox=from_inbox)
        past.cancelled.update(gave_up)
    news = Announcements(now=past.now)
    new = _tell_the_allocated(requests, past, news)
    if not from_inbox:
        _require_plain({request.session: sessions[request.session] for request in new}, past)
    pace.spend(sessions, [request.session for request in new])
    turns.note(new, sessions, past.lanes)
    batch = _open(new, sessions, past, news)
    for request in new:
        decision.decide(request, batch)
    _write(batch, requests)
    return news


def as_accounts(requests: Sequence[HoldRequest], joined: Mapping[uuid.UUID, uuid.UUID]) -> list[HoldRequest]:
    """Return the requests, with the account as buyer where a guest has become an account meanwhile."""
    return [msgspec.structs.replace(one, buyer=joined[one.buyer]) if one.buyer in joined else one for one in requests]


def _require_plain(sessions: Mapping[uuid.UUID, Session], past: Past) -> None:
    """Require that these sessions need no inbox. Raises: ByWayOfTheInbox."""
    parked = [
        identity
        for identity, session in sessions.items()
        if session.settle_rate is not None or identity in past.lanes or identity in past.in_inbox
    ]
    if parked:
        raise ByWayOfTheInbox(parked)


def _tell_the_allocated(requests: Sequence[HoldRequest], past: Past, news: Announcements) -> list[HoldRequest]:
    """Return the new requests, and send the outcome of those that were allocated before."""
    if not past.allocated:
        return list(requests)
    allocated = Reservation.objects.select_related("session").in_bulk(past.allocated)
    for request in requests:
        if request.id in allocated:
            decision.reply(request, allocated[request.id], news)
    return [request for request in requests if request.id not in past.allocated]


def _open(
    requests: Sequence[HoldRequest], sessions: dict[uuid.UUID, Session], past: Past, news: Announcements
) -> Batch:
    wanted: dict[uuid.UUID, set[str]] = defaultdict(set)
    for request in requests:
        wanted[request.session].update(request.seats)
    seats = {session: lock_places(session, wanted[session]) for session in sorted(wanted) if wanted[session]}
    for session in sorted(past.ran_out):
        asked = [request for request in requests if request.session == session]
        _expire_in_the_way(sessions[session], asked, seats.get(session, {}), past.overdue.get(session, set()), news)
    stock = locks.lock_stock(sessions)
    return Batch(
        sessions=sessions,
        news=news,
        seats=seats,
        stock=stock,
        stood_by_for=Wanted.of(standby.waited_for(sessions) if stock.draws else (), stock.draws),
        terms=Terms.of(
            requests, vouchers=locks.lock_vouchers({request.voucher for request in requests if request.voucher})
        ),
        has=past.has,
        held=past.held,
        cancelled=past.cancelled,
        keys=past.keys,  # see Note [A key belongs to one request]
    )


def _expire_in_the_way(
    session: Session, requests: Sequence[HoldRequest], seats: dict[str, Place], own: set[uuid.UUID], news: Announcements
) -> None:
    """End the expired holds that are in the way of these requests, swept or not; leave the rest to the sweep.

    These holds are in the way:
    - a hold of a wanted seat
    - a hold of the buyers themselves (`own`), because it counts for their limit
    - as many holds of a stock as places are asked of it
    - every hold of seats, where the best seats are asked for
    - a hold with a voucher that is asked for
    """
    over = endings.ran_out(session, news.now)
    named = Q(pk__in=own | {place.reservation_id for place in seats.values() if place.was_held_until(news.now)})
    if any(request.best_available for request in requests):
        named |= ~Q(seats=[])
    if codes := {request.voucher for request in requests if request.voucher}:
        named |= Q(voucher__code__in=codes)
    ended = endings.expire(over.filter(named), session, news)
    _expire_in_the_way_of_stock(over, session, requests, news)
    freed = {label for reservation in ended for label in reservation.seats}
    for label in freed & seats.keys():
        seats[label].status = SeatStatus.FREE


def _expire_in_the_way_of_stock(
    over: QuerySet[Reservation], session: Session, requests: Sequence[HoldRequest], news: Announcements
) -> None:
    """End as many expired holds of each level as places are asked of it: all types of a pool share its places."""
    draws = statements.draws(session=session.pk) if any(request.asks_stock for request in requests) else {}
    places: Counter[uuid.UUID] = Counter()
    for request in requests:
        if request.asks_stock and request.ticket_type in draws:
            for level in (request.ticket_type, *draws[request.ticket_type]):
                places[level] += request.quantity
    for level, number in sorted(places.items()):
        drawing = [kind for kind, pools in draws.items() if level in {kind, *pools}]
        endings.expire(over.filter(ticket_type__in=drawing, seats=[])[:number], session, news)


def _write(batch: Batch, requests: Sequence[HoldRequest]) -> None:
    statements.write(batch.decided, batch.taken, batch.ends, requests)
    batch.stock.write(batch.news)
    for request, reservation in batch.standing_by:  # their place on standby is known now
        decision.reply(request, reservation, batch.news)
    by_session: dict[uuid.UUID, dict[str, SeatStatus]] = defaultdict(dict)
    for seat in batch.taken:
        by_session[seat.session_id][seat.label] = SeatStatus.HELD
    for identity, changes in by_session.items():
        theirs = [row for row in batch.decided if row.session_id == identity and row.status == Status.HELD]
        batch.news.seats(batch.sessions[identity], "seat.held", changes, of=theirs)
    for reservation in batch.decided:
        batch.news.arrived(batch.sessions[reservation.session_id], reservation.arrival)


def refuse(request: HoldRequest, session: Session, news: Announcements, *, reason: str) -> Reservation:
    """Write a request down as ended without any places. The session is locked."""
    reservation = decision.row_of(request, session, news)
    reservation.status = Status.CANCELLED if reason == refusals.Released.reason else Status.REJECTED
    reservation.reason = reason
    reservation.save(force_insert=True)
    news.reservation(reservation, f"reservation.{reservation.status}")
    return reservation
