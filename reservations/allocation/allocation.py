"""Who gets a seat. Seats, stock and reservations are locked from here only: by its functions, or by the statements in `statements.py`.

One place elsewhere locks the session's row, the first in the order: `sessions_app.operations.cancel_session`, which stands below this app.

Note [Why the session row is locked first]
Every change of a session's seats, stock or reservations locks the session's row first (FOR NO KEY UPDATE, sessions by id),
then reservations, then seats, then ticket types, then pools, then vouchers, each by id. One
fixed order, so no deadlock; one holder of the row, so what is read after it is
true until the commit, and map versions count up without a gap. What writes reservations for a buyer locks that person before the
session: see Note [The lock of a person] in people.py.

Note [A key belongs to one request]
A buyer's idempotency key names one reservation that wasn't rejected. Redis may forget; then a second request with the key is
settled as `rejected`, reason `duplicate`, and `duplicate_of` names the first.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
from django.db import connection
from django.db.models import Q, QuerySet, Sum

from base import causes
from base.causes import Cause
from base.clock import db_now
from base.ids import uuid7
from base.rows import new_row
from reservations.allocation import decision, pricing, standby, statements
from reservations.allocation.announcements import Announcements
from reservations.allocation.decision import Batch
from reservations.allocation.standby import Wanted
from reservations.allocation.statements import Past, Place, lock_places
from reservations.allocation.stock import Stock
from reservations.allocation.terms import Terms, Uses, concessions_of
from reservations.claims import pace
from reservations.hold_request import HoldRequest
from reservations.models import LIVE, Reservation, Status, Voucher
from reservations.queueing import turns
from sessions_app.models import Seat, SeatStatus, Session, TicketType


class ByWayOfTheInbox(Exception):
    """New requests of these `sessions` are settled from the inbox only; nothing of the batch was written.

    Note [By way of the inbox]
    A session has a rate or lanes, or something of it waits in the inbox still: then what RabbitMQ brings is stored behind that, and only what
    stands there is settled. So a rule that is set or dropped in the middle of a sale lets nobody overtake.
    """

    def __init__(self, sessions: Collection[uuid.UUID]) -> None:
        super().__init__(", ".join(map(str, sessions)))
        self.sessions = frozenset(sessions)


class CannotMove(Exception):
    """`conflicts`: seat → why: held, sold, blocked, price (another one), unknown, not_theirs, uneven (more or fewer than it leaves)."""

    def __init__(self, conflicts: dict[str, str]) -> None:
        super().__init__(str(conflicts))
        self.conflicts = conflicts


@dataclasses.dataclass(frozen=True, slots=True)
class Locked:
    """A reservation nobody else can change until the commit; `now` was read after the lock."""

    reservation: Reservation
    session: Session
    now: dt.datetime
    news: Announcements


def lock_sessions(sessions: Iterable[uuid.UUID], *, people: Iterable[uuid.UUID] = ()) -> dict[uuid.UUID, Session]:
    """`people`: those for whom reservations will be written. See Note [The lock of a person] in people.py."""
    return {row.pk: row for row in statements.lock_sessions(set(sessions), people=people)}


def lock_reservation(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> Locked:
    """`buyer` None: anybody's (staff, sweeps). Raises: Reservation.DoesNotExist."""
    owned = Reservation.objects.filter(pk=reservation_id)
    session_id = (owned.filter(buyer=buyer) if buyer else owned).values_list("session_id", flat=True).get()
    session = lock_sessions([session_id])[session_id]
    reservation = Reservation.objects.select_for_update(no_key=True, of=("self",)).get(pk=reservation_id)
    reservation.session = session
    now = db_now()
    return Locked(reservation, session, now, Announcements(now=now))


def lock_reservations(reservation_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Locked]:
    """Several at once, of any sessions; they share `news` and `now`. Those that don't exist are left out."""
    sessions = lock_sessions(
        Reservation.objects.filter(pk__in=reservation_ids).order_by().values_list("session_id", flat=True).distinct()
    )
    rows = Reservation.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=reservation_ids)
    reservations = list(rows.order_by("pk"))
    now = db_now()
    news = Announcements(now=now)
    for reservation in reservations:
        reservation.session = sessions[reservation.session_id]
    return {row.pk: Locked(row, row.session, now, news) for row in reservations}


def lock_seats(session: uuid.UUID, labels: Collection[str]) -> dict[str, Seat]:
    rows = Seat.objects.of(session).filter(label__in=labels).select_for_update(no_key=True).order_by("pk")
    return {seat.label: seat for seat in rows}


def lock_stock(sessions: Collection[uuid.UUID], *, all_pools: bool = False) -> Stock:
    """The ticket types and pools of sessions that are locked; pools that nobody draws on only if asked for."""
    types, draws = statements.lock_types(sessions)
    pools = statements.lock_pools(sessions) if all_pools or any(draws.values()) else []
    return Stock(types={row.pk: row for row in types}, pools={row.pk: row for row in pools}, draws=draws)


def lock_vouchers(codes: Collection[str]) -> dict[str, Voucher]:
    """By code, those that there are; the last to be locked, since one may be for all sessions."""
    if not codes:
        return {}
    rows = Voucher.objects.filter(code__in=codes).select_for_update(no_key=True).order_by("pk")
    return {voucher.code: voucher for voucher in rows}


def lock_shard(shard: int) -> None:
    """Until the commit nobody else drains the shard's inbox."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('frontrow.shard'), %s)", [shard])


# --- Settling


def settle_batch(requests: Sequence[HoldRequest], *, from_inbox: bool = False) -> Announcements:
    """Decide all requests in order of arrival, those from the inbox in the order that they are given in, and write the outcome.

    Whatever was settled before is only told again. Runs in the caller's transaction. Raises: ByWayOfTheInbox; pace.NotDue.
    """
    requests = sorted(
        {request.id: request for request in requests}.values(),
        key=lambda request: (request.session, 0 if from_inbox else request.arrival),
    )
    buyers = {request.buyer for request in requests}
    sessions = lock_sessions((request.session for request in requests), people=buyers)
    past = statements.read(requests, from_inbox=from_inbox)
    if past.joined:
        gave_up, requests = past.cancelled, as_accounts(requests, past.joined)
        past = statements.read(requests, from_inbox=from_inbox)
        past.cancelled.update(gave_up)
    news = Announcements(now=past.now)
    new = _tell_the_settled(requests, past, news)
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
    """Those of guests who became accounts meanwhile are the accounts' own."""
    return [msgspec.structs.replace(one, buyer=joined[one.buyer]) if one.buyer in joined else one for one in requests]


def _require_plain(sessions: Mapping[uuid.UUID, Session], past: Past) -> None:
    """Raises: ByWayOfTheInbox."""
    parked = [
        identity
        for identity, session in sessions.items()
        if session.settle_rate is not None or identity in past.lanes or identity in past.in_inbox
    ]
    if parked:
        raise ByWayOfTheInbox(parked)


def _tell_the_settled(requests: Sequence[HoldRequest], past: Past, news: Announcements) -> list[HoldRequest]:
    """The requests that are new; the others' waiters hear what became of them."""
    if not past.settled:
        return list(requests)
    settled = Reservation.objects.select_related("session").in_bulk(past.settled)
    for request in requests:
        if request.id in settled:
            decision.reply(request, settled[request.id], news)
    return [request for request in requests if request.id not in past.settled]


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
    stock = lock_stock(sessions)
    return Batch(
        sessions=sessions,
        news=news,
        seats=seats,
        stock=stock,
        stood_by_for=Wanted.of(standby.waited_for(sessions) if stock.draws else (), stock.draws),
        terms=Terms.of(requests, vouchers=lock_vouchers({request.voucher for request in requests if request.voucher})),
        has=past.has,
        held=past.held,
        cancelled=past.cancelled,
        keys=past.keys,  # see Note [A key belongs to one request]
    )


def _expire_in_the_way(
    session: Session, requests: Sequence[HoldRequest], seats: dict[str, Place], own: set[uuid.UUID], news: Announcements
) -> None:
    """A hold that ran out is no obstacle, swept or not: end those in the way of these requests, and leave the rest to the sweep.

    In the way are a wanted seat's, the buyers' `own` (they count for the limit), of a stock as many as are asked for, all that have
    seats where the best are asked for, and those that carry a voucher that is asked for.
    """
    over = _ran_out(session, news.now)
    named = Q(pk__in=own | {place.reservation_id for place in seats.values() if place.was_held_until(news.now)})
    if any(request.best_available for request in requests):
        named |= ~Q(seats=[])
    if codes := {request.voucher for request in requests if request.voucher}:
        named |= Q(voucher__code__in=codes)
    ended = _expire(over.filter(named), session, news)
    _expire_in_the_way_of_stock(over, session, requests, news)
    freed = {label for reservation in ended for label in reservation.seats}
    for label in freed & seats.keys():
        seats[label].status = SeatStatus.FREE


def _expire_in_the_way_of_stock(
    over: QuerySet[Reservation], session: Session, requests: Sequence[HoldRequest], news: Announcements
) -> None:
    """Of each counter that places are asked of, as many holds as places: whoever draws on the same pool may have them."""
    draws = statements.draws(session=session.pk) if any(request.asks_stock for request in requests) else {}
    places: Counter[uuid.UUID] = Counter()
    for request in requests:
        if request.asks_stock and request.ticket_type in draws:
            for counter in (request.ticket_type, *draws[request.ticket_type]):
                places[counter] += request.quantity
    for counter, number in sorted(places.items()):
        drawing = [kind for kind, pools in draws.items() if counter in {kind, *pools}]
        _expire(over.filter(ticket_type__in=drawing, seats=[])[:number], session, news)


def _write(batch: Batch, requests: Sequence[HoldRequest]) -> None:
    statements.write(batch.decided, batch.taken, batch.ends, requests)
    batch.stock.write(batch.news)
    for request, reservation in batch.standing_by:  # their places are known now
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
    """Write a request down as ended without anything, whatever it asked for. The session is locked."""
    reservation = decision.row_of(request, session, news)
    reservation.status = Status.CANCELLED if reason == "released" else Status.REJECTED
    reservation.reason = reason
    reservation.save(force_insert=True)
    news.reservation(reservation, f"reservation.{reservation.status}")
    return reservation


# --- What becomes of a reservation


def expire_in(session: Session, news: Announcements, *, limit: int) -> int:
    """End the session's holds that ran out, at most `limit` of them, and free all they held; how many. The session is locked."""
    return len(_expire(_ran_out(session, news.now)[:limit], session, news))


def end_holds_in(session: Session, news: Announcements, *, limit: int) -> int:
    """End the session's holds, whether they ran out or not: it was called off. How many; the session is locked."""
    holds = Reservation.objects.filter(session=session, status=Status.HELD).order_by("expires_at")[:limit]
    return len(_end_all(holds, Status.CANCELLED, "session_cancelled", session, news))


def _ran_out(session: Session, now: dt.datetime) -> QuerySet[Reservation]:
    return Reservation.objects.filter(session=session, status=Status.HELD, expires_at__lte=now).order_by("expires_at")


def _expire(holds: QuerySet[Reservation], session: Session, news: Announcements) -> list[Reservation]:
    return _end_all(holds, Status.EXPIRED, "expired", session, news)


def free(locked: Locked, *, status: Status, reason: str) -> None:
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
    """`why`: what sets it off, where the caller works for nothing in particular. The end of its time ends a hold, whoever notices."""
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
    """So many of each ticket type. The session is locked."""
    if not places:
        return
    stock = lock_stock([session.pk])
    for kind, number in places.items():
        stock.give_back(kind, number)
    standby.serve(session, stock, news, _hold_for)
    stock.write(news)


def _hold_for(order: Reservation, kind: TicketType, now: dt.datetime) -> None:
    """It stood by, and its places are taken."""
    order.lines = [decision.line_of(kind, order.session, None) for _place in range(order.quantity)]
    if pricing.has_charges(order.session):
        order.lines = pricing.priced(order.lines, session=order.session)
    decision.begin_hold(order, now)


def leave_standby(locked: Locked, *, reason: str) -> None:
    """It waits no longer; whoever stood behind it may get what it was too large for."""
    standby.end([locked.reservation], locked.session, locked.news, status=Status.CANCELLED, reason=reason)
    stock = lock_stock([locked.session.pk])
    standby.serve(locked.session, stock, locked.news, _hold_for)
    stock.write(locked.news)


def serve_standby(session: Session, news: Announcements) -> int:
    """End those whose sale is over, a chunk of them, and pass on what is free; how many were ended. The session is locked."""
    ended = standby.end_some(session, news)
    stock = lock_stock([session.pk])
    standby.serve(session, stock, news, _hold_for)
    stock.write(news)
    return ended


def prolong(locked: Locked, *, until: dt.datetime) -> None:
    """A hold goes on until then."""
    reservation = locked.reservation
    reservation.expires_at = until
    reservation.extensions += 1
    _save(locked, "expires_at", "extensions")
    _seats_of(reservation).update(held_until=until)
    locked.news.reservation(reservation, "reservation.extended")


def pin(several: Sequence[Locked], *, until: dt.datetime) -> None:
    """While they are being paid nothing expires them before `until`; their holds' own ends stay noted."""
    if not several:
        return
    for locked in several:
        locked.reservation.status, locked.reservation.pinned_until = Status.PAYING, until
        locked.reservation.changed_at = locked.now
        locked.news.reservation(locked.reservation)
    statements.pin([locked.reservation for locked in several], until=until, at=several[0].now)


def unpin(locked: Locked) -> None:
    """Paying failed: the hold goes on while it lasts, or ends now."""
    reservation = locked.reservation
    reservation.status, reservation.pinned_until = Status.HELD, None
    if reservation.is_over_at(locked.now):
        free(locked, status=Status.EXPIRED, reason="expired")
        return
    _save(locked, "status", "pinned_until")
    _seats_of(reservation).update(held_until=reservation.expires_at)
    locked.news.reservation(reservation)


def sell(
    sales: Sequence[tuple[Locked, uuid.UUID]], *, due: Collection[uuid.UUID] = ()
) -> dict[uuid.UUID, dict[str, int]]:
    """They are paid for, or those of the sales that are `due` will be at the door: their seats are sold, for good.

    The seats' keys, for their tickets, by reservation and label.
    """
    if not sales:
        return {}
    for locked, sale in sales:
        reservation = locked.reservation
        reservation.status, reservation.sale_id, reservation.pinned_until = Status.CONFIRMED, sale, None
        reservation.changed_at = locked.now
        reservation.due = sale in due
    seats = statements.sell([locked.reservation for locked, _sale in sales], at=sales[0][0].now)
    changes: dict[uuid.UUID, dict[str, SeatStatus]] = defaultdict(dict)
    for locked, _sale in sales:
        changes[locked.session.pk] |= dict.fromkeys(seats[locked.reservation.pk], SeatStatus.SOLD)
    for session in {locked.session.pk: locked.session for locked, _sale in sales}.values():
        theirs = [locked.reservation for locked, _sale in sales if locked.session.pk == session.pk]
        sales[0][0].news.seats(session, "seat.sold", changes[session.pk], of=theirs)
    for locked, _sale in sales:
        locked.news.reservation(locked.reservation, "reservation.confirmed")
    return seats


def sell_again(lost: Locked, *, sale: uuid.UUID) -> tuple[Reservation, dict[str, int]] | None:
    """Its money came after it had ended: the same places for the same buyer as a reservation of its own, or nothing at all."""
    session, before, news = lost.session, lost.reservation, lost.news
    if session.is_closed_at(lost.now) or not before.lines:
        return None
    seats = lock_seats(session.pk, before.seats)
    _expire_holders(session, seats.values(), news)
    if _places_of(_live_of(before, news)) + before.quantity > session.max_per_buyer:
        return None
    if any(seat.status != SeatStatus.FREE for seat in seats.values()) or len(seats) < len(before.seats):
        return None
    if before.voucher_id is not None and not _has_a_use_left(before):
        return None
    if before.has_stock and not _take_stock_again(before, news):
        return None
    again = new_row(
        Reservation,
        id=uuid7(),
        session_id=session.pk,
        buyer=before.buyer,
        status=Status.CONFIRMED,
        arrival=before.arrival,
        seats=list(before.seats),
        ticket_type_id=before.ticket_type_id,
        quantity=before.quantity,
        lines=list(before.lines),
        total=before.total,
        voucher_id=before.voucher_id,
        conflicts=[],
        sale_id=sale,
        scope=before.scope,
        lane=before.lane,
        cause=before.why.id,
        accepted_at=lost.now,
        settled_at=lost.now,
        changed_at=lost.now,
    )
    again.session, again.changed_for = session, before.changed_for
    again.save(force_insert=True)
    Seat.objects.filter(pk__in=[seat.pk for seat in seats.values()]).update(
        status=SeatStatus.SOLD, reservation_id=again.pk
    )
    news.seats(session, "seat.sold", dict.fromkeys(seats, SeatStatus.SOLD), gained=-len(seats), of=[again])
    news.reservation(again, "reservation.confirmed")
    return again, {label: seat.pk for label, seat in seats.items()}


def _expire_holders(session: Session, seats: Collection[Seat], news: Announcements) -> None:
    """Holds of these seats that ran out are no obstacle, swept or not."""
    over = [
        seat.reservation_id
        for seat in seats
        if seat.reservation_id is not None and seat.held_until is not None and seat.held_until <= news.now
    ]
    ended = _expire(_ran_out(session, news.now).filter(pk__in=over), session, news) if over else []
    freed = {label for reservation in ended for label in reservation.seats}
    for seat in seats:
        if seat.label in freed:
            seat.status = SeatStatus.FREE


def _has_a_use_left(before: Reservation) -> bool:
    """Of the voucher that it carried, and that came back when it ended."""
    assert before.voucher is not None
    (voucher,) = lock_vouchers([before.voucher.code]).values()
    try:
        Uses.of([voucher], buyers=[before.buyer]).require_one_left(voucher, before.buyer)
    except pricing.VoucherUsedUp:
        return False
    return True


def _take_stock_again(before: Reservation, news: Announcements) -> bool:
    """Unless by the type's own rules nobody could have them now."""
    stock = lock_stock([before.session_id])
    kind = stock.of(before.ticket_type_id)
    if kind is None or kind.is_closed_at(news.now):
        return False
    if kind.max_per_buyer:
        owned = _live_of(before, news).filter(ticket_type=kind, seats=[])
        if _places_of(owned) + before.quantity > kind.max_per_buyer:
            return False
    if Wanted.of(standby.waited_for([before.session_id]), stock.draws).has(kind.pk):
        return False  # what is free is for those who stand by
    if not stock.take(kind, before.quantity):
        return False
    stock.write(news)
    return True


def _live_of(before: Reservation, news: Announcements) -> QuerySet[Reservation]:
    """What its buyer has in its session."""
    owned = Reservation.objects.filter(session=before.session_id, buyer=before.buyer, status__in=LIVE)
    return owned.exclude(status=Status.HELD, expires_at__lte=news.now)


def _places_of(reservations: QuerySet[Reservation]) -> int:
    places: int = reservations.aggregate(places=Sum("quantity", default=0))["places"]
    return places


def lock_places_of(locked: Locked) -> None:
    """Lock what the reservation has, in the order of the Note above, before its sale and tickets are locked."""
    if locked.reservation.seats:
        lock_seats(locked.session.pk, locked.reservation.seats)
    elif locked.reservation.has_stock:
        lock_stock([locked.session.pk])


def take_back(locked: Locked, *, seats: Collection[str], kinds: Sequence[pricing.Kind]) -> None:
    """Somebody gave bought places back: numbered ones by their `seats`, others by what they were. They are on sale again."""
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
    _save(locked, "seats", "quantity", "lines")
    news.reservation(reservation)


def move(locked: Locked, seats: Sequence[str], to: Sequence[str]) -> list[tuple[Seat, Seat]]:
    """Give the reservation other free seats for some of its own, one for one and each for what it cost; each old with its new.

    Raises: CannotMove.
    """
    reservation, session = locked.reservation, locked.session
    rows = lock_seats(session.pk, {*seats, *to})
    types = {kind.pk: kind for kind in TicketType.objects.filter(session=session.pk)}
    lines = {line["seat"]: line for line in reservation.lines}
    conflicts = _conflicts_of_move(reservation, seats, to, rows)
    if conflicts:
        raise CannotMove(conflicts)
    left = {label: types[rows[label].ticket_type_id] for label in to}
    pairs = []
    for label in seats:
        found = _for_the_same(lines[label], left)
        if found is None:
            raise CannotMove(dict.fromkeys(left, "price"))
        del left[found]
        pairs.append((rows[label], rows[found]))
    for old, new in pairs:
        new.status, new.reservation_id, new.held_until = old.status, old.reservation_id, old.held_until
        old.status, old.reservation_id, old.held_until = SeatStatus.FREE, None, None
        kind = types[new.ticket_type_id]
        lines[old.label] |= {"seat": new.label, "ticket_type": str(kind.pk), "name": kind.name}
    Seat.objects.bulk_update(itertools.chain(*pairs), ["status", "reservation_id", "held_until"])
    reservation.seats = [line["seat"] for line in reservation.lines]
    _save(locked, "seats", "lines")
    changes = {seat.label: SeatStatus(seat.status) for seat in itertools.chain(*pairs)}
    locked.news.seats(session, "seat.moved", changes, gained=0, of=[reservation])
    locked.news.moved(reservation, before=[old.label for old, _new in pairs], to=[new.label for _old, new in pairs])
    return pairs


def _conflicts_of_move(
    reservation: Reservation, seats: Sequence[str], to: Sequence[str], rows: dict[str, Seat]
) -> dict[str, str]:
    conflicts = {
        label: "not_theirs"
        for label in seats
        if label not in rows or rows[label].reservation_id != reservation.pk or seats.count(label) > 1
    }
    for label in to:
        if label not in rows:
            conflicts[label] = "unknown"
        elif rows[label].status != SeatStatus.FREE:
            conflicts[label] = decision.REASONS[SeatStatus(rows[label].status)]
    if not conflicts and (not seats or len(set(to)) != len(seats)):
        return dict.fromkeys(to or seats, "uneven")
    return conflicts


def _for_the_same(line: dict[str, Any], left: dict[str, TicketType]) -> str | None:
    """A seat of the line's own type, whatever that costs by now; else one of another type at the price it had, before what came off."""
    own = (label for label, kind in left.items() if str(kind.pk) == line["ticket_type"])
    alike = (label for label, kind in left.items() if kind.price == pricing.base_of(line))
    return next(itertools.chain(own, alike), None)


def reprice(locked: Locked, *, concessions: pricing.Choices | None, voucher: str | None) -> None:
    """What is held costs what it costs with these, and with the session's fees as they are now.

    None leaves what it has: a voucher that it carries is its own, whatever became of it since. No code at all takes it off.
    Raises: UnknownConcession, NotAmongTheSeats, WrongConcessionCount, VoucherRefused.
    """
    reservation, session = locked.reservation, locked.session
    known = concessions_of([session.pk])[session.pk]
    seats = [line["seat"] for line in reservation.lines]
    chosen = (
        pricing.kept(reservation.lines, known) if concessions is None else pricing.chosen(seats, concessions, known)
    )
    if voucher is not None:
        reservation.voucher = _usable(voucher, locked) if voucher else None
    reservation.lines = pricing.priced(
        reservation.lines, session=session, concessions=chosen, voucher=reservation.voucher
    )
    reservation.total = pricing.total_of(reservation.lines)
    _save(locked, "lines", "total", "voucher")
    locked.news.priced(reservation)


def _usable(code: str, locked: Locked) -> Voucher:
    """Locked, so that who comes next counts this use. Raises: VoucherRefused."""
    reservation = locked.reservation
    voucher = pricing.judge(
        lock_vouchers([code]).get(code), session=locked.session.pk, currency=reservation.currency, now=locked.now
    )
    Uses.of([voucher], buyers=[reservation.buyer], but=reservation.pk).require_one_left(voucher, reservation.buyer)
    return voucher


def _seats_of(reservation: Reservation) -> QuerySet[Seat]:
    """Those that are its own."""
    named = Seat.objects.of(reservation.session_id).filter(label__in=reservation.seats)
    return named.filter(reservation_id=reservation.pk)


def _save(locked: Locked, *fields: str) -> None:
    locked.reservation.changed_at = locked.now
    locked.reservation.save(update_fields=[*fields, "changed_at"])


# --- What staff does to stock


def change_stock(
    session: Session,
    news: Announcements,
    *,
    kind: uuid.UUID,
    capacity: int,
    pools: Collection[uuid.UUID],
) -> None:
    """So many places has a ticket type from now on, and these pools it draws on. The session is locked. Raises: FewerThanTaken."""
    stock = lock_stock([session.pk], all_pools=True)
    row = stock.types[kind]
    stock.resize(row, capacity)
    row.save(update_fields=["capacity", "available", "stock_version"])
    stock.redraw(row, pools)
    row.pools.set(stock.pools[pool] for pool in pools)
    standby.serve(session, stock, news, _hold_for)
    stock.write(news)


def change_pool(session: Session, news: Announcements, *, pool: uuid.UUID, capacity: int) -> None:
    """The session is locked. Raises: FewerThanTaken."""
    stock = lock_stock([session.pk], all_pools=True)
    row = stock.pools[pool]
    stock.resize(row, capacity)
    row.save(update_fields=["capacity", "available", "version"])
    standby.serve(session, stock, news, _hold_for)
    stock.write(news)


# --- What staff does to seats


def block(session: Session, labels: Collection[str], news: Announcements) -> list[str]:
    """Take free seats off sale; the labels of those that were free."""
    free_now = [seat for seat in lock_seats(session.pk, labels).values() if seat.status == SeatStatus.FREE]
    return _mark(session, free_now, SeatStatus.BLOCKED, "seat.blocked", news)


def unblock(session: Session, labels: Collection[str], news: Announcements) -> list[str]:
    blocked = [seat for seat in lock_seats(session.pk, labels).values() if seat.status == SeatStatus.BLOCKED]
    return _mark(session, blocked, SeatStatus.FREE, "seat.unblocked", news)


def _mark(session: Session, seats: Sequence[Seat], status: SeatStatus, event: str, news: Announcements) -> list[str]:
    Seat.objects.filter(pk__in=[seat.pk for seat in seats]).update(status=status)
    news.seats(session, event, dict.fromkeys([seat.label for seat in seats], status))
    return [seat.label for seat in seats]


def change_buyer(*, of: uuid.UUID, to: uuid.UUID) -> list[tuple[uuid.UUID, uuid.UUID | None]]:
    """A guest became an account: what the guest asked for, holds and bought is the account's, and so are the guest's keys.

    Of what is live, each session and the type of places without a number. The guest is locked (see people.py).
    """
    owned = Reservation.objects.filter(buyer=of).order_by()
    lock_sessions(owned.values_list("session_id", flat=True).distinct())
    return statements.change_buyer(of=of, to=to)


def no_longer_due(locked: Locked) -> None:
    """Its money was collected at the door: it doesn't count as held any more."""
    locked.reservation.due = False
    _save(locked, "due")
    locked.news.reservation(locked.reservation)
    Reservation.objects.filter(pk=locked.reservation.pk).update(origin="")  # told with it, kept without
