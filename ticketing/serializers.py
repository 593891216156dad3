"""Sales and tickets on the wire: what paying takes, and the shapes of the answers for the schema."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from realtime.rest import Email, Money, Text
from reservations.serializers import SESSION, TICKET_TYPE, Line
from ticketing.models import PaymentStatus, TicketStatus


class PaymentMeans(serializers.Serializer[Any]):
    method = serializers.ChoiceField(choices=["fake"], help_text="`fake` is the sandbox: no money moves.")
    token = Text(max_length=120, help_text="Of the gateway. The sandbox takes `ok`, `declined`, `slow` and `timeout`.")


@extend_schema_serializer(
    examples=[
        OpenApiExample("With the sandbox", value={"payment": {"method": "fake", "token": "ok"}}, request_only=True)
    ]
)
class PayFields(serializers.Serializer[Any]):
    payment = PaymentMeans()
    email = Email(required=False, allow_blank=True, default="", help_text="Where the receipt goes.")


class TicketTypeRef(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class TicketOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    seat = serializers.CharField(allow_null=True)
    ticket_type = TicketTypeRef()
    code = serializers.CharField(help_text="What the gate scans.")
    status = serializers.ChoiceField(choices=TicketStatus.choices)


class OneTicketOut(TicketOut):
    sale = serializers.UUIDField()
    session = serializers.UUIDField()
    used_at = serializers.DateTimeField(allow_null=True)


class PaymentOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    method = serializers.CharField()
    status = serializers.ChoiceField(choices=PaymentStatus.choices)


class SaleOut(serializers.Serializer[Any]):
    """A paid reservation."""

    id = serializers.UUIDField()
    number = serializers.CharField(help_text="What people read out at the counter.")
    status = serializers.ChoiceField(choices=["paid", "partly_refunded", "refunded"])
    session = serializers.UUIDField()
    reservation = serializers.UUIDField()
    lines = Line(many=True)
    total = Money()
    payment = PaymentOut()
    tickets = TicketOut(many=True)
    sold_at = serializers.DateTimeField()


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
    "payment": {"id": "019337a6-09ff-7c21-9c0e-5a1b2c3d4e5f", "method": "fake", "status": "captured"},
    "tickets": [
        {
            "id": "019337a6-0a11-7e0f-b1c2-d3e4f5a6b7c8",
            "seat": "A1",
            "ticket_type": {"id": TICKET_TYPE, "name": "Inteira"},
            "code": "7QK2M9X4R1T8V3W6Y0Z5A2B4C7",
            "status": "valid",
        }
    ],
    "sold_at": "2026-11-21T20:00:12Z",
}
SALE_EXAMPLE = OpenApiExample("A sale", value=SALE, response_only=True)
PAID_EXAMPLE = OpenApiExample("Paid", value={"sale": SALE}, response_only=True)
