"""Define the fields of payments, and the shapes of sales and tickets for the schema."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from base.rest import Email, Id, Money, Text, WholeNumber, YesNo
from base.strict import Body
from reservations.allocation.decision import FREE
from reservations.api.serializers import SESSION, TICKET_TYPE, Line
from reservations.hold_request import Means
from ticketing.models import PaymentStatus, RefundStatus, TicketStatus
from ticketing.payments.gateways import registry
from ticketing.tickets import doors
from ticketing.voiding import VoidReason


class MethodField(serializers.ChoiceField):
    """One of the registry's online methods; what each house accepts is judged later."""

    def __init__(self, **more: Any) -> None:
        methods = registry.of_place("online")
        about = [*(method.about for method in methods if method.about), "Each house chooses which methods it accepts."]
        super().__init__(choices=[method.name for method in methods], help_text=" ".join(about), **more)


class TokenText(Text):
    def __init__(self, **more: Any) -> None:
        phrases = ", or ".join(method.token for method in registry.of_place("online"))
        super().__init__(help_text=f"The gateway's token: {phrases}.", **more)


class PaymentMeans(Body):
    method = MethodField()
    token = TokenText(max_length=120)


@extend_schema_serializer(
    examples=[
        OpenApiExample("With the sandbox", value={"payment": {"method": "fake", "token": "ok"}}, request_only=True)
    ]
)
class PayFields(Body):
    payment = PaymentMeans(required=False, help_text="Not needed for a reservation that costs nothing.")
    email = Email(required=False, allow_blank=True, default="", help_text="The e-mail for the receipt.")

    def means(self) -> Means:
        """Return the validated means of payment; without one, that of a free reservation."""
        said = self.validated_data
        return Means(**{"method": FREE.method, **said.get("payment", {}), "email": said["email"]})


class TicketTypeRef(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class Entitlement(serializers.Serializer[Any]):
    name = serializers.CharField()
    note = serializers.CharField(help_text="The proof to ask for; may be empty.")


class TicketOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    seat = serializers.CharField(allow_null=True)
    ticket_type = TicketTypeRef()
    concession = serializers.CharField(allow_null=True, help_text="The name at the time of the sale.")
    code = serializers.CharField(
        allow_null=True, help_text="The code that the gate scans. A ticket that is void or was passed on has none."
    )
    short_code = serializers.CharField(allow_null=True, help_text="The code that can be typed at the gate instead.")
    status = serializers.ChoiceField(choices=TicketStatus.choices)
    void_reason = serializers.ChoiceField(
        choices=VoidReason.choices, allow_null=True, help_text="The reason why it is void."
    )
    voided_at = serializers.DateTimeField(allow_null=True, help_text="The time when it became void.")
    due = serializers.IntegerField(help_text="The amount still to be paid for it at the door, in minor units.")
    passed_on = serializers.BooleanField(help_text="Whether the ticket was passed on.")


class OneTicketOut(TicketOut):
    sale = serializers.UUIDField()
    session = serializers.UUIDField()
    used_at = serializers.DateTimeField(allow_null=True)
    gate = serializers.CharField(help_text="The gate where it was used.")


class PaymentOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    method = serializers.CharField()
    status = serializers.ChoiceField(choices=PaymentStatus.choices)


class SaleOut(serializers.Serializer[Any]):
    """A paid reservation."""

    id = serializers.UUIDField()
    number = serializers.CharField(help_text="The number to say at the counter.")
    status = serializers.ChoiceField(
        choices=["paid", "due", "partly_refunded", "refunded"],
        help_text=(
            "`due`: sold, and to be paid at the door. `refunded`: all tickets are void, also because the session "
            "was called off."
        ),
    )
    session = serializers.UUIDField()
    reservation = serializers.UUIDField()
    lines = Line(many=True)
    total = Money()
    due = Money(help_text="The amount still to be paid at the door.")
    payment = PaymentOut()
    tickets = TicketOut(many=True)
    sold_at = serializers.DateTimeField()


@extend_schema_serializer(
    examples=[
        OpenApiExample("All of it", value={"reason": "The projector failed"}, request_only=True),
        OpenApiExample("One ticket", value={"tickets": ["019337a6-0a11-7e0f-b1c2-d3e4f5a6b7c8"]}, request_only=True),
    ]
)
class RefundFields(Body):
    tickets = serializers.ListField(
        child=Id(),
        required=False,
        allow_empty=False,
        max_length=1000,
        help_text="Give back only these tickets. Without it: all remaining tickets.",
    )
    reason = Text(max_length=120, required=False, allow_blank=True, default="")


class RefundOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=RefundStatus.choices)
    amount = Money()
    tickets = serializers.ListField(child=serializers.UUIDField())
    asked_at = serializers.DateTimeField()


class Refunding(serializers.Serializer[Any]):
    refund = RefundOut()
    sale = SaleOut()


class Paid(serializers.Serializer[Any]):
    sale = SaleOut()


class Paying(serializers.Serializer[Any]):
    """The payment is under way. Read the reservation for its outcome."""

    reservation = serializers.UUIDField()
    payment = PaymentOut()


SALE = {
    "id": "019337a6-0a10-7d3e-8a51-0f3f6f5d1c01",
    "number": "1042",
    "status": "paid",
    "session": SESSION,
    "reservation": "019337a5-2c1e-7b1f-9a44-2f1c0d9e8b11",
    "lines": [
        {"seat": "A1", "ticket_type": TICKET_TYPE, "name": "Inteira", "price": {"amount": 2500, "currency": "BRL"}}
    ],
    "total": {"amount": 2500, "currency": "BRL"},
    "due": {"amount": 0, "currency": "BRL"},
    "payment": {"id": "019337a6-09ff-7c21-9c0e-5a1b2c3d4e5f", "method": "fake", "status": "captured"},
    "tickets": [
        {
            "id": "019337a6-0a11-7e0f-b1c2-d3e4f5a6b7c8",
            "seat": "A1",
            "ticket_type": {"id": TICKET_TYPE, "name": "Inteira"},
            "concession": None,
            "code": "7QK2M9X4R1T8.H3J0ZZ81M5Q2WXYK.5N8E…",
            "short_code": "7QK2M9X4R1T8",
            "status": "valid",
            "void_reason": None,
            "voided_at": None,
            "due": 0,
            "passed_on": False,
        }
    ],
    "sold_at": "2026-11-21T20:00:12Z",
}
SALE_EXAMPLE = OpenApiExample("A sale", value=SALE, response_only=True)
PAID_EXAMPLE = OpenApiExample("Paid", value={"sale": SALE}, response_only=True)


# --- Transfers


@extend_schema_serializer(
    examples=[
        OpenApiExample("To an account", value={"username": "bruno"}, request_only=True),
        OpenApiExample("To a buyer", value={"buyer": "019337a0-5b1c-7f2e-9d3a-1c2b3a4d5e6f"}, request_only=True),
    ]
)
class PassOnFields(Body):
    """Give one of the two."""

    username = Text(max_length=150, required=False, help_text="The name of the account that gets the ticket.")
    buyer = Id(required=False, help_text="The id of the buyer who gets the ticket; can be a guest.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError(_("Give either an account or a buyer."))
        return attrs


class PassedOn(serializers.Serializer[Any]):
    ticket = serializers.UUIDField()
    receiver = serializers.UUIDField(help_text="The buyer who has it now.")


# --- Doors


@extend_schema_serializer(
    examples=[
        OpenApiExample("Scanned", value={"code": "7QK2M9X4R1T8.H3J0ZZ81M5Q2WXYK.5N8E…"}, request_only=True),
        OpenApiExample(
            "Typed an hour ago at a gate without a connection",
            value={
                "code": "7QK2-M9X4-R1T8",
                "gate": "Door 2",
                "session": SESSION,
                "scan": "019337c1-77aa-7b52-8d1f-0a1b2c3d4e5f",
                "seconds_ago": 3600,
            },
            request_only=True,
        ),
    ]
)
class CheckInFields(Body):
    code = Text(max_length=400, help_text="The scanned code, or the typed short code.")
    gate = Text(
        max_length=60,
        required=False,
        allow_blank=True,
        default="",
        help_text="The name of the gate, for people to read.",
    )
    session = Id(required=False, help_text="The session that this gate admits. Tickets for other sessions are refused.")
    scan = Id(required=False, help_text="A new id for each scan. A scan that is sent twice counts once.")
    seconds_ago = WholeNumber(
        min_value=0,
        max_value=doors.LATEST,
        required=False,
        default=0,
        help_text="How long ago the scan was made without a connection.",
    )
    anyway = YesNo(
        required=False,
        default=False,
        help_text="Admit the ticket although the doors of its session are not open (`not_yet`, `too_late`).",
    )
    paid = YesNo(
        required=False,
        default=False,
        help_text="The amount due for the ticket was taken. This is recorded, and the ticket is admitted.",
    )


class UsedElsewhere(serializers.Serializer[Any]):
    used_at = serializers.DateTimeField()
    gate = serializers.CharField()


class CheckedIn(serializers.Serializer[Any]):
    """The ticket is checked in."""

    id = serializers.UUIDField()
    ticket = serializers.UUIDField()
    session = serializers.UUIDField()
    show = serializers.CharField()
    seat = serializers.CharField(allow_null=True)
    ticket_type = TicketTypeRef()
    concession = Entitlement(allow_null=True, help_text="Ask the person who shows the ticket for proof.")
    status = serializers.ChoiceField(choices=TicketStatus.choices)
    used_at = serializers.DateTimeField()
    gate = serializers.CharField()
    refunded_at = serializers.DateTimeField(
        allow_null=True,
        help_text="The time when the ticket became void, if that was after the scan and before the gate sent it.",
    )
    void_reason = serializers.ChoiceField(
        choices=VoidReason.choices,
        allow_null=True,
        help_text="The reason why the ticket is void by now; null: it is not void.",
    )
    also_used = UsedElsewhere(
        allow_null=True,
        help_text="The other gate that used the ticket after this scan was made and before the gate sent it.",
    )


class ListedTicket(serializers.Serializer[Any]):
    digest = serializers.CharField(
        help_text="SHA-256 of `frontrow ticket:` and the short code, its first 24 hex digits."
    )
    seat = serializers.CharField(allow_null=True)
    ticket_type = serializers.CharField()
    concession = serializers.CharField(allow_null=True)
    note = serializers.CharField(
        help_text="The proof that the concession needs, as written at the time of the sale; may be empty."
    )
    status = serializers.ChoiceField(choices=TicketStatus.choices)
    void_reason = serializers.ChoiceField(
        choices=VoidReason.choices, allow_null=True, help_text="The reason why it is void."
    )
    used_at = serializers.DateTimeField(allow_null=True)
    gate = serializers.CharField()
    due = Money(allow_null=True, help_text="The amount to be paid for it at the door.")


class PublicKey(serializers.Serializer[Any]):
    """A JSON Web Key (RFC 8037)."""

    kty = serializers.CharField()
    crv = serializers.CharField()
    use = serializers.CharField()
    alg = serializers.CharField()
    kid = serializers.CharField()
    x = serializers.CharField()


class DoorList(serializers.Serializer[Any]):
    """Everything that a gate needs to work without a connection."""

    session = serializers.UUIDField()
    made_at = serializers.DateTimeField()
    opens_at = serializers.DateTimeField(help_text="The time from which its tickets are admitted.")
    closes_at = serializers.DateTimeField(help_text="Until when.")
    cancelled_at = serializers.DateTimeField(allow_null=True, help_text="The time when the session was called off.")
    keys = PublicKey(many=True)
    tickets = ListedTicket(many=True)
