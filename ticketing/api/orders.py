"""Place orders over HTTP: decode, one domain call, encode."""

from __future__ import annotations

import re
from collections.abc import Collection
from uuid import UUID

import msgspec
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from base.asking import KEY, Buyer, idempotency_key
from base.rest import BuyerAPIView, as_staff_too, is_plain_json, listed_buyer, paged, problems_of, refused_with
from reservations import orders, refusals
from reservations import queries as reservations
from reservations.admission import sale_facts
from reservations.api.views import OF_BUYER, PREFER, SEES_RESERVATIONS, Body, DoorView
from reservations.bodies import OrderBody, ReservationBody
from reservations.hold_request import AT_THE_DOOR, ORDER_SCOPE, Ask, Means, Receipt
from reservations.models import Status
from reservations.refusals import (
    PaymentDeclined,
    PaymentNeeded,
    UnknownTicketType,
)
from ticketing import queries
from ticketing.api import readers
from ticketing.api.order_fields import ORDER_DONE, ORDER_IN_QUEUE, OrderFields, OrderOut, OrderWish, plain_wish
from ticketing.bodies import SaleBody
from ticketing.orders.orders import why_declined
from ticketing.payments import gateways
from ticketing.refusals import UnknownMethod, UnknownToken

TAG = "Buying in one step"
REQUIRED_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^({KEY})$"},
    OpenApiParameter.HEADER,
    required=True,
    description=(
        "1 to 255 visible characters. Use a new key for each order. The same key and payload get the first answer "
        "again."
    ),
)

VISIBLE = r"[\x21-\x7e]{1,255}"
WITH_KEY = OpenApiParameter(
    "idempotency_key",
    {"type": "string", "pattern": f"^({VISIBLE})?$"},
    description="Returns the order that was sent with this key in the last 24 hours.",
)


class OrdersView(DoorView):
    """Place orders, and list the buyer's own."""

    queued = orders.standing(Status.QUEUED)
    query_fields = ("buyer", "idempotency_key")

    @staticmethod
    def sales_of(sales: Collection[UUID], reader: Buyer) -> dict[str, SaleBody]:
        return readers.sale_bodies(sales, reader)

    @extend_schema(
        operation_id="orders_create",
        extensions=refused_with(
            *refusals.ADMISSION,
            *refusals.TERMS,
            PaymentNeeded,
            PaymentDeclined,
            UnknownMethod,
            UnknownToken,
            "csrf_failed",
        ),
        summary="Buy in one step",
        description=(
            "Holds the places, takes the payment and makes the tickets in one step. Accepted orders are stored "
            "durably and allocated once, in order of arrival. A free order needs no `payment`. An order that "
            "has a price and no `payment` stays `PROCESSING` until it is paid by `POST /reservations/{id}/pay` "
            "with the same id, or until its time is over. With `Prefer: wait=N` the answer is the outcome, if "
            "it comes in time. The limits for unpaid and free places (429 `too_many_holds`) are the same as for "
            "`POST /reservations`."
        ),
        tags=[TAG],
        parameters=[REQUIRED_KEY, PREFER],
        request=OrderFields,
        responses={
            201: OpenApiResponse(
                OrderOut, description="With `Prefer: wait`: the places are bought or held", examples=[ORDER_DONE]
            ),
            202: OpenApiResponse(OrderOut, description="Accepted, in the queue", examples=[ORDER_IN_QUEUE]),
            **problems_of(400, 401, 402, 403, 409, 413, 415, 422, 429, 503),
        },
    )
    def post(self, request: Request) -> HttpResponseBase:
        sent = request._request  # noqa: SLF001 DRF offers Django's request under no other name
        ask = self.asked_plainly(sent) or ask_of(carefully_wished(request), key=required_key(sent))
        return self.let_in(sent, ask)

    def asked_plainly(self, sent: HttpRequest) -> Ask | None:
        key = required_key(sent)
        wish = plain_wish(sent.body) if is_plain_json(sent) else None
        return ask_of(wish, key=key) if wish else None

    def told(self, reservation: ReservationBody) -> Body:
        return told(reservation, self.buyer)

    def refusal(self, outcome: ReservationBody) -> Exception:
        if outcome["reason"] == PaymentDeclined.reason:
            return PaymentDeclined(why_declined(UUID(outcome["id"])))
        return super().refusal(outcome)

    @extend_schema(
        operation_id="orders_list",
        summary="List the buyer's orders",
        description="Newest first. The first page begins with those that are still in the queue.",
        tags=[TAG],
        parameters=[OF_BUYER, WITH_KEY],
        responses={200: OrderOut(many=True), **problems_of(400, 401, 404, 429, 503)},
    )
    def get(self, request: Request) -> Response:
        whose, key = listed_buyer(request, self.buyer, permission=SEES_RESERVATIONS), asked_key(request)
        found = reservations.orders_of(whose)
        return paged(
            request,
            found.filter(key=key) if key else found,
            lambda page: self.with_sales([orders.body(reservations.reservation_body(row)) for row in page]),
            first=lambda: waiting(whose, key=key) if whose else [],
        )


def asked_key(request: Request) -> str:
    """Return the key of the order to find; empty for all. Raises: ValidationError."""
    key = request.query_params.get("idempotency_key", "")
    if key and not re.fullmatch(VISIBLE, key):
        raise exceptions.ValidationError({"idempotency_key": [_("Must be 1 to 255 visible characters.")]})
    return key


class OrderView(BuyerAPIView):
    """Show one order."""

    @extend_schema(
        operation_id="orders_read",
        summary="Read the state of an order",
        description="Works from the moment of the 202. Its id is also the id of its reservation.",
        tags=[TAG],
        responses={
            200: OpenApiResponse(OrderOut, examples=[ORDER_DONE, ORDER_IN_QUEUE]),
            **problems_of(401, 404, 429, 503),
        },
    )
    def get(self, request: Request, order: UUID) -> Response:
        found = as_staff_too(
            self.buyer, lambda owner: reservations.find(order, buyer=owner), permission=SEES_RESERVATIONS
        )
        place = queries.place_of(orders.body(found))
        return Response({**told(found, self.buyer), "place_in_line": place})


def waiting(buyer: UUID, *, key: str = "") -> list[OrderBody]:
    """Return the buyer's orders that are still in the queue; with `key`, only those with this key."""
    asked = [request for request in reservations.in_queue(buyer) if request.is_order and key in {"", request.key}]
    return [orders.body(reservations.queued_body(request)) for request in asked]


def told(reservation: ReservationBody, reader: Buyer) -> Body:
    body = orders.body(reservation)
    sale = body["sale"]
    return {**body, "sale": readers.sale_bodies([UUID(sale)], reader).get(sale)} if sale else body


# --- Requests


def required_key(sent: HttpRequest) -> str:
    """Return the request's idempotency key. Raises: ValidationError."""
    key = idempotency_key(sent.META)
    if key is None:
        raise exceptions.ValidationError(
            {
                "Idempotency-Key": [
                    _(
                        "An order needs this header. Use a new key for each order, and the same key "
                        "to send an order again."
                    )
                ]
            }
        )
    return key


def carefully_wished(request: Request) -> OrderWish:
    """Validate the order field by field. Raises: ValidationError."""
    fields = OrderFields(data=request.data)
    fields.is_valid(raise_exception=True)
    return fields.wish()


def ask_of(wish: OrderWish, *, key: str) -> Ask:
    """Translate the order for admission.

    Raises: UnknownTicketType, UnknownSession, FactsUnavailable, UnknownMethod, UnknownToken.
    """
    session = wish.session or session_of(wish.ticket_type)
    payment = means_of(wish.payment) or at_the_door(wish, session)
    return Ask(
        session=session,
        seats=wish.seats,
        ticket_type=wish.ticket_type,
        quantity=wish.quantity,
        lane_code=wish.lane_code,
        key=key,
        scope=ORDER_SCOPE,
        payment=payment,
        receipt=None if payment else Receipt(email=wish.email, language=get_language() or "en"),
        concessions=wish.concessions,
        voucher=wish.voucher,
    )


def session_of(ticket_type: UUID | None) -> UUID:
    session = sale_facts.session_of(ticket_type) if ticket_type else None
    if session is None:
        raise UnknownTicketType
    return session


def at_the_door(wish: OrderWish, session: UUID) -> Means | None:
    """Return the means of an order without payment, if its ticket type may be paid at the door."""
    facts = sale_facts.facts_of(session)
    stock = facts.stock.get(wish.ticket_type) if wish.ticket_type else None
    if stock is None or not stock.is_paid_at_door(facts.now()):
        return None
    return Means(method=AT_THE_DOOR, email=wish.email, language=get_language() or "en")


def means_of(payment: Means | None) -> Means | None:
    if payment is None:
        return None
    gateways.chosen(payment.method).check(payment.token)
    return msgspec.structs.replace(payment, language=get_language() or "en")
