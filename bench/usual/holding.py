"""Hold seats in a transaction of its own: lock, judge and take them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from base.ids import uuid7
from realtime.models import Event
from reservations.models import LIVE, Reservation, Status
from sessions_app.models import Seat, SeatStatus, Session


class Refused(Exception):
    """Refuse a hold: the session is not on sale, these are too many seats, or one is not free."""


@transaction.atomic
def hold(*, session_id: UUID, labels: Sequence[str], buyer: UUID, reservation_id: UUID | None = None) -> Reservation:
    """Hold the seats. Raises: Refused."""
    session = Session.objects.get(pk=session_id)
    now = timezone.now()
    mine = Reservation.objects.filter(session=session, buyer=buyer, status__in=LIVE).aggregate(places=Sum("quantity"))
    if not session.sells_at(now) or (mine["places"] or 0) + len(labels) > session.max_per_buyer:
        raise Refused
    wanted = Seat.objects.filter(session=session, label__in=labels).select_related("ticket_type").order_by("pk")
    seats = list(wanted.select_for_update(no_key=True, of=("self",)))
    if len(seats) != len(labels) or any(seat.status != SeatStatus.FREE for seat in seats):
        raise Refused
    reservation = Reservation.objects.create(
        id=reservation_id or uuid7(),
        session=session,
        buyer=buyer,
        status=Status.HELD,
        arrival=0,
        seats=[seat.label for seat in seats],
        quantity=len(seats),
        lines=[_line(seat, session) for seat in seats],
        total=sum(seat.ticket_type.price for seat in seats),
        accepted_at=now,
        held_at=now,
        settled_at=now,
        expires_at=now + dt.timedelta(seconds=session.hold_seconds),
    )
    Seat.objects.filter(pk__in=[seat.pk for seat in seats]).update(
        status=SeatStatus.HELD, reservation_id=reservation.pk, held_until=reservation.expires_at
    )
    Event.objects.create(name="reservation.held", session=session.pk, buyer=buyer, facts=reservation.facts())
    return reservation


def _line(seat: Seat, session: Session) -> dict[str, object]:
    return {
        "seat": seat.label,
        "ticket_type": str(seat.ticket_type_id),
        "name": seat.ticket_type.name,
        "price": {"amount": seat.ticket_type.price, "currency": session.currency},
    }
