"""Sales and tickets on the wire: what paying takes, and the shapes of the answers for the schema."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from base.rest import Email, Id, Money, Text, WholeNumber, YesNo
from base.strict import Body
from reservations.api.serializers import SESSION, TICKET_TYPE, Line
from ticketing.models import PaymentStatus, RefundStatus, TicketStatus
from ticketing.tickets import doors
from ticketing.voiding import VoidReason


class PaymentMeans(Body):
    method = serializers.ChoiceField(
        choices=["fake", "stripe"],
        help_text="`fake` is the sandbox: no money moves. Which of them a house takes is its own choice.",
    )
    token = Text(
        max_length=120,
        help_text="Of the gateway: a word of the sandbox, such as `ok`, or the id of a payment method at Stripe.",
    )


@extend_schema_serializer(
    examples=[
        OpenApiExample("With the sandbox", value={"payment": {"method": "fake", "token": "ok"}}, request_only=True)
    ]
)
class PayFields(Body):
    payment = PaymentMeans(required=False, help_text="Needless where nothing is to be paid.")
    email = Email(required=False, allow_blank=True, default="", help_text="Where the receipt goes.")


class TicketTypeRef(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class Entitlement(serializers.Serializer[Any]):
    name = serializers.CharField()
    note = serializers.CharField(help_text="What to ask for; may be empty.")


class TicketOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    seat = serializers.CharField(allow_null=True)
    ticket_type = TicketTypeRef()
    concession = serializers.CharField(allow_null=True, help_text="Its name when it was sold.")
    code = serializers.CharField(
        allow_null=True, help_text="What the gate scans; none of a ticket that is void or was passed on."
    )
    short_code = serializers.CharField(allow_null=True, help_text="What can be typed at the gate instead.")
    status = serializers.ChoiceField(choices=TicketStatus.choices)
    void_reason = serializers.ChoiceField(choices=VoidReason.choices, allow_null=True, help_text="Why it is void.")
    voided_at = serializers.DateTimeField(allow_null=True, help_text="Since when it is void.")
    due = serializers.IntegerField(help_text="Minor units still to be paid for it at the door.")
    passed_on = serializers.BooleanField(help_text="Whether somebody else has it now; its holder reads that it was.")


class OneTicketOut(TicketOut):
    sale = serializers.UUIDField()
    session = serializers.UUIDField()
    used_at = serializers.DateTimeField(allow_null=True)
    gate = serializers.CharField(help_text="Where it was used.")


class PaymentOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    method = serializers.CharField()
    status = serializers.ChoiceField(choices=PaymentStatus.choices)


class SaleOut(serializers.Serializer[Any]):
    """A paid reservation."""

    id = serializers.UUIDField()
    number = serializers.CharField(help_text="What people read out at the counter.")
    status = serializers.ChoiceField(
        choices=["paid", "due", "partly_refunded", "refunded"],
        help_text="`due`: sold, and to be paid at the door. `refunded`: all tickets are void, as they are when the session was called off.",
    )
    session = serializers.UUIDField()
    reservation = serializers.UUIDField()
    lines = Line(many=True)
    total = Money()
    due = Money(help_text="What is still to be paid at the door.")
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
        help_text="Only these; all that are left without it.",
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
    """The payment is under way; the reservation tells how it ends."""

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


# --- Passing on


@extend_schema_serializer(
    examples=[
        OpenApiExample("To an account", value={"username": "bruno"}, request_only=True),
        OpenApiExample("To a buyer", value={"buyer": "019337a0-5b1c-7f2e-9d3a-1c2b3a4d5e6f"}, request_only=True),
    ]
)
class PassOnFields(Body):
    """One of the two."""

    username = Text(max_length=150, required=False, help_text="Of the account that gets it.")
    buyer = Id(required=False, help_text="Of the buyer who gets it: a guest's too.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError(_("Name either an account or a buyer."))
        return attrs


class PassedOn(serializers.Serializer[Any]):
    ticket = serializers.UUIDField()
    receiver = serializers.UUIDField(help_text="The buyer who has it now.")


# --- Doors


@extend_schema_serializer(
    examples=[
        OpenApiExample("Scanned", value={"code": "7QK2M9X4R1T8.H3J0ZZ81M5Q2WXYK.5N8E…"}, request_only=True),
        OpenApiExample(
            "Typed an hour ago, at a gate without a connection",
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
    code = Text(max_length=400, help_text="As scanned, or the short code as typed.")
    gate = Text(max_length=60, required=False, allow_blank=True, default="", help_text="Where: people read it.")
    session = Id(required=False, help_text="The session that this gate lets in; a ticket for another is refused.")
    scan = Id(required=False, help_text="A new id for each scan: told twice, it counts once.")
    seconds_ago = WholeNumber(
        min_value=0,
        max_value=doors.LATEST,
        required=False,
        default=0,
        help_text="For a scan made without a connection.",
    )
    anyway = YesNo(
        required=False,
        default=False,
        help_text="Let it in although its session's doors aren't open (`not_yet`, `too_late`).",
    )
    paid = YesNo(
        required=False, default=False, help_text="What is due for the ticket was taken: it is noted, and lets in."
    )


class UsedElsewhere(serializers.Serializer[Any]):
    used_at = serializers.DateTimeField()
    gate = serializers.CharField()


class CheckedIn(serializers.Serializer[Any]):
    """Let in."""

    id = serializers.UUIDField()
    ticket = serializers.UUIDField()
    session = serializers.UUIDField()
    show = serializers.CharField()
    seat = serializers.CharField(allow_null=True)
    ticket_type = TicketTypeRef()
    concession = Entitlement(allow_null=True, help_text="Ask whoever came in with it.")
    status = serializers.ChoiceField(choices=TicketStatus.choices)
    used_at = serializers.DateTimeField()
    gate = serializers.CharField()
    refunded_at = serializers.DateTimeField(
        allow_null=True, help_text="When it became void, after this scan was made: a gate told of it too late."
    )
    void_reason = serializers.ChoiceField(
        choices=VoidReason.choices, allow_null=True, help_text="Why it is void by now; null: it is not."
    )
    also_used = UsedElsewhere(
        allow_null=True,
        help_text="Where somebody else came in with it, after this scan was made and before it was told.",
    )


class ListedTicket(serializers.Serializer[Any]):
    digest = serializers.CharField(
        help_text="SHA-256 of `frontrow ticket:` and the short code, its first 24 hex digits."
    )
    seat = serializers.CharField(allow_null=True)
    ticket_type = serializers.CharField()
    concession = serializers.CharField(allow_null=True)
    note = serializers.CharField(
        help_text="What entitles to the concession, in the words of when it was sold; may be empty."
    )
    status = serializers.ChoiceField(choices=TicketStatus.choices)
    void_reason = serializers.ChoiceField(choices=VoidReason.choices, allow_null=True, help_text="Why it is void.")
    used_at = serializers.DateTimeField(allow_null=True)
    gate = serializers.CharField()
    due = Money(allow_null=True, help_text="What is to be paid for it at the door.")


class PublicKey(serializers.Serializer[Any]):
    """A JSON Web Key (RFC 8037)."""

    kty = serializers.CharField()
    crv = serializers.CharField()
    use = serializers.CharField()
    alg = serializers.CharField()
    kid = serializers.CharField()
    x = serializers.CharField()


class DoorList(serializers.Serializer[Any]):
    """What a gate needs to go on without a connection."""

    session = serializers.UUIDField()
    made_at = serializers.DateTimeField()
    opens_at = serializers.DateTimeField(help_text="From when on its tickets are let in.")
    closes_at = serializers.DateTimeField(help_text="Until when.")
    cancelled_at = serializers.DateTimeField(allow_null=True, help_text="When the session was called off.")
    keys = PublicKey(many=True)
    tickets = ListedTicket(many=True)
