"""Define the fields of requests for orders, and the shapes of the answers for the schema."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from msgspec import UNSET, Meta, UnsetType
from rest_framework import serializers

from base.rest import Email, Id, Money, Text, WholeNumber
from base.strict import Body
from reservations.allocation import pricing
from reservations.api.serializers import (
    CONCESSIONS_EXAMPLE,
    LONGEST_CODE,
    LONGEST_LABEL,
    MOST_PLACES,
    MOST_SEATS,
    SESSION,
    TICKET_TYPE,
    ConcessionsField,
    Conflict,
    IdText,
    Labels,
    LaneCode,
    Line,
    Places,
)
from reservations.hold_request import Concessions, Means
from reservations.orders import REASONS
from ticketing.api.serializers import SALE, PaymentMeans, SaleOut
from ticketing.payments.gateways import registry

STANDINGS = ("PENDING", "PROCESSING", "COMPLETED", "FAILED")
LONGEST_TOKEN = 120
PAYMENT = {"method": "fake", "token": "ok"}


class OrderWish(msgspec.Struct, frozen=True, kw_only=True):
    """Describe an order to place; without `session`, that of the ticket type."""

    session: UUID | None = None
    seats: tuple[str, ...] = ()
    ticket_type: UUID | None = None
    quantity: int = 0
    payment: Means | None = None
    email: str = ""
    concessions: Concessions = ()
    voucher: str = ""
    lane_code: str = ""


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Places without a number",
            value={"ticket_type": TICKET_TYPE, "quantity": 2, "payment": PAYMENT},
            request_only=True,
        ),
        OpenApiExample(
            "Seats by name",
            value={"session": SESSION, "seats": ["A1", "A2"], "payment": PAYMENT},
            request_only=True,
        ),
        OpenApiExample(
            "With a concession and a voucher",
            value={
                "session": SESSION,
                "seats": ["A1", "A2"],
                "concessions": CONCESSIONS_EXAMPLE,
                "voucher": "SUMMER",
                "payment": PAYMENT,
            },
            request_only=True,
        ),
    ]
)
class OrderFields(Body):
    """Either `ticket_type` with `quantity`, or `session` with `seats`; and the payment."""

    ticket_type = Id(required=False)
    quantity = WholeNumber(required=False, min_value=1, max_value=MOST_PLACES)
    session = Id(
        required=False,
        help_text="The session of the seats. Not needed with a ticket type, which belongs to one session.",
    )
    seats = serializers.ListField(
        child=Text(max_length=LONGEST_LABEL),
        required=False,
        allow_empty=False,
        max_length=MOST_SEATS,
        help_text="Labels of seats, like A1.",
    )
    concessions = ConcessionsField(required=False)
    voucher = Text(required=False, allow_null=True, max_length=LONGEST_CODE, help_text="Its code.")
    lane_code = Text(
        required=False,
        max_length=LONGEST_CODE,
        help_text="The code of a lane of the session's queue, if the session has lanes.",
    )
    payment = PaymentMeans(required=False)
    email = Email(
        required=False,
        allow_blank=True,
        default="",
        help_text="The e-mail for the receipt. For an order that is paid later, the payment can name another one.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        stock, seats = {"ticket_type", "quantity"} & attrs.keys(), {"seats"} & attrs.keys()
        if not stock and not seats:
            raise serializers.ValidationError(
                {"ticket_type": [_("An order must have ticket_type and quantity, or session and seats.")]}
            )
        if stock and seats:
            raise serializers.ValidationError(
                {name: [_("Cannot be sent together with %s.") % "seats"] for name in sorted(stock)}
            )
        needed = {"session", "seats"} if seats else {"ticket_type", "quantity"}
        if missing := needed - attrs.keys():
            both = " & ".join(sorted(needed))
            raise serializers.ValidationError(
                {name: [_("%s must be sent together.") % both] for name in sorted(missing)}
            )
        return attrs

    def wish(self) -> OrderWish:
        """Return the validated order."""
        said = self.validated_data
        payment = said.get("payment")
        return OrderWish(
            session=said.get("session"),
            seats=tuple(said.get("seats", ())),
            ticket_type=said.get("ticket_type"),
            quantity=said.get("quantity", 0),
            lane_code=said.get("lane_code", ""),
            payment=Means(method=payment["method"], token=payment["token"], email=said["email"]) if payment else None,
            email=said["email"],
            concessions=said.get("concessions", ()),
            voucher=pricing.normal(said.get("voucher") or ""),
        )


# --- A faster decoder for plain orders: see Note [Who judges a body] in reservations/api/serializers.py

Token = Annotated[str, Meta(pattern=r"^[^\s\0]([^\0]*[^\s\0])?\Z", max_length=LONGEST_TOKEN)]


class PlainMeans(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    token: Token


class PlainOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Decode a body as well-behaved clients send it."""

    ticket_type: IdText | UnsetType = UNSET
    quantity: Places | UnsetType = UNSET
    session: IdText | UnsetType = UNSET
    seats: Labels | UnsetType = UNSET
    payment: PlainMeans | UnsetType = UNSET
    lane_code: LaneCode | UnsetType = UNSET


_plain = msgspec.json.Decoder(PlainOrder)


def plain_wish(body: bytes) -> OrderWish | None:
    """Return the order if the body is plainly right; None leaves it to `OrderFields`."""
    try:
        said = _plain.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if said.payment and not registry.is_of_place(said.payment.method, "online"):
        return None
    session = UUID(said.session) if said.session else None
    payment = Means(method=said.payment.method, token=said.payment.token) if said.payment else None
    fields = body.count(b":") - (3 if payment else 0) - (1 if said.lane_code else 0)
    if said.seats and session and fields == 2 and not (said.ticket_type or said.quantity):
        return OrderWish(session=session, seats=said.seats, payment=payment, lane_code=said.lane_code or "")
    if said.ticket_type and said.quantity and fields == (3 if session else 2) and not said.seats:
        return OrderWish(
            session=session,
            ticket_type=UUID(said.ticket_type),
            quantity=said.quantity,
            payment=payment,
            lane_code=said.lane_code or "",
        )
    return None


class OrderOut(serializers.Serializer[Any]):
    """An order and its outcome."""

    id = serializers.UUIDField(help_text="Also the id of its reservation.")
    status = serializers.ChoiceField(choices=STANDINGS)
    message = serializers.CharField(help_text="For people.")
    reason = serializers.ChoiceField(
        choices=REASONS, allow_null=True, help_text="The reason of the failure for programs, such as `sold_out`."
    )
    session = serializers.UUIDField()
    ticket_type = serializers.UUIDField(allow_null=True)
    seats = serializers.ListField(child=serializers.CharField())
    quantity = serializers.IntegerField()
    arrival = serializers.IntegerField(help_text="Its number in the order in which requests arrived for the session.")
    place_in_line = serializers.IntegerField(
        allow_null=True,
        help_text=(
            "Its position in the queue: 1 is next. Only in `GET /orders/{id}` of an order that is `PENDING`; null "
            "if the position is not known."
        ),
    )
    lines = Line(many=True)
    total = Money(allow_null=True)
    voucher = serializers.CharField(allow_null=True, help_text="The code of its voucher.")
    standby = serializers.IntegerField(
        allow_null=True,
        help_text=(
            "Its number among the orders on standby, which wait for places that come back; null if it is not on "
            "standby."
        ),
    )
    lane = serializers.CharField(allow_null=True, help_text="The lane that it used; null: the general lane.")
    expires_at = serializers.DateTimeField(allow_null=True)
    conflicts = Conflict(many=True)
    sale = SaleOut(allow_null=True)


IN_QUEUE: dict[str, object] = {
    "id": "019337a5-2c1e-7b1f-9a44-2f1c0d9e8b11",
    "status": "PENDING",
    "message": "Your order is in the queue.",
    "reason": None,
    "session": SESSION,
    "ticket_type": TICKET_TYPE,
    "seats": [],
    "quantity": 1,
    "arrival": 1099511627777,
    "place_in_line": None,
    "lines": [],
    "total": None,
    "voucher": None,
    "lane": None,
    "standby": None,
    "expires_at": None,
    "conflicts": [],
    "sale": None,
}
ORDER_IN_QUEUE = OpenApiExample("In the queue", value=IN_QUEUE, response_only=True)
ORDER_DONE = OpenApiExample(
    "Bought",
    value={
        **IN_QUEUE,
        "status": "COMPLETED",
        "message": "Your order is complete: the tickets are yours.",
        "lines": SALE["lines"],
        "total": SALE["total"],
        "sale": SALE,
    },
    response_only=True,
)
