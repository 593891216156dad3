"""Serve tickets over HTTP: read, show, print, put into a calendar, transfer."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.utils.translation import get_language
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from base.rest import BuyerAPIView, CursorPagination, as_staff_too, listed_buyer, paged, problems_of, refused_with
from base.standing import stand
from reservations.api.views import IDEMPOTENCY_KEY, OF_BUYER, written
from ticketing import queries
from ticketing.api import readers
from ticketing.api.serializers import OneTicketOut, PassedOn, PassOnFields
from ticketing.models import Sale, Ticket
from ticketing.people import roles
from ticketing.refusals import CannotPassOn, NoCodeAnyMore, UnknownReceiver
from ticketing.tickets import calendars, paper, transfers

TAG = "Sales and tickets"
MISSING = problems_of(401, 404, 429, 503)
NO_CODE = problems_of(401, 404, 410, 429, 503)
PRIVATE = {"Cache-Control": "private, no-store"}


class _SaleAPIView(BuyerAPIView):
    def sale(self, sale_id: UUID, *, to_show_codes: bool = False) -> Sale:
        """Return the sale. Raises: Sale.DoesNotExist."""
        return as_staff_too(
            self.buyer,
            lambda owner: queries.find_sale(sale_id, buyer=owner),
            permission=roles.SEES_CODES,
            given=to_show_codes,
        )


class _TicketAPIView(BuyerAPIView):
    def ticket(self, ticket_id: UUID, *, to_show_codes: bool = False) -> Ticket:
        """Return the ticket. Raises: Ticket.DoesNotExist."""
        return as_staff_too(
            self.buyer,
            lambda owner: queries.find_ticket(ticket_id, buyer=owner),
            permission=roles.SEES_CODES,
            given=to_show_codes,
        )


# --- A whole sale


class SalePaperView(_SaleAPIView):
    @extend_schema(
        operation_id="sales_tickets_pdf",
        summary="Get the sale's tickets to print",
        description=(
            "The PDF is in the language of the sale. Void tickets are crossed out and show the reason and the "
            "date instead of a code. Only the holder of a ticket that was passed on can print it "
            "(`/tickets/{id}/ticket.pdf`)."
        ),
        tags=[TAG],
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, **MISSING},
    )
    def get(self, request: Request, sale: UUID) -> HttpResponse:
        found = self.sale(sale, to_show_codes=True)
        headers = {"Content-Disposition": f'inline; filename="tickets-{found.number}.pdf"', **PRIVATE}
        return HttpResponse(paper.tickets_pdf(found), content_type="application/pdf", headers=headers)


class SaleCalendarView(_SaleAPIView):
    @extend_schema(
        operation_id="sales_calendar",
        summary="Get the sale's session for a calendar",
        tags=[TAG],
        responses={(200, "text/calendar"): OpenApiTypes.STR, **MISSING},
    )
    def get(self, request: Request, sale: UUID) -> HttpResponse:
        return calendar(calendars.of_sale(self.sale(sale)))


def calendar(body: bytes) -> HttpResponse:
    headers = {"Content-Disposition": 'inline; filename="session.ics"', **PRIVATE}
    return HttpResponse(body, content_type="text/calendar; charset=utf-8", headers=headers)


# --- One ticket


class TicketsView(BuyerAPIView):
    query_fields = ("buyer",)
    pagination_class = CursorPagination

    @extend_schema(
        operation_id="tickets_list",
        summary="List the buyer's tickets",
        description="Lists the tickets that the buyer bought and kept, or got from another buyer.",
        tags=[TAG],
        parameters=[OF_BUYER],
        responses={200: OneTicketOut(many=True), **problems_of(400, 401, 404, 429, 503)},
    )
    def get(self, request: Request) -> Response:
        found = queries.tickets_of(listed_buyer(request, self.buyer, permission=roles.SEES_CODES))
        return paged(request, found, lambda page: [readers.ticket_body_for(self.buyer, ticket) for ticket in page])


class TicketView(_TicketAPIView):
    @extend_schema(
        operation_id="tickets_read", summary="One ticket", tags=[TAG], responses={200: OneTicketOut, **MISSING}
    )
    def get(self, request: Request, ticket: UUID) -> Response:
        return Response(readers.ticket_body_for(self.buyer, self.ticket(ticket)))


class TicketSvgView(_TicketAPIView):
    @extend_schema(
        operation_id="tickets_qr",
        extensions=refused_with(NoCodeAnyMore),
        summary="Get the ticket's code to scan",
        tags=[TAG],
        responses={(200, "image/svg+xml"): OpenApiTypes.STR, **NO_CODE},
    )
    def get(self, request: Request, ticket: UUID) -> HttpResponse:
        return picture(self.ticket(ticket, to_show_codes=True), kind="svg", content_type="image/svg+xml")


class TicketPngView(_TicketAPIView):
    @extend_schema(
        operation_id="tickets_qr_png",
        extensions=refused_with(NoCodeAnyMore),
        summary="Get the ticket's code to scan, as PNG",
        tags=[TAG],
        responses={(200, "image/png"): OpenApiTypes.BINARY, **NO_CODE},
    )
    def get(self, request: Request, ticket: UUID) -> HttpResponse:
        return picture(self.ticket(ticket, to_show_codes=True), kind="png", content_type="image/png")


def picture(ticket: Ticket, *, kind: Literal["svg", "png"], content_type: str) -> HttpResponse:
    """Answer a picture of the ticket's code. Raises: NoCodeAnyMore."""
    if ticket.void:
        raise NoCodeAnyMore(ticket.void)
    return HttpResponse(paper.qr(ticket.signed_code, kind=kind), content_type=content_type, headers=PRIVATE)


class TicketPaperView(_TicketAPIView):
    @extend_schema(
        operation_id="tickets_pdf",
        summary="Get the ticket to print",
        description=(
            "The PDF is in the language of the request. A void ticket is crossed out and shows the reason and the "
            "date instead of a code."
        ),
        tags=[TAG],
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, **MISSING},
    )
    def get(self, request: Request, ticket: UUID) -> HttpResponse:
        return printed(self.ticket(ticket, to_show_codes=True))


def printed(ticket: Ticket) -> HttpResponse:
    """Answer the ticket as a PDF, in the language of the request."""
    body = paper.ticket_pdf(ticket, language=get_language() or settings.LANGUAGE_CODE)
    headers = {"Content-Disposition": f'inline; filename="ticket-{ticket.pk}.pdf"', **PRIVATE}
    return HttpResponse(body, content_type="application/pdf", headers=headers)


class TicketCalendarView(_TicketAPIView):
    @extend_schema(
        operation_id="tickets_calendar",
        summary="Get the ticket's session for a calendar",
        tags=[TAG],
        responses={(200, "text/calendar"): OpenApiTypes.STR, **MISSING},
    )
    def get(self, request: Request, ticket: UUID) -> HttpResponse:
        return calendar(calendars.of_ticket(self.ticket(ticket)))


class PassOnView(BuyerAPIView):
    throttle_scope = "codes"

    @extend_schema(
        operation_id="tickets_transfer",
        extensions=refused_with("csrf_failed", UnknownReceiver, CannotPassOn),
        summary="Pass the ticket on to another buyer",
        description=(
            "The other buyer has the ticket at once, with a new code. The old code no longer opens any door. "
            "The purchase stays with the first buyer. Used, void and past tickets cannot be passed on: 409 "
            "`cannot_pass_on`, with the `reason`."
        ),
        tags=[TAG],
        parameters=[IDEMPOTENCY_KEY],
        request=PassOnFields,
        responses={
            200: OpenApiResponse(PassedOn, description="Passed on"),
            **problems_of(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
        },
    )
    def post(self, request: Request, ticket: UUID) -> Response:
        fields = PassOnFields(data=request.data)
        fields.is_valid(raise_exception=True)
        queries.find_ticket(ticket, buyer=self.buyer.id)  # other people's requests must not learn about accounts either
        asked: dict[str, Any] = fields.validated_data
        receiver = asked.get("buyer") or transfers.account(asked["username"])
        passed = transfers.pass_on(ticket_id=ticket, giver=self.buyer.id, receiver=receiver)
        told = {"ticket": str(passed.pk), "receiver": str(receiver)}
        stand(request, lambda: written(told, status=200, headers={}))
        return Response(told)
