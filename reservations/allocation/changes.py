"""Change a reservation that stays: extend, pin, sell, move or reprice it, or change its buyer."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence

from django.db.models import QuerySet, Sum

from base.ids import uuid7
from base.rows import new_row
from reservations import refusals, rules
from reservations.allocation import decision, endings, locks, pricing, standby, statements
from reservations.allocation.announcements import Announcements
from reservations.allocation.standby import Wanted
from reservations.allocation.terms import Uses, concessions_of
from reservations.bodies import Line
from reservations.models import Reservation, Status, Voucher
from reservations.refusals import VoucherUsedUp
from sessions_app.models import Seat, SeatStatus, TicketType


class CannotMove(Exception):
    """The move is impossible: `conflicts` gives the reason for each seat.

    Reasons: held, sold, blocked, price (another price), unknown, not_theirs, uneven (more or fewer seats than it
    leaves).
    """

    def __init__(self, conflicts: dict[str, str]) -> None:
        super().__init__(str(conflicts))
        self.conflicts = conflicts


def prolong(locked: locks.Locked, *, until: dt.datetime) -> None:
    """Extend a hold until then."""
    reservation = locked.reservation
    reservation.expires_at = until
    reservation.extensions += 1
    locks.save(locked, "expires_at", "extensions")
    locks.seats_of(reservation).update(held_until=until)
    locked.news.reservation(reservation, "reservation.extended")


def pin(several: Sequence[locks.Locked], *, until: dt.datetime) -> None:
    """Keep these holds from expiring before `until` while they are being paid; their own ends stay noted."""
    if not several:
        return
    for locked in several:
        locked.reservation.status, locked.reservation.pinned_until = Status.PAYING, until
        locked.reservation.changed_at = locked.now
        locked.news.reservation(locked.reservation)
    statements.pin([locked.reservation for locked in several], until=until, at=several[0].now)


def unpin(locked: locks.Locked) -> None:
    """Return to the hold after a failed payment, or end it if its time is over."""
    reservation = locked.reservation
    reservation.status, reservation.pinned_until = Status.HELD, None
    if reservation.is_over_at(locked.now):
        endings.free(locked, status=Status.EXPIRED, reason=refusals.ReservationExpired.reason)
        return
    locks.save(locked, "status", "pinned_until")
    locks.seats_of(reservation).update(held_until=reservation.expires_at)
    locked.news.reservation(reservation)


def sell(
    sales: Sequence[tuple[locks.Locked, uuid.UUID]], *, due: Collection[uuid.UUID] = ()
) -> dict[uuid.UUID, dict[str, int]]:
    """Confirm reservations and sell their seats for good. They are paid for; those whose sale is `due` pay at the door.

    Return the seats' keys, for their tickets, by reservation and label.
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


def sell_again(lost: locks.Locked, *, sale: uuid.UUID) -> tuple[Reservation, dict[str, int]] | None:
    """Sell an ended reservation's places to its buyer again, all or none, because its money came late.

    The sale gets a reservation of its own.
    """
    session, before, news = lost.session, lost.reservation, lost.news
    if session.is_closed_at(lost.now) or not before.lines:
        return None
    seats = locks.lock_seats(session.pk, before.seats)
    endings.expire_holders(session, seats.values(), news)
    has = _places_of(_live_of(before, news))
    if rules.limit_passed(before.quantity, has=has, most=session.max_per_buyer) is not None:
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
        best_available=before.best_available,
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


def _has_a_use_left(before: Reservation) -> bool:
    """Tell whether the voucher that the reservation carried has a use left; its own use came back when it ended."""
    assert before.voucher is not None
    (voucher,) = locks.lock_vouchers([before.voucher.code]).values()
    try:
        Uses.of([voucher], buyers=[before.buyer]).require_one_left(voucher, before.buyer)
    except VoucherUsedUp:
        return False
    return True


def _take_stock_again(before: Reservation, news: Announcements) -> bool:
    """Take the places again, unless the type's own rules forbid them to any buyer now."""
    stock = locks.lock_stock([before.session_id])
    kind = stock.of(before.ticket_type_id)
    if kind is None or kind.is_closed_at(news.now):
        return False
    if kind.max_per_buyer:
        owned = _live_of(before, news).filter(ticket_type=kind, seats=[])
        if rules.limit_passed(before.quantity, has=_places_of(owned), most=kind.max_per_buyer) is not None:
            return False
    if Wanted.of(standby.waited_for([before.session_id]), stock.draws).has(kind.pk):
        return False  # free places belong to the orders on standby
    if not stock.take(kind, before.quantity):
        return False
    stock.write(news)
    return True


def _live_of(before: Reservation, news: Announcements) -> QuerySet[Reservation]:
    """Return the live reservations that its buyer has in its session."""
    return Reservation.objects.live(news.now).filter(session=before.session_id, buyer=before.buyer)


def _places_of(reservations: QuerySet[Reservation]) -> int:
    places: int = reservations.aggregate(places=Sum("quantity", default=0))["places"]
    return places


def move(locked: locks.Locked, seats: Sequence[str], to: Sequence[str]) -> list[tuple[Seat, Seat]]:
    """Give the reservation other free seats for some of its own, one for one, each at the price paid for the old one.

    Return each old seat with its new one. Raises: CannotMove.
    """
    reservation, session = locked.reservation, locked.session
    rows = locks.lock_seats(session.pk, {*seats, *to})
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
    locks.save(locked, "seats", "lines")
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


def _for_the_same(line: Line, left: dict[str, TicketType]) -> str | None:
    """Return a seat for the line item: one of its own type at any price, else one at its price before discounts."""
    own = (label for label, kind in left.items() if str(kind.pk) == line["ticket_type"])
    alike = (label for label, kind in left.items() if kind.price == pricing.base_of(line))
    return next(itertools.chain(own, alike), None)


def reprice(locked: locks.Locked, *, concessions: pricing.Choices | None, voucher: str | None) -> None:
    """Price the held places with these terms, and with the session's fees as they are now.

    None leaves a term unchanged: a voucher that the reservation carries is its own, even if the voucher has changed
    since. An empty code takes the voucher off. Raises: UnknownConcession, NotAmongTheSeats, WrongConcessionCount,
    VoucherRefused.
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
    locks.save(locked, "lines", "total", "voucher")
    locked.news.priced(reservation)


def _usable(code: str, locked: locks.Locked) -> Voucher:
    """Return the voucher, locked so that the next request counts this use. Raises: VoucherRefused."""
    reservation = locked.reservation
    voucher = pricing.judge(
        locks.lock_vouchers([code]).get(code), session=locked.session.pk, currency=reservation.currency, now=locked.now
    )
    Uses.of([voucher], buyers=[reservation.buyer], but=reservation.pk).require_one_left(voucher, reservation.buyer)
    return voucher


def change_buyer(*, of: uuid.UUID, to: uuid.UUID) -> list[tuple[uuid.UUID, uuid.UUID | None]]:
    """Give an account everything that its guest asked for, holds and bought, and the guest's keys.

    Return the session of each live reservation, with the ticket type of its unnumbered places. The guest is locked (see
    people.py).
    """
    owned = Reservation.objects.filter(buyer=of).order_by()
    locks.lock_sessions(owned.values_list("session_id", flat=True).distinct())
    return statements.change_buyer(of=of, to=to)


def no_longer_due(locked: locks.Locked) -> None:
    """Note that its money was collected at the door: its places don't count as held any more."""
    locked.reservation.due = False
    locks.save(locked, "due")
    locked.news.reservation(locked.reservation)
    # the message needs the origin, the row doesn't keep it
    Reservation.objects.filter(pk=locked.reservation.pk).update(origin="")
