"""Serve payments, sales and tickets over HTTP: decode, one domain call, encode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from base.asking import Buyer
from base.rest import (
    BuyerAPIView,
    CursorPagination,
    as_staff_too,
    listed_buyer,
    paged,
    prefer_wait,
    problems_of,
    refused_with,
)
from base.standing import stand
from reservations.api.views import IDEMPOTENCY_KEY, OF_BUYER, PREFER, written
from reservations.refusals import (
    AlreadyPaid,
    LimitReached,
    NotHeld,
    PaymentDeclined,
    PaymentInProgress,
    ReservationExpired,
)
from ticketing import queries
from ticketing.api import readers
from ticketing.api.serializers import (
    PAID_EXAMPLE,
    SALE_EXAMPLE,
    Paid,
    PayFields,
    Paying,
    RefundFields,
    Refunding,
    SaleOut,
)
from ticketing.models import Payment
from ticketing.payments import paying, refunds, starting, webhooks
from ticketing.payments.bells import ring_payment, ring_refund
from ticketing.payments.gateways import registry
from ticketing.people import roles
from ticketing.refusals import NothingToRefund, RefundClosed, UnknownMethod, UnknownToken, UnsignedWebhook

TAG = "Sales and tickets"
SIGNATURES = ", ".join(f"`{method.signature}`" for method in registry.METHODS.values() if method.signature)


class PayView(BuyerAPIView):
    @extend_schema(
        summary="Pay for a held reservation",
        extensions=refused_with(
            "csrf_failed",
            PaymentDeclined,
            LimitReached,
            NotHeld,
            PaymentInProgress,
            AlreadyPaid,
            ReservationExpired,
            UnknownMethod,
            UnknownToken,
        ),
        description=(
            "Authorises the payment, sells the seats, then captures the payment: a buyer is never charged for a "
            "seat that is gone. The sandbox's tokens: `ok`; `declined` (402); `slow` (3 seconds); `timeout` "
            "(402 after 5 seconds). The other tokens are for authors of a gateway's client: `timeout_charged`, "
            "`webhook_twice`, `webhook_out_of_order`, `webhook_late`."
        ),
        tags=[TAG],
        parameters=[IDEMPOTENCY_KEY, PREFER],
        request=PayFields,
        responses={
            200: OpenApiResponse(Paid, description="Paid, with `Prefer: wait`", examples=[PAID_EXAMPLE]),
            202: OpenApiResponse(Paying, description="Under way"),
            **problems_of(400, 401, 402, 403, 404, 409, 410, 413, 415, 422, 429, 503),
        },
    )
    def post(self, request: Request, reservation: UUID) -> HttpResponse:
        fields = PayFields(data=request.data)
        fields.is_valid(raise_exception=True)
        wait = prefer_wait(request)

        def on_start(payment: Payment) -> None:
            stand(request, lambda: under_way(payment))
            self.waited = wait

        made = pay_with(fields, reservation=reservation, buyer=self.buyer.id, on_start=on_start, wait=wait)
        return under_way(made.payment) if made.sale is None else Response({"sale": made.sale})


def pay_with(
    fields: PayFields, *, reservation: UUID, buyer: UUID, on_start: Callable[[Payment], object], wait: float
) -> paying.Progress:
    """Pay by a valid body. Raises: ValidationError, if it names no means of payment; what `paying.pay` raises."""
    try:
        return paying.pay(reservation_id=reservation, buyer=buyer, means=fields.means(), on_start=on_start, wait=wait)
    except starting.NotFree:
        raise exceptions.ValidationError({"payment": [fields.fields["payment"].error_messages["required"]]}) from None


def under_way(payment: Payment) -> HttpResponse:
    body = {
        "reservation": str(payment.reservation_id),
        "payment": {"id": str(payment.pk), "method": payment.method, "status": payment.status},
    }
    headers = {"Location": reverse("api-reservation", args=[payment.reservation_id]), "Retry-After": "1"}
    return written(body, status=202, headers=headers)


class WebhookView(APIView):
    """Accept a gateway's webhook.

    It needs no credentials, because the signature over the bytes identifies the sender.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    minds_its_query = False

    @extend_schema(
        operation_id="webhooks_receive",
        extensions=refused_with(UnsignedWebhook, "malformed"),
        summary="Receive a message of a payment gateway",
        description=(
            f"The gateway must sign the raw body ({SIGNATURES}), at most five "
            "minutes ago. The answer is 204 when the effect is committed. Any other answer asks the gateway to "
            "send the message again."
        ),
        tags=[TAG],
        request=OpenApiTypes.OBJECT,
        examples=[
            OpenApiExample(
                "A token of the sandbox",
                value={
                    "id": "019337a6-0b20-7c11-8f3e-6a5b4c3d2e1f",
                    "kind": "payment.captured",
                    "attempt": "019337a6-09ff-7c21-9c0e-5a1b2c3d4e5f",
                },
                request_only=True,
            )
        ],
        responses={204: None, **problems_of(400, 404, 413, 503)},
    )
    def post(self, request: Request, method: str) -> Response:
        try:
            payment = webhooks.receive(method, body=request._request.body, headers=request.headers)  # noqa: SLF001
        except UnknownMethod:
            raise exceptions.NotFound from None
        if payment is not None:
            ring_payment(payment.pk)
        return Response(status=204)


# --- Sales


class SalesView(BuyerAPIView):
    query_fields = ("buyer",)
    pagination_class = CursorPagination

    @extend_schema(
        operation_id="sales_list",
        summary="List the buyer's purchases",
        tags=[TAG],
        parameters=[OF_BUYER],
        responses={200: SaleOut(many=True), **problems_of(400, 401, 404, 429, 503)},
    )
    def get(self, request: Request) -> Response:
        whose = listed_buyer(request, self.buyer, permission=roles.SEES_CODES)
        return sales_page(request, whose, reader=self.buyer)


class PurchasesView(BuyerAPIView):
    pagination_class = CursorPagination

    @extend_schema(
        operation_id="purchases_list",
        summary="List the purchases of one buyer",
        description="Buyers can read their own purchases; staff can read those of all buyers.",
        tags=[TAG],
        responses={200: SaleOut(many=True), **problems_of(400, 401, 404, 429, 503)},
    )
    def get(self, request: Request, buyer: UUID) -> Response:
        if buyer != self.buyer.id and not self.buyer.may(roles.SEES_CODES):
            raise exceptions.NotFound
        return sales_page(request, buyer, reader=self.buyer)


def sales_page(request: Request, buyer: UUID | None, *, reader: Buyer) -> Response:
    return paged(request, queries.sales_of(buyer), lambda page: [readers.sale_body_for(reader, sale) for sale in page])


class SaleView(BuyerAPIView):
    @extend_schema(
        operation_id="sales_read",
        summary="Read a sale with its tickets",
        tags=[TAG],
        responses={200: OpenApiResponse(SaleOut, examples=[SALE_EXAMPLE]), **problems_of(401, 404, 429, 503)},
    )
    def get(self, request: Request, sale: UUID) -> Response:
        found = as_staff_too(
            self.buyer, lambda owner: queries.find_sale(sale, buyer=owner), permission=roles.SEES_CODES
        )
        return Response(readers.sale_body_for(self.buyer, found))


class RefundView(BuyerAPIView):
    @extend_schema(
        operation_id="sales_refund",
        extensions=refused_with("csrf_failed", RefundClosed, NothingToRefund),
        summary="Give tickets back",
        description=(
            "Gives back all remaining tickets, or those that `tickets` names. Buyers may give back unused "
            "tickets until `refund_minutes` before the session starts. Staff who may add refunds can do so at "
            "any time, for used tickets too. The places are on sale again at once. The money is on its way; if "
            "it was paid in cash, the buyer collects it (`to_hand_out`)."
        ),
        tags=[TAG],
        parameters=[IDEMPOTENCY_KEY],
        request=RefundFields,
        responses={
            202: OpenApiResponse(
                Refunding, description="The refund is promised; its `status` says how the money comes"
            ),
            **problems_of(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
        },
    )
    def post(self, request: Request, sale: UUID) -> Response:
        fields = RefundFields(data=request.data)
        fields.is_valid(raise_exception=True)
        owner = None if self.buyer.may("ticketing.add_refund") else self.buyer.id
        asked: dict[str, Any] = fields.validated_data
        if owner is None:
            asked["reason"] = asked["reason"] or refunds.BOX_OFFICE
        refund = refunds.ask_refund(sale_id=sale, buyer=owner, asked_by=self.buyer.id, **asked)
        headers = {"Location": reverse("api-sale", args=[sale]), "Retry-After": "1"}
        promised = {"refund": {"id": str(refund.pk), "status": refund.status}}
        stand(request, lambda: written(promised, status=202, headers=headers))
        ring_refund(refund.pk)
        refund.refresh_from_db()
        body = {"refund": queries.refund_body(refund), "sale": queries.sale_body_of(sale)}
        return Response(body, status=202, headers=headers)
