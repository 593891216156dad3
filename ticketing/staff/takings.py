"""Sum sold, held and free places by session, day and hour, in a few queries for any number of sessions."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Now, TruncHour
from django.utils import timezone

from reservations.models import Reservation, Status
from sessions_app.models import Session
from sessions_app.queries import unnumbered
from ticketing.models import OPEN, Payment, Sale

Revenue = Counter[str]  # minor units by currency


@dataclass(kw_only=True)
class Places:
    """Count places, numbered or not. Places off sale are not included."""

    sold: int = 0
    held: int = 0
    free: int = 0
    revenue: Revenue = field(default_factory=Counter)

    @classmethod
    def of_all(cls, several: Iterable[Places]) -> Self:
        total = cls()
        for places in several:
            total.sold += places.sold
            total.held += places.held
            total.free += places.free
            total.revenue.update(places.revenue)
        return total

    @property
    def all(self) -> int:
        return self.sold + self.held + self.free


@dataclass(frozen=True, kw_only=True)
class Showing:
    session: Session
    places: Places

    @property
    def day(self) -> dt.date:
        return timezone.localdate(self.session.starts_at)


@dataclass(frozen=True, kw_only=True)
class Hour:
    """Hold the sales of one hour in one currency."""

    start: dt.datetime
    currency: str
    sales: int
    tickets: int
    revenue: int

    @property
    def day(self) -> dt.date:
        return timezone.localdate(self.start)


def between(first: dt.date, days: int) -> tuple[dt.datetime, dt.datetime]:
    """Return the start and end of these days in the time zone of the house."""
    zone = timezone.get_current_timezone()
    start, end = (dt.datetime.combine(day, dt.time.min, zone) for day in (first, first + dt.timedelta(days=days)))
    return start, end


def showings(first: dt.date, *, days: int) -> list[Showing]:
    """Return the present state of the sessions that start in these days, without those that were called off."""
    start, end = between(first, days)
    sessions = Session.objects.filter(starts_at__gte=start, starts_at__lt=end, cancelled_at__isnull=True)
    found = list(sessions.select_related("show", "hall__venue").order_by("starts_at", "id"))
    holds, paying, stock, sold = _holds(sessions), _paying(sessions), _stock(sessions), _sold(sessions)
    return [
        Showing(
            session=session,
            places=Places(
                sold=sold[session.pk].sold,
                held=holds[session.pk].held + paying[session.pk],
                free=session.free_seats + stock[session.pk] + holds[session.pk].free,
                revenue=Counter({session.currency: 0, **sold[session.pk].revenue}),
            ),
        )
        for session in found
    ]


def _holds(sessions: QuerySet[Session]) -> defaultdict[UUID, Places]:
    """Count held places; places of an expired hold are free, swept or not."""
    over = Q(expires_at__lte=Now())
    holds = Reservation.objects.filter(session__in=sessions.order_by(), status=Status.HELD).order_by()
    rows = holds.values_list("session").annotate(
        held=Sum("quantity", filter=~over, default=0), ran_out=Sum("quantity", filter=over, default=0)
    )
    return defaultdict(Places, {session: Places(held=held, free=ran_out) for session, held, ran_out in rows})


def _paying(sessions: QuerySet[Session]) -> Counter[UUID]:
    """Count places of reservations in payment, which are found by their few open attempts."""
    attempts = Payment.objects.filter(status__in=OPEN, reservation__session__in=sessions.order_by())
    rows = attempts.filter(reservation__status=Status.PAYING).order_by().values_list("reservation__session")
    return Counter(dict(rows.annotate(places=Sum("reservation__quantity"))))


def _stock(sessions: QuerySet[Session]) -> Counter[UUID]:
    """Count the unnumbered places that are left."""
    return Counter(dict(sessions.order_by().annotate(left=unnumbered("available")).values_list("pk", "left")))


def _sold(sessions: QuerySet[Session]) -> defaultdict[UUID, Places]:
    """Count sold places, with the money paid for them minus refunds."""
    sales = Sale.objects.filter(session__in=sessions.order_by()).order_by().values_list("session", "currency")
    found = defaultdict[UUID, Places](Places)
    for session, currency, places, kept in sales.annotate(
        places=Sum("reservation__quantity"), kept=Sum(F("total") - F("refunded") - F("waived"))
    ):
        found[session].sold += places
        found[session].revenue[currency] += kept
    return found


def sold_by_hour(last: dt.date, *, days: int) -> list[Hour]:
    """Return the hours with sales in the days that end with `last`, in order."""
    start, end = between(last - dt.timedelta(days=days - 1), days)
    rows = (
        Sale.objects.filter(sold_at__gte=start, sold_at__lt=end)
        .annotate(hour=TruncHour("sold_at"))
        .order_by("hour", "currency")
        .values_list("hour", "currency")
        .annotate(
            sales=Count("pk"), places=Sum("reservation__quantity"), kept=Sum(F("total") - F("refunded") - F("waived"))
        )
    )
    return [
        Hour(start=hour, currency=currency, sales=sales, tickets=places, revenue=kept)
        for hour, currency, sales, places, kept in rows
    ]


def revenue_of(hours: Sequence[Hour]) -> Revenue:
    revenue: Revenue = Counter()
    for hour in hours:
        revenue[hour.currency] += hour.revenue
    return revenue
