"""Define the bodies of requests for reservations, and the shapes of the answers for the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from msgspec import UNSET, Meta, UnsetType
from rest_framework import serializers

from base.rest import UUID_TEXT, Id, Money, Text, WholeNumber, YesNo
from base.strict import Body
from reservations.hold_request import Ask, Concessions
from reservations.models import Status
from reservations.operations.holding import Terms
from reservations.orders import REASONS
from reservations.refusals import SeatsUnavailable

MOST_SEATS = 1_000  # of one request, whatever the session allows: a bound for the body, not a rule of the sale
MOST_PLACES = 2**31 - 1
LONGEST_LABEL = 16

SESSION = "019337a4-91d0-7c11-b2d1-7b5f0f8f2a10"
TICKET_TYPE = "019337a4-91d4-7a02-8a3c-51c9b5b6f3aa"


LONGEST_CODE = 100  # of a voucher or a lane, as it is typed: longer than any code

CONCESSIONS_EXAMPLE = {"A2": "Estudante"}


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": MOST_SEATS,
        "additionalProperties": {
            "oneOf": [
                {"type": "string", "minLength": 1, "maxLength": 60},
                {"type": "integer", "minimum": 0, "maximum": MOST_PLACES},
            ]
        },
        "description": (
            'For seats, maps each seat to the id or name of a concession, like `{"A1": "Child"}`. For unnumbered '
            'places, maps each concession to a number of places, like `{"Child": 2}`. All other places cost the '
            "full price."
        ),
    }
)
class ConcessionsField(serializers.Field[Concessions, Any, Any, Any]):
    """Read the choices of concessions; code that knows the session judges them."""

    def to_internal_value(self, data: Any) -> Concessions:
        if not isinstance(data, dict) or len(data) > MOST_SEATS:
            raise serializers.ValidationError(_("Must be an object that maps seats to concessions."))
        return tuple((str(Text(max_length=60).run_validation(name)), _choice(value)) for name, value in data.items())

    def to_representation(self, value: Any) -> Any:
        return value


def _choice(value: Any) -> str | int:
    if isinstance(value, str):
        return str(Text(max_length=60).run_validation(value))
    return int(WholeNumber(min_value=0, max_value=MOST_PLACES).run_validation(value))


@extend_schema_serializer(
    examples=[
        OpenApiExample("A concession", value={"concessions": CONCESSIONS_EXAMPLE}, request_only=True),
        OpenApiExample("A voucher", value={"voucher": "SUMMER"}, request_only=True),
        OpenApiExample("Without the voucher", value={"voucher": None}, request_only=True),
    ]
)
class TermsFields(Body):
    """A field that isn't sent stays as it is."""

    concessions = ConcessionsField(required=False)
    voucher = Text(required=False, allow_null=True, max_length=LONGEST_CODE, help_text="null removes the voucher.")

    def terms(self) -> Terms:
        """Return the terms in the form that `holding.price` takes."""
        said = self.validated_data
        return {
            "concessions": said.get("concessions"),
            "voucher": (said["voucher"] or "") if "voucher" in said else None,
        }


class BestAvailable(Body):
    quantity = WholeNumber(min_value=1, max_value=MOST_PLACES)
    ticket_type = Id(required=False)
    accessible = YesNo(required=False, default=False)


@extend_schema_serializer(
    examples=[
        OpenApiExample("Seats by name", value={"session": SESSION, "seats": ["A1", "A2"]}, request_only=True),
        OpenApiExample(
            "The best seats left", value={"session": SESSION, "best_available": {"quantity": 3}}, request_only=True
        ),
        OpenApiExample(
            "Places without a number",
            value={"session": SESSION, "ticket_type": TICKET_TYPE, "quantity": 2},
            request_only=True,
        ),
    ]
)
class AskFields(Body):
    """A session, and exactly one of: `seats`; `best_available`; `ticket_type` with `quantity`."""

    session = Id()
    seats = serializers.ListField(
        child=Text(max_length=LONGEST_LABEL),
        required=False,
        allow_empty=False,
        max_length=MOST_SEATS,
        help_text="Labels of seats, like A1.",
    )
    best_available = BestAvailable(required=False)
    ticket_type = Id(required=False)
    quantity = WholeNumber(required=False, min_value=1, max_value=MOST_PLACES)
    lane_code = Text(
        required=False,
        max_length=LONGEST_CODE,
        help_text="The code of a lane of the session's queue, if the session has lanes.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        ways = [name for name in ("seats", "best_available", "ticket_type", "quantity") if name in attrs]
        if not ways:
            raise serializers.ValidationError(
                {"seats": [_("The request must have seats, or best_available, or ticket_type with quantity.")]}
            )
        if set(ways) == {"ticket_type", "quantity"} or ways in (["seats"], ["best_available"]):
            return attrs
        if set(ways) < {"ticket_type", "quantity"}:
            missing = ({"ticket_type", "quantity"} - set(ways)).pop()
            raise serializers.ValidationError({missing: [_("ticket_type and quantity must be sent together.")]})
        raise serializers.ValidationError(
            {name: [_("Cannot be sent together with %s.") % ways[0]] for name in ways[1:]}
        )

    def ask(self) -> Ask:
        """Return the validated body as an `Ask`."""
        fields: Mapping[str, Any] = self.validated_data
        best = fields.get("best_available")
        return Ask(
            session=fields["session"],
            seats=tuple(fields.get("seats", ())),
            ticket_type=best.get("ticket_type") if best else fields.get("ticket_type"),
            quantity=best["quantity"] if best else fields.get("quantity", 0),
            best_available=best is not None,
            accessible=bool(best and best["accessible"]),
            lane_code=fields.get("lane_code", ""),
        )


# --- The same, for most bodies: see Note [Who judges a body]

IdText = Annotated[str, Meta(pattern=f"^{UUID_TEXT}", max_length=36)]
Label = Annotated[str, Meta(pattern=r"^[^\s\0]([^\0]*[^\s\0])?\Z", max_length=LONGEST_LABEL)]
Labels = Annotated[tuple[Label, ...], Meta(min_length=1, max_length=MOST_SEATS)]
Places = Annotated[int, Meta(ge=1, le=MOST_PLACES)]
LaneCode = Annotated[str, Meta(pattern=r"^[^\s\0]([^\0]*[^\s\0])?\Z", max_length=LONGEST_CODE)]


class PlainBest(msgspec.Struct, forbid_unknown_fields=True):
    quantity: Places
    ticket_type: IdText | UnsetType = UNSET
    accessible: bool | UnsetType = UNSET


class PlainAsk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a well-behaved client.

    Note [Who judges a body]
    DRF's serializer is thorough and slow; msgspec reads a plainly right body fifty times as fast. So `AskFields` alone
    says what is wrong, and why: it reads each body again that isn't plainly right, and may still accept it (2.0 places,
    a label with a space behind it). msgspec must never accept a body that `AskFields` refuses, nor read it differently:
    `tests/ticketing/api/test_plain_bodies.py` draws every field and compares the two. Of two fields with the same name,
    msgspec takes the last: where a body has more colons than fields, a name may come twice (or a text has a colon), and
    `AskFields` judges.
    """

    session: IdText
    seats: Labels | UnsetType = UNSET
    best_available: PlainBest | UnsetType = UNSET
    ticket_type: IdText | UnsetType = UNSET
    quantity: Places | UnsetType = UNSET
    lane_code: LaneCode | UnsetType = UNSET


_plain = msgspec.json.Decoder(PlainAsk)


def plain_ask(body: bytes) -> Ask | None:
    """Return the ask, if it is plainly right; None leaves it to `AskFields`."""
    try:
        said = _plain.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    session, best, lane_code = UUID(said.session), said.best_available, said.lane_code or ""
    fields = body.count(b":") - (1 if lane_code else 0)
    if said.seats and fields == 2 and not (best or said.ticket_type or said.quantity):
        return Ask(session=session, seats=said.seats, lane_code=lane_code)
    if best and not (said.seats or said.ticket_type or said.quantity):
        if fields != 3 + (best.ticket_type is not UNSET) + (best.accessible is not UNSET):
            return None
        ticket_type = UUID(best.ticket_type) if best.ticket_type else None
        return Ask(
            session=session,
            ticket_type=ticket_type,
            quantity=best.quantity,
            best_available=True,
            accessible=best.accessible or False,
            lane_code=lane_code,
        )
    if said.ticket_type and said.quantity and fields == 3 and not (said.seats or best):
        return Ask(session=session, ticket_type=UUID(said.ticket_type), quantity=said.quantity, lane_code=lane_code)
    return None


CONFLICTS = ("held", "sold", "blocked")


class Conflict(serializers.Serializer[Any]):
    seat = serializers.CharField()
    reason = serializers.ChoiceField(choices=CONFLICTS)


class ConcessionRef(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class Line(serializers.Serializer[Any]):
    """One place. Parts that are 0 are left out. `price` is `base` less `discount` plus `fee`."""

    seat = serializers.CharField(allow_null=True)
    ticket_type = serializers.UUIDField()
    name = serializers.CharField()
    price = Money(help_text="The amount that the buyer pays for this place. The total is the sum of these amounts.")
    concession = ConcessionRef(required=False)
    base = Money(required=False, help_text="The ticket type's price at the time of the hold.")
    discount = Money(required=False, help_text="The amount that the concession and the voucher take off.")
    fee = Money(required=False, help_text="The booking fee.")
    tax = Money(required=False, help_text="The tax contained in `base` less `discount`. The fee contains no tax.")


@extend_schema_field({"$ref": "#/components/schemas/SaleOut"})
class SaleField(serializers.DictField):
    """A sale, which belongs to the app above this one."""


class ReservationOut(serializers.Serializer[Any]):
    """A request for seats and what became of it."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Status.choices)
    session = serializers.UUIDField()
    seats = serializers.ListField(child=serializers.CharField())
    ticket_type = serializers.UUIDField(allow_null=True)
    quantity = serializers.IntegerField(help_text="The number of places, numbered or not.")
    arrival = serializers.IntegerField(help_text="Its number in the order in which requests arrived for the session.")
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
    extensions_left = serializers.IntegerField()
    reason = serializers.ChoiceField(
        choices=REASONS, allow_null=True, help_text="The reason why it ended without a sale."
    )
    conflicts = Conflict(many=True)
    duplicate_of = serializers.UUIDField(allow_null=True)
    sale = SaleField(allow_null=True, help_text="Only of a confirmed reservation: the body of `GET /sales/{id}`.")
    accepted_at = serializers.DateTimeField(required=False)


QUEUED = OpenApiExample(
    "In the queue",
    value={
        "id": "019337a5-2c1e-7b1f-9a44-2f1c0d9e8b11",
        "status": "queued",
        "session": SESSION,
        "seats": ["A1", "A2"],
        "ticket_type": None,
        "quantity": 2,
        "arrival": 1099511627777,
        "lines": [],
        "total": None,
        "voucher": None,
        "lane": None,
        "standby": None,
        "expires_at": None,
        "extensions_left": 19,
        "reason": None,
        "conflicts": [],
        "duplicate_of": None,
        "sale": None,
    },
    response_only=True,
)
HELD = OpenApiExample(
    "Held",
    value={
        **QUEUED.value,
        "status": "held",
        "lines": [
            {
                "seat": seat,
                "ticket_type": TICKET_TYPE,
                "name": "Inteira",
                "price": {"amount": 2500, "currency": "BRL"},
            }
            for seat in ("A1", "A2")
        ],
        "total": {"amount": 5000, "currency": "BRL"},
        "expires_at": "2026-11-21T20:00:30Z",
        "accepted_at": "2026-11-21T20:00:00Z",
    },
    response_only=True,
)
LOST = OpenApiExample(
    "Another buyer was faster",
    value={
        "type": f"urn:frontrow:problem:{SeatsUnavailable.code}",
        "title": SeatsUnavailable.title,
        "status": 409,
        "detail": "Some of the seats are taken, so no seat was held. Choose other seats.",
        "code": SeatsUnavailable.code,
        "request_id": "019337a5-2c1e-7b1f-9a44-2f1c0d9e8b22",
        "conflicts": [{"seat": "A1", "reason": "held"}],
    },
    response_only=True,
    status_codes=["409"],
)
