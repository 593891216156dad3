"""Make rows that tests need, as people would make them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import factory
from django.utils import timezone

from reservations.models import Voucher
from sessions_app.models import Concession, Hall, Pool, Seat, Session, Show, TicketType, Venue
from ticketing.models import User


class UserFactory(factory.django.DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    password = factory.PostGenerationMethodCall("set_password", "frontrow-demo")

    @classmethod
    def _after_postgeneration(cls, instance: User, create: bool, results: dict[str, Any] | None = None) -> None:
        if create:
            instance.save()


class VenueFactory(factory.django.DjangoModelFactory[Venue]):
    class Meta:
        model = Venue

    name = factory.Sequence(lambda n: f"Cine {n}")
    city = "São Paulo"


class HallFactory(factory.django.DjangoModelFactory[Hall]):
    class Meta:
        model = Hall

    venue = factory.SubFactory(VenueFactory)
    name = factory.Sequence(lambda n: f"Sala {n}")


class ShowFactory(factory.django.DjangoModelFactory[Show]):
    class Meta:
        model = Show

    title = factory.Sequence(lambda n: f"O Filme {n}")


class SessionFactory(factory.django.DjangoModelFactory[Session]):
    """Make a session on sale, tomorrow, with `seats` rows by columns (None: no seats) at 25.00."""

    class Meta:
        model = Session
        skip_postgeneration_save = True

    show = factory.SubFactory(ShowFactory)
    room = "Sala 1"
    starts_at = factory.LazyFunction(lambda: timezone.now() + dt.timedelta(days=1))
    ends_at = factory.LazyAttribute(lambda session: session.starts_at + dt.timedelta(hours=2))

    @factory.post_generation
    def seats(self: Session, create: bool, size: tuple[int, int] | None, **_more: Any) -> None:
        rows, columns = size or (4, 4)
        kind = TicketType.objects.create(session=self, name="Standard", price=2500)
        Seat.objects.bulk_create(
            Seat(
                session=self,
                ticket_type=kind,
                label=f"{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[row]}{column + 1}",
                row="ABCDEFGHIJKLMNOPQRSTUVWXYZ"[row],
                number=column + 1,
                x=column,
                y=row,
                position=row * columns + column,
            )
            for row in range(rows)
            for column in range(columns)
        )
        self.free_seats = rows * columns
        self.save(update_fields=["free_seats"])


class StockFactory(factory.django.DjangoModelFactory[TicketType]):
    """Make unnumbered places."""

    class Meta:
        model = TicketType

    session = factory.SubFactory(SessionFactory)
    name = "Pista"
    price = 9000
    capacity = 5
    available = factory.SelfAttribute("capacity")


class ConcessionFactory(factory.django.DjangoModelFactory[Concession]):
    class Meta:
        model = Concession

    session = factory.SubFactory(SessionFactory)
    name = "Child"
    percent_off = 50


class VoucherFactory(factory.django.DjangoModelFactory[Voucher]):
    """Make a voucher of 10 % off each place, without limits."""

    class Meta:
        model = Voucher

    code = factory.Sequence(lambda n: f"VOUCHER-{n}")
    percent_off = 10


class PoolFactory(factory.django.DjangoModelFactory[Pool]):
    """Make a pool that several types of a session share."""

    class Meta:
        model = Pool

    session = factory.SubFactory(SessionFactory)
    name = factory.Sequence(lambda n: f"Day {n}")
    capacity = 3
    available = factory.SelfAttribute("capacity")
