"""Serve the doors over HTTP, and the public keys with which a gate judges codes."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

import sessions_app.queries
from base.asking import asking
from base.clock import reckoned_now, rfc3339
from base.rest import BuyerAPIView, IsBuyer, problems_of, refused_with
from base.standing import stand
from reservations.api.views import IDEMPOTENCY_KEY, written
from sessions_app.models import Session
from ticketing import codes, queries
from ticketing.api.serializers import CheckedIn, CheckInFields, DoorList
from ticketing.models import CheckIn, User
from ticketing.refusals import (
    AlreadyUsed,
    ForgedCode,
    NotYet,
    OtherSession,
    PaymentDue,
    SessionCancelled,
    TicketVoid,
    TooLate,
    UnknownCode,
)
from ticketing.tickets import doors

TAG = "Doors"
PERMISSION = "ticketing.add_checkin"  # the group `gate` has it
ALREADY_USED = OpenApiExample(
    "The ticket was already used",
    value={
        "type": "urn:frontrow:problem:already_used",
        "title": "Already used",
        "status": 409,
        "detail": "This ticket was already used.",
        "code": "already_used",
        "used_at": "2026-11-21T22:14:09Z",
        "gate": "Door 2",
        "request_id": "01a20076-cec2-76b1-9297-6793843a4bba",
    },
    response_only=True,
)


class IsGateStaff(IsBuyer):
    """Allow accounts that may check in. Other buyers get 403, requests without credentials 401."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        buyer = asking(request)
        return buyer is not None and buyer.user is not None and buyer.user.has_perm(PERMISSION)


class CheckInsView(BuyerAPIView):
    permission_classes = [IsGateStaff]

    @extend_schema(
        operation_id="check_ins_create",
        extensions=refused_with(
            "csrf_failed",
            "forbidden",
            ForgedCode,
            UnknownCode,
            TicketVoid,
            OtherSession,
            SessionCancelled,
            NotYet,
            TooLate,
            PaymentDue,
            AlreadyUsed,
        ),
        summary="Admit a ticket",
        description=(
            "A ticket gets 200 once, and then 409 `already_used` with the time and the gate of its use. Other "
            "refusals: 400 `bad_signature` (forged or damaged), 404 `unknown_code`, 409 `ticket_void` (with the "
            "`reason` and the time), 409 `other_session`, 409 `session_cancelled`, 409 `not_yet` (with "
            "`opens_at`) or `too_late` (with `ended_at`) unless the request has `anyway`, 409 `payment_due` "
            "(with the amount `due`) unless the request has `paid`, which says that the money was taken. A gate "
            "without a connection sends its scans later, with `seconds_ago`. A late scan is judged by the facts "
            "of its own time, and the earliest scan of a ticket counts. `also_used` and `refunded_at` tell the "
            "gate facts that it could not know."
        ),
        tags=[TAG],
        parameters=[IDEMPOTENCY_KEY],
        request=CheckInFields,
        responses={
            200: OpenApiResponse(CheckedIn, description="Let in"),
            **problems_of(400, 401, 403, 404, 413, 415, 422, 429, 503),
            **problems_of(409, examples=[ALREADY_USED]),
        },
    )
    def post(self, request: Request) -> Response:
        fields = CheckInFields(data=request.data)
        fields.is_valid(raise_exception=True)
        made = doors.check_in(by=cast(User, self.buyer.user), **fields.validated_data)
        stand(request, lambda: written(plainly_checked_in(made), status=200, headers={}))
        return Response(checked_in(made))


def plainly_checked_in(made: CheckIn) -> dict[str, object]:
    """Answer that the bearer is admitted, without reading anything. Fields that need a query stay empty."""
    kind = {"id": str(made.ticket.ticket_type_id), "name": ""}
    unread = dict.fromkeys(("seat", "concession", "refunded_at", "void_reason", "also_used"))
    told = {"id": str(made.pk), "ticket": str(made.ticket_id), "session": str(made.ticket.session_id), "show": ""}
    used = {"status": "used", "used_at": rfc3339(made.scanned_at), "gate": made.gate}
    return {**unread, **told, "ticket_type": kind, **used}


def checked_in(made: CheckIn) -> dict[str, object]:
    ticket, displaced = made.ticket, doors.displaced_by(made)
    return {
        "id": str(made.pk),
        "ticket": str(ticket.pk),
        "session": str(ticket.session_id),
        "show": ticket.session.show.title,
        "seat": ticket.seat.label if ticket.seat else None,
        "ticket_type": {"id": str(ticket.ticket_type_id), "name": ticket.ticket_type.name},
        "concession": {"name": ticket.concession, "note": ticket.concession_note} if ticket.concession else None,
        "status": ticket.status,
        "used_at": rfc3339(made.scanned_at),
        "gate": made.gate,
        "refunded_at": rfc3339(ticket.refund.asked_at) if ticket.refund else None,
        "void_reason": ticket.void.reason if ticket.void else None,
        "also_used": {"used_at": rfc3339(displaced.scanned_at), "gate": displaced.gate} if displaced else None,
    }


def admission_of(session: Session) -> dict[str, str | None]:
    """Return when the doors of the session are open, ready for JSON."""
    return {
        "opens_at": rfc3339(doors.opens_at(session)),
        "closes_at": rfc3339(session.ends_at),
        "cancelled_at": rfc3339(session.cancelled_at) if session.cancelled_at else None,
    }


class DoorListView(BuyerAPIView):
    permission_classes = [IsGateStaff]

    @extend_schema(
        operation_id="sessions_door_tickets",
        extensions=refused_with("forbidden"),
        summary="Get the list that a gate needs without a connection",
        description=(
            "Returns the public keys and a digest of the code of each ticket of the session. A gate can "
            "recognise a ticket with them, but cannot make one."
        ),
        tags=[TAG],
        responses={200: DoorList, **problems_of(401, 403, 404, 429, 503)},
    )
    def get(self, request: Request, session: UUID) -> Response:
        found = sessions_app.queries.find(session)
        return Response(
            {
                "session": str(found.pk),
                "made_at": rfc3339(reckoned_now()),
                **admission_of(found),
                "keys": codes.published()["keys"],
                "tickets": list(queries.door_list(found)),
            }
        )


@require_safe
def public_keys(request: HttpRequest) -> JsonResponse:
    """Serve `/.well-known/frontrow-tickets.json`, with which any person on any page may check our tickets."""
    headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
    return JsonResponse(codes.published(), headers=headers)
