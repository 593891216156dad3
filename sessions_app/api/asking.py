"""Read what staff sends to put a session on sale."""

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
    """Takes a show's id, or `{"title"}`: the show of that title, created if there is none."""

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
        min_value=0, max_value=HIGHEST_PRICE, required=False, help_text="In minor units. Default: the session's price."
    )
    capacity = WholeNumber(
        min_value=0,
        max_value=MAX_PLACES,
        required=False,
        allow_null=True,
        help_text=(
            "The number of places without a number. If it is missing, this is the price of the hall's section with "
            "this name."
        ),
    )

    pools = serializers.ListField(
        child=Text(max_length=60),
        required=False,
        max_length=MAX_TICKET_TYPES,
        help_text="Names from the session's `pools`. Each place also takes one place from each of these pools.",
    )
    sells_from = Time(required=False, allow_null=True)
    sells_until = Time(required=False, allow_null=True)
    max_per_order = WholeNumber(min_value=1, max_value=MAX_PER_BUYER, required=False, allow_null=True)
    max_per_buyer = WholeNumber(min_value=1, max_value=MAX_PER_BUYER, required=False, allow_null=True)
    holds = YesNo(
        required=False,
        default=True,
        help_text="false: buyers can only buy it at once, with an order that carries its payment.",
    )
    pay_at_door = YesNo(
        required=False,
        default=False,
        help_text="Whether an order without a `payment` buys it at once, to be paid at the door.",
    )
    collect_minutes = WholeNumber(
        min_value=0,
        max_value=525_600,
        required=False,
        allow_null=True,
        help_text=(
            "Minutes before the start. Places that are not paid for at the door by then go back on sale. Only with "
            "`pay_at_door`."
        ),
    )


class PoolIn(Body):
    name = Text(max_length=60)
    capacity = WholeNumber(min_value=0, max_value=MAX_PLACES)


class ConcessionIn(Body):
    """Has either `percent_off` or `price`."""

    name = Text(max_length=60)
    percent_off = WholeNumber(min_value=0, max_value=100, required=False, allow_null=True)
    price = MinorUnits(
        min_value=0,
        max_value=HIGHEST_PRICE,
        required=False,
        allow_null=True,
        help_text="Its own price, in minor units.",
    )
    note = Text(
        max_length=200,
        required=False,
        allow_blank=True,
        default="",
        help_text="The proof that the buyer must show at the door.",
    )


class SessionIn(Body):
    show = ShowField()
    hall = Id(required=False, allow_null=True)
    room = Text(max_length=80, required=False, allow_blank=True)
    rows = WholeNumber(min_value=1, max_value=MAX_SEATS, required=False, allow_null=True)
    seats_per_row = WholeNumber(min_value=1, max_value=MAX_SEATS, required=False, allow_null=True)
    starts_at = Time()
    price = MinorUnits(
        min_value=0,
        max_value=HIGHEST_PRICE,
        required=False,
        allow_null=True,
        help_text="In minor units: 2500 is 25.00.",
    )
    prices = serializers.DictField(
        child=MinorUnits(min_value=0, max_value=HIGHEST_PRICE),
        required=False,
        help_text="Prices in minor units by section of the hall. A section without its own price costs `price`.",
    )
    currency = Text(default="BRL", max_length=3, validators=[currency_code])
    duration_minutes = WholeNumber(
        min_value=1,
        max_value=MAX_MINUTES,
        required=False,
        help_text="Default: the length of the show; 120 for a new show.",
    )
    hold_seconds = WholeNumber(min_value=1, max_value=3600, default=30)
    max_hold_seconds = WholeNumber(
        min_value=1,
        max_value=LONGEST_HOLD,
        required=False,
        help_text="At least `hold_seconds`. Default: 600, or `hold_seconds` if that is longer.",
    )
    refund_minutes = WholeNumber(
        min_value=0,
        max_value=525_600,
        default=60,
        allow_null=True,
        help_text="Minutes before the start. Buyers may give tickets back until then; null: never.",
    )
    max_per_buyer = WholeNumber(min_value=1, max_value=MAX_PER_BUYER, default=10)
    on_sale_at = Time(required=False, allow_null=True)
    accounts_required = YesNo(
        required=False, default=False, help_text="Whether guests must sign in before they can buy."
    )
    ticket_types = TicketTypeIn(many=True, required=False)
    concessions = ConcessionIn(many=True, required=False)
    booking_fee = MinorUnits(
        min_value=0,
        max_value=HIGHEST_FEE,
        default=0,
        help_text="In minor units, added to the price of each ticket that is not free.",
    )
    booking_fee_basis_points = WholeNumber(
        min_value=0,
        max_value=WHOLE,
        default=0,
        help_text="A share of the price, added to the price as well: 750 is 7.5 %.",
    )
    tax_basis_points = WholeNumber(
        min_value=0, max_value=WHOLE, default=0, help_text="Contained in the price: 700 is 7/107 of the price."
    )
    pools = PoolIn(
        many=True,
        required=False,
        help_text="Pools of places that several ticket types share, in addition to their own capacity.",
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
