"""The catalogue on the wire."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from base.clock import EARLIEST, LATEST, db_now
from base.rest import Id, Money, Text, WholeNumber, YesNo
from base.strict import Body, MinorUnits, unknown_fields
from sessions_app.models import (
    HIGHEST_FEE,
    MAX_SEATS,
    WHOLE,
    Concession,
    Hall,
    Pool,
    SeatKind,
    Session,
    Show,
    TicketType,
    Venue,
    currency_code,
)
from sessions_app.new_prices import (
    HIGHEST_PRICE,
    MAX_MINUTES,
    MAX_PER_BUYER,
    MAX_PLACES,
    MAX_TICKET_TYPES,
    NewConcession,
    NewPool,
    NewTicketType,
)
from sessions_app.operations import LONGEST_HOLD


def money(amount: int | None, currency: str) -> dict[str, Any] | None:
    return None if amount is None else {"amount": amount, "currency": currency}


class Time(serializers.DateTimeField):
    """RFC 3339: told in UTC, whatever the time zone of the pages, and taken with any offset, but never without one."""

    default_error_messages = {
        "invalid": gettext_lazy(
            "Must be a moment with its offset from UTC (RFC 3339), like 2030-06-01T20:00:00-03:00 or 2030-06-01T23:00:00Z."
        )
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=dt.UTC, **options)

    def enforce_timezone(self, value: dt.datetime) -> dt.datetime:
        """Raises: ValidationError."""
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
    seats = serializers.IntegerField(source="seat_count", help_text="How many chairs it has.")

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
    on_sale_at = Time(allow_null=True, help_text="null: at once.")
    cancelled_at = Time(allow_null=True)
    venue = VenueOut(source="hall.venue", default=None, allow_null=True)
    available = serializers.IntegerField(help_text="Places left, numbered and not.")
    capacity = serializers.IntegerField(help_text="Places there are.")
    from_price = serializers.SerializerMethodField(help_text="Its cheapest place.")

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
    def get_from_price(self, session: Any) -> dict[str, Any] | None:
        return money(session.from_price, session.currency)


class TicketTypeOut(serializers.ModelSerializer[TicketType]):
    session = serializers.UUIDField(source="session_id")
    price = serializers.SerializerMethodField()
    numbered = serializers.SerializerMethodField(help_text="Whether it prices seats; else it is general admission.")
    capacity = serializers.IntegerField(source="places")
    available = serializers.IntegerField(
        source="places_left", help_text="Of its stock and the pools it draws on, the least that any of them has left."
    )
    pools = serializers.SerializerMethodField(help_text="Names of what each of its places takes one from as well.")
    sells_from = Time(allow_null=True, help_text="null: as soon as the session is on sale.")
    sells_until = Time(allow_null=True, help_text="null: until the session starts.")
    max_per_order = serializers.IntegerField(allow_null=True)
    max_per_buyer = serializers.IntegerField(allow_null=True)
    holds = serializers.BooleanField(
        help_text="Whether it may be held and paid for later; else it is sold by `POST /orders` with its payment only."
    )
    pay_at_door = serializers.BooleanField(
        help_text="Whether an order for it without a `payment` is sold at once, to be paid at the door."
    )
    collect_minutes = serializers.IntegerField(
        allow_null=True,
        help_text="Minutes before the start at which places that nobody has paid for at the door go back; null: never.",
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
    def get_price(self, ticket_type: TicketType) -> dict[str, Any] | None:
        return money(ticket_type.price, ticket_type.session.currency)

    def get_pools(self, ticket_type: TicketType) -> list[str]:
        return [pool.name for pool in ticket_type.pools.all()]

    def get_numbered(self, ticket_type: TicketType) -> bool:
        return ticket_type.capacity is None


class ConcessionOut(serializers.ModelSerializer[Concession]):
    price = serializers.SerializerMethodField(help_text="Of its own, where that is lower than the place's; else null.")

    class Meta:
        model = Concession
        fields = ["id", "name", "percent_off", "price", "note"]

    @extend_schema_field(Money(allow_null=True))
    def get_price(self, concession: Concession) -> dict[str, Any] | None:
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
    counts = CountsOut(help_text="Of its seats.")
    ticket_types = TicketTypeOut(many=True)
    pools = PoolOut(many=True, help_text="What several of its ticket types draw on.")
    concessions = ConcessionOut(many=True)
    booking_fee = Money(help_text="Added to the price of each ticket that costs something.")
    booking_fee_basis_points = serializers.IntegerField(help_text="Of the price, added to it as well.")
    tax_basis_points = serializers.IntegerField(help_text="Contained in the price: 700 is 7/107 of it.")

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
    held_until = Time(required=False, help_text="Only while it is held.")


class SeatMapOut(serializers.Serializer[Any]):
    session = serializers.UUIDField()
    version = serializers.IntegerField()
    counts = CountsOut()
    seats = SeatOut(many=True)


class CompactSeatMapOut(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    seats = serializers.CharField(help_text="One status letter a seat, in plan order: f h s b.")


# --- Requests


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "format": "uuid"},
            {
                "type": "object",
                "required": ["title"],
                "additionalProperties": False,
                "properties": {"title": {"type": "string", "minLength": 1, "maxLength": 160}},
            },
        ]
    }
)
class ShowField(serializers.Field[UUID | str, Any, Any, Any]):
    """A show's id, or `{"title"}`: the show of that title, made if there is none."""

    def to_internal_value(self, data: Any) -> UUID | str:
        if isinstance(data, dict):
            if unknown := unknown_fields(data, ["title"]):
                raise serializers.ValidationError(unknown)
            titles = Text(max_length=160)
            title: str = titles.run_validation(data.get("title"))
            return title
        ids: UUID = Id().run_validation(data)
        return ids

    def to_representation(self, value: Any) -> Any:
        return value


class TicketTypeIn(Body):
    name = Text(max_length=60)
    price = MinorUnits(
        min_value=0, max_value=HIGHEST_PRICE, required=False, help_text="Minor units; the session's price by default."
    )
    capacity = WholeNumber(
        min_value=0,
        max_value=MAX_PLACES,
        required=False,
        allow_null=True,
        help_text="Places without a number. Without it: the price of the hall's section of that name.",
    )

    pools = serializers.ListField(
        child=Text(max_length=60),
        required=False,
        max_length=MAX_TICKET_TYPES,
        help_text="Names of the session's `pools`: each place takes one from each of them too.",
    )
    sells_from = Time(required=False, allow_null=True)
    sells_until = Time(required=False, allow_null=True)
    max_per_order = WholeNumber(min_value=1, max_value=MAX_PER_BUYER, required=False, allow_null=True)
    max_per_buyer = WholeNumber(min_value=1, max_value=MAX_PER_BUYER, required=False, allow_null=True)
    holds = YesNo(
        required=False, default=True, help_text="false: sold at once only, by orders that carry their payment."
    )
    pay_at_door = YesNo(
        required=False,
        default=False,
        help_text="Whether an order for it without a `payment` is sold at once, to be paid at the door.",
    )
    collect_minutes = WholeNumber(
        min_value=0,
        max_value=525_600,
        required=False,
        allow_null=True,
        help_text="Minutes before the start at which places that nobody has paid for at the door go back; only with `pay_at_door`.",
    )


class PoolIn(Body):
    name = Text(max_length=60)
    capacity = WholeNumber(min_value=0, max_value=MAX_PLACES)


class ConcessionIn(Body):
    """`percent_off` or `price`."""

    name = Text(max_length=60)
    percent_off = WholeNumber(min_value=0, max_value=100, required=False, allow_null=True)
    price = MinorUnits(
        min_value=0, max_value=HIGHEST_PRICE, required=False, allow_null=True, help_text="Minor units, of its own."
    )
    note = Text(max_length=200, required=False, allow_blank=True, default="", help_text="What to show at the door.")


class SessionIn(Body):
    show = ShowField()
    hall = Id(required=False, allow_null=True)
    room = Text(max_length=80, required=False, allow_blank=True)
    rows = WholeNumber(min_value=1, max_value=MAX_SEATS, required=False, allow_null=True)
    seats_per_row = WholeNumber(min_value=1, max_value=MAX_SEATS, required=False, allow_null=True)
    starts_at = Time()
    price = MinorUnits(
        min_value=0, max_value=HIGHEST_PRICE, required=False, allow_null=True, help_text="Minor units: 2500 is 25.00."
    )
    prices = serializers.DictField(
        child=MinorUnits(min_value=0, max_value=HIGHEST_PRICE),
        required=False,
        help_text="Minor units by section of the hall; a section without one costs `price`.",
    )
    currency = Text(default="BRL", max_length=3, validators=[currency_code])
    duration_minutes = WholeNumber(
        min_value=1, max_value=MAX_MINUTES, required=False, help_text="The show's own by default; 120 for a new one."
    )
    hold_seconds = WholeNumber(min_value=1, max_value=3600, default=30)
    max_hold_seconds = WholeNumber(
        min_value=1,
        max_value=LONGEST_HOLD,
        required=False,
        help_text="At least `hold_seconds`; 600 by default, or as long as a hold is.",
    )
    refund_minutes = WholeNumber(
        min_value=0,
        max_value=525_600,
        default=60,
        allow_null=True,
        help_text="Before the start, until which buyers may give tickets back; null: never.",
    )
    max_per_buyer = WholeNumber(min_value=1, max_value=MAX_PER_BUYER, default=10)
    on_sale_at = Time(required=False, allow_null=True)
    accounts_required = YesNo(
        required=False, default=False, help_text="Whether guests must sign in before they may ask."
    )
    ticket_types = TicketTypeIn(many=True, required=False)
    concessions = ConcessionIn(many=True, required=False)
    booking_fee = MinorUnits(
        min_value=0,
        max_value=HIGHEST_FEE,
        default=0,
        help_text="Minor units, added to each ticket that costs something.",
    )
    booking_fee_basis_points = WholeNumber(
        min_value=0, max_value=WHOLE, default=0, help_text="Of the price, added to it as well: 750 is 7.5 %."
    )
    tax_basis_points = WholeNumber(
        min_value=0, max_value=WHOLE, default=0, help_text="Contained in the price: 700 is 7/107 of it."
    )
    pools = PoolIn(
        many=True, required=False, help_text="Places that several ticket types draw on beside their own capacity."
    )

    def validate_starts_at(self, starts_at: dt.datetime) -> dt.datetime:
        if starts_at <= db_now():
            raise serializers.ValidationError(_("That time has passed."))
        return starts_at

    def validate_concessions(self, rows: list[dict[str, Any]]) -> list[NewConcession]:
        return [NewConcession(**row) for row in rows]

    def validate_ticket_types(self, rows: list[dict[str, Any]]) -> list[NewTicketType]:
        return [NewTicketType(**row) for row in rows]

    def validate_pools(self, rows: list[dict[str, Any]]) -> list[NewPool]:
        return [NewPool(**row) for row in rows]


class SeatMapQuery(serializers.Serializer[Any]):
    format = serializers.ChoiceField(choices=["compact"], required=False)
    at = Time(required=False)

    def validate_at(self, at: Any) -> Any:
        if not EARLIEST <= at <= LATEST:
            raise serializers.ValidationError(_("Must be a date between 2000 and 2200."))
        return at
