"""Lock seats, stock and reservations: only this package does, here or by the statements in `statements.py`.

Code outside this package locks the session's row too, alone, as the first in the order: `cancel_session` and
`note_renaming` of `sessions_app.operations`, the database's trigger for names that calendars show, and each save of a
session in the admin.

Note [Why the session row is locked first]
Every change of a session's seats, stock or reservations locks the session's row first (FOR NO KEY UPDATE, sessions by
id), then reservations, then seats, then ticket types, then pools, then vouchers, each by id. One fixed order means no
deadlock. One transaction holds the row, so the facts it reads after the lock stay true until the commit, and map
versions count up without a gap. A transaction that writes reservations for a buyer locks that person before the
session: see Note [The lock of a person] in people.py.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Collection, Iterable

from django.db import connection
from django.db.models import QuerySet

from base.clock import db_now
from reservations.allocation import statements
from reservations.allocation.announcements import Announcements
from reservations.allocation.stock import Stock
from reservations.models import Reservation, Voucher
from sessions_app.models import Seat, Session


@dataclasses.dataclass(frozen=True, slots=True)
class Locked:
    """A reservation that no other transaction can change until the commit; `now` was read after the lock."""

    reservation: Reservation
    session: Session
    now: dt.datetime
    news: Announcements


def lock_sessions(sessions: Iterable[uuid.UUID], *, people: Iterable[uuid.UUID] = ()) -> dict[uuid.UUID, Session]:
    """Lock the sessions' rows, by id. `people` are the buyers for whom reservations will be written.

    See Note [The lock of a person] in people.py.
    """
    return {row.pk: row for row in statements.lock_sessions(set(sessions), people=people)}


def lock_reservation(*, reservation_id: uuid.UUID, buyer: uuid.UUID | None) -> Locked:
    """Lock one reservation and its session; with `buyer` None (staff, sweeps) it may be any buyer's.

    Raises: Reservation.DoesNotExist.
    """
    owned = Reservation.objects.filter(pk=reservation_id)
    session_id = (owned.filter(buyer=buyer) if buyer else owned).values_list("session_id", flat=True).get()
    session = lock_sessions([session_id])[session_id]
    reservation = Reservation.objects.select_for_update(no_key=True, of=("self",)).get(pk=reservation_id)
    reservation.session = session
    now = db_now()
    return Locked(reservation, session, now, Announcements(now=now))


def lock_reservations(reservation_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Locked]:
    """Lock several reservations of any sessions; they share `news` and `now`. Missing ones are left out."""
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
    """Lock the ticket types and pools of locked sessions; pools that no type draws on only with `all_pools`."""
    types, draws = statements.lock_types(sessions)
    pools = statements.lock_pools(sessions) if all_pools or any(draws.values()) else []
    return Stock(types={row.pk: row for row in types}, pools={row.pk: row for row in pools}, draws=draws)


def lock_vouchers(codes: Collection[str]) -> dict[str, Voucher]:
    """Lock the existing vouchers and return them by code. Take this lock last: a voucher can span sessions."""
    if not codes:
        return {}
    rows = Voucher.objects.filter(code__in=codes).select_for_update(no_key=True).order_by("pk")
    return {voucher.code: voucher for voucher in rows}


def lock_shard(shard: int) -> None:
    """Keep every other worker from draining the shard's inbox until the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('frontrow.shard'), %s)", [shard])


def seats_of(reservation: Reservation) -> QuerySet[Seat]:
    """Return the seats that the reservation owns."""
    named = Seat.objects.of(reservation.session_id).filter(label__in=reservation.seats)
    return named.filter(reservation_id=reservation.pk)


def save(locked: Locked, *fields: str) -> None:
    locked.reservation.changed_at = locked.now
    locked.reservation.save(update_fields=[*fields, "changed_at"])
