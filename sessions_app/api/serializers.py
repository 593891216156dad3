"""Define the catalogue's bodies."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from base.clock import EARLIEST, LATEST
from base.rest import Money
from sessions_app.bodies import Price
from sessions_app.models import (
    Concession,
    Hall,
    Pool,
    SeatKind,
    Session,
    Show,
    TicketType,
    Venue,
)


def money(amount: int | None, currency: str) -> Price | None:
    return None if amount is None else {"amount": amount, "currency": currency}


class Time(serializers.DateTimeField):
    """A time by RFC 3339: written in UTC in any time zone of the pages, and read with any offset, but not without."""

    default_error_messages = {
        "invalid": gettext_lazy(
            "Must be a time with its offset from UTC (RFC 3339), like 2030-06-01T20:00:00-03:00 or "
            "2030-06-01T23:00:00Z."
        )
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=dt.UTC, **options)

    def enforce_timezone(self, value: dt.datetime) -> dt.datetime:
        """Require an offset. Raises: ValidationError."""
        if timezone.is_naive(value):
            self.fail("invalid")
        moment: dt.datetime = super().enforce_timezone(value)
        return moment


# --- Answers


class VenueOut(serializers.ModelSerializer[Venue]):
    class Meta:
        model = Venue
        fields = ["id", "name", "city", "address"]


class HallOut(serializers.ModelSerializer[Hall]):
    venue = VenueOut()
    seats = serializers.IntegerField(source="seat_count", help_text="The number of its chairs.")

    class Meta:
        model = Hall
        fields = ["id", "name", "venue", "seats"]


class ShowOut(serializers.ModelSerializer[Show]):
    class Meta:
        model = Show
        fields = ["id", "title", "synopsis", "duration_minutes", "rating", "genre"]


class SessionOut(serializers.ModelSerializer[Session]):
    show = ShowOut()
    hall = serializers.UUIDField(source="hall_id", allow_null=True)
    starts_at = Time()
    ends_at = Time()
    on_sale_at = Time(allow_null=True, help_text="null: the sale is already open.")
    cancelled_at = Time(allow_null=True)
    venue = VenueOut(source="hall.venue", default=None, allow_null=True)
    available = serializers.IntegerField(help_text="The number of places left, numbered and unnumbered.")
    capacity = serializers.IntegerField(help_text="The number of all places.")
    from_price = serializers.SerializerMethodField(help_text="The price of its cheapest place.")

    class Meta:
        model = Session
        fields = [
            "id",
            "show",
            "venue",
            "hall",
            "room",
            "starts_at",
            "ends_at",
            "on_sale_at",
            "cancelled_at",
            "currency",
            "hold_seconds",
            "max_hold_seconds",
            "max_per_buyer",
            "accounts_required",
            "available",
            "capacity",
            "from_price",
        ]

    @extend_schema_field(Money(allow_null=True))
    def get_from_price(self, session: Any) -> Price | None:
        return money(session.from_price, session.currency)


class TicketTypeOut(serializers.ModelSerializer[TicketType]):
    session = serializers.UUIDField(source="session_id")
    price = serializers.SerializerMethodField()
    numbered = serializers.SerializerMethodField(help_text="true: the price of seats. false: general admission.")
    capacity = serializers.IntegerField(source="places")
    available = serializers.IntegerField(
        source="places_left", help_text="The smallest number that its own stock and its pools have left."
    )
    pools = serializers.SerializerMethodField(
        help_text="Names of the pools: each place also takes one place from each of them."
    )
    sells_from = Time(allow_null=True, help_text="null: on sale as soon as the session is.")
    sells_until = Time(allow_null=True, help_text="null: on sale until the session starts.")
    max_per_order = serializers.IntegerField(allow_null=True)
    max_per_buyer = serializers.IntegerField(allow_null=True)
    holds = serializers.BooleanField(
        help_text=(
            "Whether buyers may hold it and pay later. If not, they can only buy it by `POST /orders` with a payment."
        )
    )
    pay_at_door = serializers.BooleanField(
        help_text="Whether an order without a `payment` buys it at once, to be paid at the door."
    )
    collect_minutes = serializers.IntegerField(
        allow_null=True,
        help_text=(
            "Minutes before the start. Places that are not paid for at the door by then go back on sale. null: never."
        ),
    )

    class Meta:
        model = TicketType
        fields = [
            "id",
            "session",
            "name",
            "price",
            "numbered",
            "capacity",
            "available",
            "pools",
            "sells_from",
            "sells_until",
            "max_per_order",
            "max_per_buyer",
            "holds",
            "pay_at_door",
            "collect_minutes",
        ]

    @extend_schema_field(Money)
    def get_price(self, ticket_type: TicketType) -> Price | None:
        return money(ticket_type.price, ticket_type.session.currency)

    def get_pools(self, ticket_type: TicketType) -> list[str]:
        return [pool.name for pool in ticket_type.pools.all()]

    def get_numbered(self, ticket_type: TicketType) -> bool:
        return ticket_type.capacity is None


class ConcessionOut(serializers.ModelSerializer[Concession]):
    price = serializers.SerializerMethodField(
        help_text="Its own price, used if it is lower than the place's price; else null."
    )

    class Meta:
        model = Concession
        fields = ["id", "name", "percent_off", "price", "note"]

    @extend_schema_field(Money(allow_null=True))
    def get_price(self, concession: Concession) -> Price | None:
        return money(concession.price, concession.session.currency)


class PoolOut(serializers.ModelSerializer[Pool]):
    class Meta:
        model = Pool
        fields = ["name", "capacity", "available"]


class CountsOut(serializers.Serializer[Any]):
    free = serializers.IntegerField()
    held = serializers.IntegerField()
    sold = serializers.IntegerField()
    blocked = serializers.IntegerField()


class SessionDetailOut(SessionOut):
    counts = CountsOut(help_text="The price of its seats.")
    ticket_types = TicketTypeOut(many=True)
    pools = PoolOut(many=True, help_text="Pools of places that several of its ticket types share.")
    concessions = ConcessionOut(many=True)
    booking_fee = Money(help_text="Added to the price of each ticket that is not free.")
    booking_fee_basis_points = serializers.IntegerField(help_text="A share of the price, added to the price as well.")
    tax_basis_points = serializers.IntegerField(help_text="Contained in the price: 700 is 7/107 of the price.")

    class Meta(SessionOut.Meta):
        fields = [
            *SessionOut.Meta.fields,
            "counts",
            "ticket_types",
            "pools",
            "concessions",
            "booking_fee",
            "booking_fee_basis_points",
            "tax_basis_points",
        ]


class SeatOut(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment] # the field on the wire has this name
    section = serializers.CharField()
    row = serializers.CharField()
    number = serializers.IntegerField()
    x = serializers.FloatField(help_text="In seat widths; 0 is the middle.")
    y = serializers.FloatField(help_text="In seat widths; 0 is the stage.")
    kind = serializers.ChoiceField(choices=SeatKind.choices)
    ticket_type = serializers.UUIDField()
    status = serializers.ChoiceField(choices=["free", "held", "sold", "blocked"])
    held_until = Time(required=False, help_text="Only of a held seat.")


class SeatMapOut(serializers.Serializer[Any]):
    session = serializers.UUIDField()
    version = serializers.IntegerField()
    counts = CountsOut()
    seats = SeatOut(many=True)


class CompactSeatMapOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    seats = serializers.CharField(help_text="One status letter per seat, in plan order: f h s b.")


# --- Requests


class SeatMapQuery(serializers.Serializer[Any]):
    format = serializers.ChoiceField(choices=["compact"], required=False)
    at = Time(required=False)

    def validate_at(self, at: Any) -> Any:
        if not EARLIEST <= at <= LATEST:
            raise serializers.ValidationError(_("Must be a date between 2000 and 2200."))
        return at
