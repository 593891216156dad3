"""Serve the catalogue of the public API, and let staff put sessions on sale."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, cast
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import get_conditional_response, patch_vary_headers
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import generics
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from base.asking import asking
from base.rest import CursorPagination, IsStaff, problems_of, refused_with
from sessions_app import operations, queries, snapshots
from sessions_app.api.asking import SessionIn
from sessions_app.api.public import CACHEABLE, PublicCatalogue
from sessions_app.api.serializers import (
    CompactSeatMapOut,
    ConcessionOut,
    HallOut,
    PoolOut,
    SeatMapOut,
    SeatMapQuery,
    SessionDetailOut,
    SessionOut,
    ShowOut,
    TicketTypeOut,
    VenueOut,
    money,
)
from sessions_app.models import Hall, Pool, Session, Show, TicketType, Venue
from sessions_app.operations import HallBusy
from sessions_app.snapshots import Snapshot

TAG = ["Catalogue"]
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="1 to 255 visible characters. The same key and payload get the first answer again, for 24 hours.",
)
SMALL_ROOM = OpenApiExample(
    "A small room",
    request_only=True,
    value={
        "show": {"title": "A Cartógrafa"},
        "room": "Sala 1",
        "rows": 4,
        "seats_per_row": 4,
        "starts_at": "2031-05-01T22:30:00Z",
        "price": 2500,
        "currency": "BRL",
        "concessions": [
            {"name": "Meia-entrada", "percent_off": 50, "note": "Carteira de estudante"},
            {"name": "Infantil", "price": 1000},
        ],
        "booking_fee": 150,
        "tax_basis_points": 500,
    },
)
CONCERT = OpenApiExample(
    "General admission",
    request_only=True,
    value={
        "show": {"title": "Lua de Abril"},
        "room": "Picadeiro",
        "starts_at": "2031-05-01T23:00:00Z",
        "currency": "BRL",
        "max_per_buyer": 4,
        "on_sale_at": "2031-04-01T13:00:00Z",
        "ticket_types": [
            {"name": "Pista", "price": 9000, "capacity": 300},
            {"name": "Mezanino", "price": 16000, "capacity": 60},
        ],
    },
)

FESTIVAL = OpenApiExample(
    "Shared pools and rules of their own",
    request_only=True,
    value={
        "show": {"title": "Festival do Porto"},
        "starts_at": "2031-05-03T18:00:00Z",
        "pools": [{"name": "Saturday", "capacity": 500}, {"name": "Sunday", "capacity": 400}],
        "ticket_types": [
            {"name": "Saturday only", "price": 12000, "capacity": 500, "pools": ["Saturday"]},
            {
                "name": "Weekend, early",
                "price": 18000,
                "capacity": 100,
                "pools": ["Saturday", "Sunday"],
                "sells_until": "2031-04-01T03:00:00Z",
                "max_per_buyer": 2,
            },
        ],
    },
)


class ByName(CursorPagination):
    ordering = ("name", "id")


class ByTitle(CursorPagination):
    ordering = ("title", "id")


class ByStart(CursorPagination):
    ordering = ("starts_at", "id")


class ByAge(CursorPagination):
    ordering = ("id",)


class SessionFilter(django_filters.FilterSet):
    show = django_filters.UUIDFilter(field_name="show_id")
    venue = django_filters.UUIDFilter(field_name="hall__venue_id")
    date = django_filters.DateFilter(
        field_name="starts_at",
        lookup_expr="date",
        input_formats=["%Y-%m-%d"],
        help_text="The day, in the time zone of the house.",
    )
    search = django_filters.CharFilter(
        method="matching",
        max_length=100,
        help_text="Words from the title of a show, the name of a venue, its city, or the name of a room.",
    )

    def matching(self, sessions: QuerySet[Session], _name: str, text: str) -> QuerySet[Session]:
        return queries.matching(sessions, text)


class TicketTypeFilter(django_filters.FilterSet):
    session = django_filters.UUIDFilter(field_name="session_id")


@extend_schema(tags=TAG, summary="Venues", responses={200: VenueOut(many=True), **problems_of(400)})
class VenueList(PublicCatalogue, generics.ListAPIView[Venue]):
    queryset = queries.venues()
    serializer_class = VenueOut
    pagination_class = ByName


@extend_schema(tags=TAG, summary="Halls", responses={200: HallOut(many=True), **problems_of(400)})
class HallList(PublicCatalogue, generics.ListAPIView[Hall]):
    queryset = queries.halls()
    serializer_class = HallOut
    pagination_class = ByName


@extend_schema(tags=TAG, summary="Shows", responses={200: ShowOut(many=True), **problems_of(400)})
class ShowList(PublicCatalogue, generics.ListAPIView[Show]):
    queryset = queries.shows()
    serializer_class = ShowOut
    pagination_class = ByTitle


@extend_schema(tags=TAG, summary="Ticket types", responses={200: TicketTypeOut(many=True), **problems_of(400)})
class TicketTypeList(PublicCatalogue, generics.ListAPIView[TicketType]):
    """List general admission and the prices of seats; without `session`, those of all upcoming sessions."""

    serializer_class = TicketTypeOut
    pagination_class = ByAge
    filterset_class = TicketTypeFilter

    def get_queryset(self) -> QuerySet[TicketType]:
        types = queries.ticket_types() if "session" in self.request.query_params else queries.ticket_types_to_come()
        return types.prefetch_related("pools")


class MayAddSessions(IsStaff):
    """Permit staff to add sessions; staff with groups needs one that allows it.

    The gate's accounts are staff too, and put nothing on sale.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        buyer = asking(request)
        if not super().has_permission(request, view) or buyer is None:
            return False
        return buyer.may("sessions_app.add_session")


class SessionList(PublicCatalogue, generics.ListAPIView[Session]):
    serializer_class = SessionOut
    pagination_class = ByStart
    filterset_class = SessionFilter

    def get_queryset(self) -> QuerySet[Session]:
        return queries.on_sale()

    def get_permissions(self) -> list[BasePermission]:
        return [MayAddSessions() if self.request.method == "POST" else AllowAny()]

    @extend_schema(tags=TAG, summary="List the sessions", responses={200: SessionOut(many=True), **problems_of(400)})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the sessions that are on sale or will be, soonest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        tags=TAG,
        summary="Put a session on sale (staff)",
        extensions=refused_with("csrf_failed", "forbidden", HallBusy),
        request=SessionIn,
        responses={201: SessionDetailOut, **problems_of(400, 401, 403, 409, 422)},
        parameters=[IDEMPOTENCY_KEY],
        examples=[SMALL_ROOM, CONCERT, FESTIVAL],
    )
    def post(self, request: Request) -> Response:
        """Create the session's seats, labelled `A1` …: those of the hall, or of `rows` by `seats_per_row`.

        With neither, the session has general admission only.
        """
        asked = SessionIn(data=request.data)
        asked.is_valid(raise_exception=True)
        session = operations.create_session(**asked.validated_data)
        location = reverse("api-session", args=[session.pk])
        return Response(detail(session.pk), status=201, headers={"Location": location})


class SessionDetail(PublicCatalogue, APIView):
    @extend_schema(tags=TAG, summary="One session", responses={200: SessionDetailOut, **problems_of(404)})
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(detail(pk))


def detail(session_id: UUID) -> dict[str, object]:
    session = queries.find(session_id)
    types = queries.ticket_types().filter(session=session_id).prefetch_related("pools")
    return {
        **SessionOut(session).data,
        "counts": queries.counts([session_id])[session_id],
        "ticket_types": TicketTypeOut(types, many=True).data,
        "pools": PoolOut(Pool.objects.filter(session=session_id), many=True).data,
        "concessions": ConcessionOut(session.concessions.select_related("session"), many=True).data,
        "booking_fee": money(session.booking_fee, session.currency),
        "booking_fee_basis_points": session.booking_fee_basis_points,
        "tax_basis_points": session.tax_basis_points,
    }


class SessionSeats(APIView):
    query_fields = ("format", "at")

    @extend_schema(
        tags=TAG,
        summary="Its seats",
        extensions=refused_with("forbidden", "not_authenticated"),
        parameters=[SeatMapQuery],
        responses={
            200: PolymorphicProxySerializer(
                component_name="SeatMapAnswer",
                serializers=[SeatMapOut, CompactSeatMapOut],
                resource_type_field_name=None,
            ),
            **problems_of(400, 401, 403, 404),
        },
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Return the map and its version, which is the `ETag`. Only staff may use `at`."""
        asked = SeatMapQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        if "at" in asked.validated_data:
            return self.past(request, pk, **asked.validated_data)
        version, now = queries.version_now(pk)
        unchanged = get_conditional_response(cast(HttpRequest, request), etag=f'"{version}"')
        if unchanged is not None:
            return fresh(unchanged, version)
        compact = asked.validated_data.get("format") == "compact"
        found = snapshots.of(pk, version=version, now=now, compact=compact)
        return fresh(as_accepted(found, request.headers.get("Accept-Encoding", "")), found.version)

    def past(self, request: Request, pk: UUID, *, at: dt.datetime, **_format: Any) -> Response:
        if not IsStaff().has_permission(request, self):
            self.permission_denied(request)
        body = queries.seat_map_at(pk, at)
        return Response(queries.compacted(body) if _format else queries.spelled_out(body))


def as_accepted(found: Snapshot, accepted: str) -> HttpResponse:
    """Send the compressed form to every client that accepts it, which nearly all do."""
    packed = re.search(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", accepted)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    return HttpResponse(found.packed if packed else found.plain, content_type="application/json", headers=headers)


def fresh(response: HttpResponseBase, version: int) -> HttpResponseBase:
    """Let caches keep the answer for a second, and then ask by its version."""
    response["ETag"] = f'"{version}"'
    response["Cache-Control"] = CACHEABLE
    patch_vary_headers(response, ["Accept-Encoding"])
    return response
