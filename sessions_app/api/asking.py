"""What staff sends to put a session on sale."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from base.clock import db_now
from base.rest import Id, Text, WholeNumber, YesNo
from base.strict import Body, MinorUnits, unknown_fields
from sessions_app.api.serializers import Time
from sessions_app.models import (
    HIGHEST_FEE,
    MAX_SEATS,
    WHOLE,
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
