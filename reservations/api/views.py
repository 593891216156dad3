"""Serve reservations over HTTP: decode, one domain call, encode."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from base.addresses import client_ip
from base.asking import KEY, Buyer, idempotency_key
from base.refusals import Refused
from base.rest import (
    UUID_TEXT,
    BusyAPIView,
    BuyerAPIView,
    CursorPagination,
    as_staff_too,
    is_plain_json,
    listed_buyer,
    paged,
    prefer_wait,
    problems_of,
    refused_with,
)
from base.standing import stand
from base.strict import NoBody
from reservations import queries, refusals
from reservations.admission import front_door
from reservations.admission.entries import Admission
from reservations.admission.sale_facts import facts_of
from reservations.api.serializers import HELD, LOST, QUEUED, AskFields, ReservationOut, TermsFields, plain_ask
from reservations.bodies import OrderBody, ReservationBody
from reservations.hold_request import Ask
from reservations.models import LIVE, Status
from reservations.operations import holding
from reservations.refusals import (
    AlreadyPaid,
    ExtensionLimit,
    LimitReached,
    NotHeld,
    PaymentInProgress,
    ReservationExpired,
    SaleNotOpen,
    SeatsUnavailable,
    TooManyHolds,
    TooManySeats,
    UnknownSeat,
)

log = structlog.get_logger(__name__)

TAG = "Holding seats"
POLL_SECONDS = "1"  # when to ask for a queued reservation again
Body = Mapping[str, Any]
SalesOf = Callable[
    [Collection[UUID], Buyer], Mapping[str, Body]
]  # sale bodies, as the buyer may see them, by the sale's id as text

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": f"^({KEY})$"},
    OpenApiParameter.HEADER,
    description="1 to 255 visible characters. The same key and payload get the first answer again, for 24 hours.",
)
PREFER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=N`: wait up to N seconds (at most 10) for the final outcome.",
)
SEES_RESERVATIONS = "reservations.view_reservation"  # of any buyer
OF_BUYER = OpenApiParameter(
    "buyer",
    {"type": "string", "pattern": f"^({UUID_TEXT})?$"},
    description="Only for staff: list this buyer's. Empty: list those of all buyers.",
)

OF_SESSION = OpenApiParameter(
    "session", {"type": "string", "pattern": f"^({UUID_TEXT})$"}, description="List only those of this session."
)


def no_sales(_sales: Collection[UUID], _reader: Buyer) -> Mapping[str, Body]:
    """Return no sales: they are above this app, and `config.urls` passes in the function that reads them."""
    return {}


class DoorView(BusyAPIView):
    """Answer requests that go through the front door; subclasses differ in the body of the answer."""

    sales_of: SalesOf = staticmethod(no_sales)
    pagination_class = CursorPagination
    admission: Admission | None = None
    queued: str = Status.QUEUED

    def asked_plainly(self, sent: HttpRequest) -> Ask | None:
        """Return the ask, or None if its body must be read with care. See Note [Who judges a body].

        Raises: the errors of its headers.
        """
        raise NotImplementedError

    def let_in(self, sent: HttpRequest, ask: Ask) -> HttpResponseBase:
        if ask.voucher or ask.lane_code:
            self.throttle_scope = "codes"
            self.check_throttles(sent)  # type: ignore[arg-type] # it asks nothing that Django's own can't tell
        wait = prefer_wait(sent)
        admission = front_door.admit(
            ask, buyer=self.buyer.id, is_guest=self.buyer.is_guest, wait=wait, address=client_ip(sent)
        )
        if admission.replay:
            return replayed(sent, admission)
        self.admission = admission
        stand(sent, lambda: self.plainly_accepted(sent, admission))
        self.waited = wait if admission.waited else 0.0
        outcome = admission.outcome
        return self.accepted(sent, admission) if outcome is None else self.allocated(self.first_of(outcome))

    def accepted(self, sent: HttpRequest, admission: Admission) -> HttpResponse:
        headers = {"Location": location(sent.path, admission.id), "Retry-After": POLL_SECONDS}
        if admission.replayed:
            headers["Idempotent-Replayed"] = "true"
        return written(self.told(queries.queued_body(admission.request)), status=202, headers=headers)

    def plainly_accepted(self, sent: HttpRequest, admission: Admission) -> HttpResponse:
        """Answer that the request was stored. Never raises."""
        try:
            return self.accepted(sent, admission)
        except Exception:
            log.exception("door.answer_not_told")
        headers = {"Location": location(sent.path, admission.id), "Retry-After": POLL_SECONDS}
        return written({"id": str(admission.id), "status": self.queued}, status=202, headers=headers)

    def first_of(self, outcome: ReservationBody) -> ReservationBody:
        """Return the outcome, or for a duplicate (Redis forgot the key) the outcome of the key's first request."""
        first = outcome["duplicate_of"]
        return queries.find(UUID(first), buyer=None) if first else outcome  # a key belongs to one person

    def allocated(self, outcome: ReservationBody) -> HttpResponse:
        """Return 201 if the request won; raise its refusal if not, as admission would have."""
        if outcome["standby"] is not None:
            headers = {"Location": location(self.request.path, outcome["id"]), "Retry-After": POLL_SECONDS}
            return written(self.told(outcome), status=202, headers=headers)
        if outcome["status"] in LIVE:
            headers = {"Location": location(self.request.path, outcome["id"])}
            return written(self.told(outcome), status=201, headers=headers)
        raise self.refusal(outcome)

    def told(self, reservation: ReservationBody) -> Body:
        """Return the body of the answer."""
        return reservation

    def refusal(self, outcome: ReservationBody) -> Exception:
        return refusal(outcome)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Store the answer after a wait, a refusal too: it is the answer of that key from now on."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        if self.admission is not None and self.admission.waited:
            if isinstance(answer, Response):
                answer.render()
            failed = answer.status_code >= 500  # then only the acceptance is the answer of the key
            status, body = (0, "") if failed else (answer.status_code, answer.content.decode())
            front_door.keep_answer(self.admission, status=status, body=body)
        return answer

    def with_sales(self, bodies: Sequence[ReservationBody | OrderBody]) -> list[Body]:
        sales = self.sales_of([UUID(body["sale"]) for body in bodies if body["sale"]], self.buyer)
        return [{**body, "sale": sales.get(body["sale"] or "")} for body in bodies]


class ReservationsView(DoorView):
    """Ask for seats, and list the buyer's own requests."""

    query_fields = ("buyer", "session")

    def asked_plainly(self, sent: HttpRequest) -> Ask | None:
        ask = plain_ask(sent.body) if is_plain_json(sent) else None
        return ask and with_key(ask, sent)

    @extend_schema(
        operation_id="reservations_create",
        extensions=refused_with(*refusals.ADMISSION, "csrf_failed"),
        summary="Ask for seats",
        description=(
            "The buyer gets all of the seats or none. Accepted requests are stored durably and allocated once, "
            "in order of arrival. With `Prefer: wait=N` the answer is the outcome, if it comes in time. A buyer "
            "who holds too many unpaid places, or let too many holds lapse, gets 429 `too_many_holds`; "
            "`Retry-After` says when to try again. For guests, all holds of an address count, including places "
            "that cost nothing."
        ),
        tags=[TAG],
        parameters=[IDEMPOTENCY_KEY, PREFER],
        request=AskFields,
        responses={
            201: OpenApiResponse(ReservationOut, description="Held, until `expires_at`", examples=[HELD]),
            202: OpenApiResponse(ReservationOut, description="Accepted, in the queue", examples=[QUEUED]),
            **problems_of(400, 401, 403, 413, 415, 422, 429, 503),
            **problems_of(409, examples=[LOST]),
        },
    )
    def post(self, request: Request) -> HttpResponseBase:
        sent = request._request  # noqa: SLF001 DRF offers Django's request under no other name
        return self.let_in(sent, self.asked_plainly(sent) or carefully_asked(request))

    @extend_schema(
        operation_id="reservations_list",
        summary="List the buyer's reservations",
        description="Newest first. The first page begins with those that are still in the queue.",
        tags=[TAG],
        parameters=[OF_BUYER, OF_SESSION],
        responses={200: ReservationOut(many=True), **problems_of(400, 401, 404, 429, 503)},
    )
    def get(self, request: Request) -> Response:
        whose, session = listed_buyer(request, self.buyer, permission=SEES_RESERVATIONS), asked_session(request)
        found = queries.of_buyer(whose)
        return paged(
            request,
            found.filter(session=session) if session else found,
            lambda page: self.with_sales([queries.reservation_body(row) for row in page]),
            first=lambda: waiting(whose, session=session) if whose else [],
        )


def asked_session(request: Request) -> UUID | None:
    """Return the session whose reservations are listed; None: those of all. Raises: ValidationError."""
    asked = request.query_params.get("session")
    if asked is not None and not re.fullmatch(UUID_TEXT, asked):
        raise exceptions.ValidationError({"session": [_("Must be the id of a session.")]})
    return UUID(asked) if asked else None


def waiting(buyer: UUID, *, session: UUID | None) -> list[ReservationBody]:
    """Return the buyer's requests in the queue; with `session`, only those for its places."""
    asked = [request for request in queries.in_queue(buyer) if session in {None, request.session}]
    return [queries.queued_body(request) for request in asked]


class ReservationView(BuyerAPIView):
    """Read or give up one reservation."""

    sales_of: SalesOf = staticmethod(no_sales)

    @extend_schema(
        operation_id="reservations_read",
        summary="Read the state of a reservation",
        tags=[TAG],
        responses={
            200: OpenApiResponse(ReservationOut, examples=[HELD, QUEUED]),
            **problems_of(401, 404, 429, 503),
        },
    )
    def get(self, request: Request, reservation: UUID) -> Response:
        body = as_staff_too(
            self.buyer, lambda owner: queries.find(reservation, buyer=owner), permission=SEES_RESERVATIONS
        )
        sales = self.sales_of([UUID(body["sale"])], self.buyer) if body["sale"] else {}
        return Response({**body, "sale": sales.get(body["sale"] or "")})

    @extend_schema(
        operation_id="reservations_release",
        extensions=refused_with("csrf_failed", PaymentInProgress, AlreadyPaid),
        summary="Give up the seats",
        description="The seats are free at once. You may repeat the request.",
        tags=[TAG],
        responses={
            204: OpenApiResponse(description="Given up"),
            **problems_of(401, 403, 404, 409, 429, 503),
        },
    )
    def delete(self, request: Request, reservation: UUID) -> Response:
        holding.release(reservation_id=reservation, buyer=self.buyer.id)
        return Response(status=204)


class ExtendView(BuyerAPIView):
    @extend_schema(
        operation_id="reservations_extend",
        extensions=refused_with(
            "csrf_failed", NotHeld, ExtensionLimit, PaymentInProgress, AlreadyPaid, ReservationExpired
        ),
        summary="Take more time",
        description=(
            "Adds `hold_seconds` to the hold. The hold can last at most `max_hold_seconds` of the session from its "
            "beginning; `extensions_left` says how many extensions are left."
        ),
        tags=[TAG],
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={
            200: OpenApiResponse(ReservationOut, examples=[HELD]),
            **problems_of(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
        },
    )
    def post(self, request: Request, reservation: UUID) -> Response:
        NoBody(data=request.data or {}).is_valid(raise_exception=True)
        return Response(holding.extend(reservation_id=reservation, buyer=self.buyer.id))


class PriceView(BuyerAPIView):
    @extend_schema(
        operation_id="reservations_price",
        extensions=refused_with(
            *refusals.TERMS, UnknownSeat, NotHeld, PaymentInProgress, AlreadyPaid, ReservationExpired, "csrf_failed"
        ),
        summary="Set concessions and a voucher",
        description=(
            "Calculates the price of the held places again. Places keep the ticket type's price from the time "
            "of the hold, and get the session's current fees. From now on the voucher counts as used, until the "
            "reservation ends without a sale. Refusals name the field: 400 `unknown_concession`, "
            "`concession_count`, `unknown_seat`, `voucher_unknown`; 409 `voucher_expired`, "
            "`voucher_not_yet_valid`, `voucher_used_up`, `voucher_not_for_this`."
        ),
        tags=[TAG],
        parameters=[IDEMPOTENCY_KEY],
        request=TermsFields,
        responses={
            200: OpenApiResponse(ReservationOut, examples=[HELD]),
            **problems_of(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
        },
    )
    def post(self, request: Request, reservation: UUID) -> Response:
        fields = TermsFields(data=request.data)
        fields.is_valid(raise_exception=True)
        if fields.validated_data.get("voucher"):
            self.throttle_scope = "codes"
            self.check_throttles(request)
        return Response(holding.price(reservation_id=reservation, buyer=self.buyer.id, **fields.terms()))


# --- Answers


def carefully_asked(request: Request) -> Ask:
    """Read the body with care. Raises: ValidationError."""
    fields = AskFields(data=request.data)
    fields.is_valid(raise_exception=True)
    return with_key(fields.ask(), request)


def with_key(ask: Ask, request: Request | HttpRequest) -> Ask:
    key = idempotency_key(request.META)
    return msgspec.structs.replace(ask, key=key) if key else ask


def location(collection: str, reservation: UUID | str) -> str:
    return f"{collection}/{reservation}"


def written(body: Body, *, status: int, headers: dict[str, str]) -> HttpResponse:
    return HttpResponse(
        msgspec.json.encode(body), status=status, headers={"Content-Type": "application/json", **headers}
    )


def replayed(request: HttpRequest, admission: Admission) -> HttpResponse:
    """Send the first answer of the key again, unchanged."""
    assert admission.replay is not None
    status, body = admission.replay
    headers = {"Idempotent-Replayed": "true"}
    if status < 300:
        headers["Location"] = location(request.path, admission.id)
    if status == 202:
        headers["Retry-After"] = POLL_SECONDS
    media_type = "application/json" if status < 400 else "application/problem+json"
    return HttpResponse(body, status=status, headers=headers, content_type=media_type)


def refusal(outcome: ReservationBody) -> Refused:
    """Return the refusal that a reservation ended with, with the facts that it has at admission."""
    entry = refusals.ENDINGS.get(outcome["reason"] or "", NotHeld)
    return entry(**FACTS[entry](outcome)) if entry in FACTS else entry()


def _opens_at(outcome: ReservationBody) -> dt.datetime | None:
    kind = outcome["ticket_type"]
    return facts_of(UUID(outcome["session"])).opens_at(UUID(kind) if kind else None)


def _limit_of(outcome: ReservationBody) -> int:
    """Return the narrowest limit that applies; the row doesn't say which one refused."""
    facts = facts_of(UUID(outcome["session"]))
    stock = facts.stock.get(UUID(outcome["ticket_type"])) if outcome["ticket_type"] else None
    own = (stock.max_per_order, stock.max_per_buyer) if stock else ()
    return min([facts.max_per_buyer, *(most for most in own if most)])


FACTS: dict[type[Refused], Callable[[ReservationBody], dict[str, Any]]] = {
    SeatsUnavailable: lambda outcome: {
        "conflicts": {item["seat"]: item["reason"] for item in outcome["conflicts"]},
    },
    SaleNotOpen: lambda outcome: {"on_sale_at": _opens_at(outcome)},
    LimitReached: lambda outcome: {"limit": _limit_of(outcome)},
    TooManyHolds: lambda outcome: {"retry_after": facts_of(UUID(outcome["session"])).hold_seconds},
    TooManySeats: lambda outcome: {"limit": _limit_of(outcome), "field": "quantity"},
}
