"""Every error a client can see, as `application/problem+json` (RFC 9457).

The domain raises errors with facts; what they mean over HTTP stands in one table here, `PROBLEMS`.
"""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg_pool
import structlog
from axes.helpers import get_cool_off
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.middleware import csrf
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views import defaults
from psycopg import errors as sql
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from base.asking import CSRFFailed, OtherBuyer
from base.breaker import BreakerOpen
from reservations import queries
from reservations.admission import front_door, sale_facts
from reservations.allocation import pricing
from reservations.operations import holding, joining
from reservations.queueing import lines
from sessions_app import operations as catalogue
from ticketing import codes, voiding
from ticketing import queries as ticketing_queries
from ticketing.api.sales import PaymentDeclined
from ticketing.payments import gateways, refunds, together
from ticketing.people.hashing import HashingBusy
from ticketing.tickets import doors, transfers

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1  # after "busy" and while a dependency restarts
WHOLE_BODY = "body"


@dataclass(frozen=True)
class Known:
    """What an error means over HTTP. `facts` names what of it the client is told, or makes that from it."""

    status: int
    code: str
    title: str
    detail: Any
    facts: Callable[[Any], dict[str, Any]] = field(default=lambda _error: {})
    retry_after: Callable[[Any], float | None] = field(default=lambda _error: None)


def _after(seconds: float) -> Callable[[Any], float]:
    return lambda _error: seconds


def _at(name: str, message: object) -> dict[str, Any]:
    """Which field is wrong, as in every validation error."""
    return {"errors": [{"field": name, "message": str(message)}]}


def _named(seats: list[str]) -> dict[str, str]:
    return {"seats": ", ".join(seats[:10])}


def _tokens(known: tuple[str, ...]) -> Any:
    return _("One of %(tokens)s.") % {"tokens": ", ".join(known)} if known else _("The gateway can't take this token.")


NO_SUCH_CODE = _("No ticket has this code.")
BUSY_OFFICE = _("The box office is busy; try again.")


def _unavailable(detail: Any = BUSY_OFFICE) -> Known:
    return Known(503, "unavailable", "Unavailable", detail, retry_after=_after(RETRY_SECONDS))


WRONG_COUNT = _("Say how many places have each concession: together no more than there are.")


def _voucher(status: int, code: str, title: str, detail: Any) -> Known:
    return Known(status, code, title, detail, facts=lambda _error: _at("voucher", detail))


def rfc3339(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


LIMIT_REACHED = Known(
    409,
    "limit_reached",
    "Limit reached",
    _("With what you hold or bought it would be more than this session allows a buyer."),
    facts=lambda error: {"limit": error.limit},
)
PROBLEMS: dict[type[BaseException], Known] = {
    # --- What HTTP itself knows
    exceptions.ParseError: Known(400, "malformed", "Malformed request", _("The body is not valid JSON.")),
    exceptions.UnsupportedMediaType: Known(
        415, "unsupported_media_type", "Unsupported media type", _("Send application/json.")
    ),
    exceptions.MethodNotAllowed: Known(
        405, "method_not_allowed", "Method not allowed", _("This address does not take that method.")
    ),
    exceptions.NotAcceptable: Known(406, "not_acceptable", "Not acceptable", _("Only JSON is served here.")),
    exceptions.NotAuthenticated: Known(
        401, "not_authenticated", "Credentials are missing", _("Send an access token, or sign in.")
    ),
    exceptions.AuthenticationFailed: Known(
        401, "bad_token", "Credentials are not valid", _("The credentials are not valid.")
    ),
    exceptions.PermissionDenied: Known(403, "forbidden", "Not allowed", _("This account may not do that.")),
    exceptions.NotFound: Known(404, "not_found", "Not found", _("There is nothing here.")),
    exceptions.Throttled: Known(
        429,
        "rate_limited",
        "Too many requests",
        _("Too many requests from here; try again a little later."),
        retry_after=lambda error: error.wait,
    ),
    RequestDataTooBig: Known(413, "too_large", "Request too large", _("The body is larger than this service takes.")),
    UnreadablePostError: Known(400, "malformed", "Malformed request", _("The body could not be read.")),
    MultiPartParserError: Known(400, "malformed", "Malformed request", _("The body could not be read.")),
    DataError: Known(400, "bad_request", "Bad request", _("A value is outside of what can be stored.")),
    # --- What is on sale
    catalogue.HallBusy: Known(
        409,
        "hall_busy",
        "The hall is busy",
        _("Another session is in that hall at that time."),
        facts=lambda error: error.facts,
    ),
    catalogue.HasBuyers: Known(409, "session_has_buyers", "The session has buyers", _("Somebody holds or bought it.")),
    # --- Asking for seats
    front_door.SeatsUnavailable: Known(
        409,
        "seats_unavailable",
        "Seats unavailable",
        _("Some of the seats are taken; none was held."),
        facts=lambda error: {
            "conflicts": [{"seat": seat, "reason": reason} for seat, reason in sorted(error.conflicts.items())]
        },
    ),
    front_door.SoldOut: Known(409, "sold_out", "Sold out", _("Not that many places are left.")),
    front_door.SaleNotOpen: Known(
        409,
        "sale_not_open",
        "Not on sale yet",
        _("The sale has not opened yet."),
        facts=lambda error: {"on_sale_at": error.on_sale_at and rfc3339(error.on_sale_at)},
    ),
    front_door.SaleClosed: Known(409, "sale_closed", "Sale closed", _("The session has started or was cancelled.")),
    front_door.LimitReached: LIMIT_REACHED,
    joining.LimitPassed: LIMIT_REACHED,
    front_door.TooManyHolds: Known(
        429,
        "too_many_holds",
        "Too many holds",
        _("Too many places are held from here and not paid for. Pay for them or give them back, or come again later."),
        retry_after=lambda error: error.retry_after,
    ),
    front_door.TooManySeats: Known(
        400,
        "too_many_seats",
        "Too many seats",
        _("One request asks for more than this session allows a buyer."),
        facts=lambda error: {
            "limit": error.limit,
            **_at(error.field, _("At most %(limit)d.") % {"limit": error.limit}),
        },
    ),
    front_door.UnknownSeat: Known(
        400,
        "unknown_seat",
        "Unknown seat",
        _("The session has no seats of these names."),
        facts=lambda error: {"seats": error.seats, **_at("seats", _("Unknown: %(seats)s.") % _named(error.seats))},
    ),
    front_door.DuplicateSeat: Known(
        400,
        "duplicate_seat",
        "Seat named twice",
        _("The same seat stands in the request twice."),
        facts=lambda error: {"seats": error.seats, **_at("seats", _("Named twice: %(seats)s.") % _named(error.seats))},
    ),
    front_door.UnknownTicketType: Known(
        400,
        "unknown_ticket_type",
        "Unknown ticket type",
        _("The session sells no such places without a number."),
        facts=lambda _error: _at("ticket_type", _("Unknown to this session.")),
    ),
    front_door.AccountRequired: Known(
        403,
        "account_required",
        "An account is needed",
        _("This session is for people with an account: sign in to buy."),
    ),
    front_door.SignedInSince: Known(
        401,
        "bad_token",
        "Credentials are not valid",
        _("You have signed in or registered since: use the account's credentials."),
    ),
    front_door.SoldAtOnce: Known(
        400,
        "sold_at_once",
        "Sold at once only",
        _("This ticket can't be held. Order it, with its payment."),
        facts=lambda _error: _at("ticket_type", _("It can't be held: order it with POST /orders, with its payment.")),
    ),
    front_door.PaymentNeeded: Known(
        400,
        "payment_needed",
        "The payment is missing",
        _("This ticket can't be held: the order must carry its payment."),
        facts=lambda _error: _at("payment", _("An order for this ticket must carry its payment.")),
    ),
    front_door.Crowded: Known(
        429,
        "rate_limited",
        "Too many requests",
        _("More people ask for this session than are let in a second. Ask again in a moment."),
        retry_after=lambda error: error.retry_after,
    ),
    front_door.UnknownLane: Known(
        400,
        "unknown_lane",
        "Unknown lane",
        _("The session has no lane of this code; without a code you stand in everybody's."),
        facts=lambda _error: _at("lane_code", _("Unknown to this session.")),
    ),
    front_door.NothingAsked: Known(
        400,
        "invalid",
        "The request is not valid",
        _("It asks for no place at all."),
        facts=lambda _error: _at(WHOLE_BODY, _("It asks for no place at all.")),
    ),
    sale_facts.UnknownSession: Known(
        400,
        "unknown_session",
        "Unknown session",
        _("There is no such session."),
        facts=lambda _error: _at("session", _("There is no such session.")),
    ),
    front_door.IdempotencyMismatch: Known(
        422,
        "idempotency_mismatch",
        "Idempotency key used for something else",
        _("This Idempotency-Key came with another request before."),
    ),
    OtherBuyer: Known(
        409,
        "other_buyer",
        "Asked by another person",
        _(
            "Another person asked for this, before you signed in or out. Nothing was done; ask for it yourself if you want it."
        ),
    ),
    front_door.RequestInFlight: Known(
        409,
        "request_in_flight",
        "The first request is still in flight",
        _("A request with this Idempotency-Key has no answer yet; ask again in a moment."),
        retry_after=lambda error: error.retry_after,
    ),
    # --- What a reservation may do
    holding.ReservationExpired: Known(
        410, "reservation_expired", "Reservation expired", _("The time to pay is over; nothing was charged.")
    ),
    holding.ExtensionLimit: Known(
        409, "extension_limit", "No more time", _("It was extended as often and as far as this session allows.")
    ),
    holding.NotHeld: Known(409, "not_held", "Not held", _("It still stands in line, or ended without its seats.")),
    holding.PaymentInProgress: Known(
        409, "payment_in_progress", "Payment in progress", _("A payment for it is under way.")
    ),
    holding.AlreadyPaid: Known(
        409,
        "already_paid",
        "Already paid",
        _("It is paid for already."),
        facts=lambda error: {"sale": ticketing_queries.sale_body_of(error.sale)},
    ),
    # --- What it costs
    pricing.UnknownConcession: Known(
        400,
        "unknown_concession",
        "Unknown concession",
        _("The session has no such concession."),
        facts=lambda error: {
            "concessions": error.concessions,
            **_at("concessions", _("Unknown: %(seats)s.") % _named(error.concessions)),
        },
    ),
    pricing.NotAmongTheSeats: Known(
        400,
        "unknown_seat",
        "Unknown seat",
        _("Concessions were chosen for seats that are not among these."),
        facts=lambda error: {
            "seats": error.seats,
            **_at("concessions", _("Unknown: %(seats)s.") % _named(error.seats)),
        },
    ),
    pricing.WrongConcessionCount: Known(
        400,
        "concession_count",
        "Not that many places",
        WRONG_COUNT,
        facts=lambda error: {"places": error.places, **_at("concessions", WRONG_COUNT)},
    ),
    pricing.VoucherUnknown: _voucher(400, "voucher_unknown", "Unknown voucher", _("There is no such voucher.")),
    pricing.VoucherNotYetValid: _voucher(
        409, "voucher_not_yet_valid", "Voucher not valid yet", _("This voucher is not valid yet.")
    ),
    pricing.VoucherExpired: _voucher(409, "voucher_expired", "Voucher expired", _("This voucher is no longer valid.")),
    pricing.VoucherUsedUp: _voucher(
        409, "voucher_used_up", "Voucher used up", _("This voucher was used as often as it may be.")
    ),
    pricing.VoucherNotForThis: _voucher(
        409, "voucher_not_for_this", "Voucher for something else", _("This voucher is not for this session.")
    ),
    queries.NotYetKnown: _unavailable(_("It is not to be found at the moment; ask again.")),
    gateways.UnknownMethod: Known(
        400,
        "unknown_method",
        "Unknown payment method",
        _("There is no such way to pay here."),
        facts=lambda _error: _at("payment.method", _("There is no such way to pay here.")),
    ),
    gateways.UnknownToken: Known(
        400,
        "unknown_token",
        "Unknown payment token",
        _("The gateway can't take this token."),
        facts=lambda error: _at("payment.token", _tokens(error.known)),
    ),
    gateways.BadSignature: Known(
        400, "bad_signature", "Bad signature", _("Not signed by the gateway, or too long ago.")
    ),
    gateways.GatewayUnavailable: _unavailable(_("The payment gateway can't be reached; try again.")),
    gateways.GatewayTimeout: _unavailable(_("The payment gateway can't be reached; try again.")),
    BreakerOpen: _unavailable(_("The payment gateway can't be reached; try again.")),
    refunds.RefundClosed: Known(
        409,
        "refund_closed",
        "Too late to give tickets back",
        _("Tickets of this session can't be given back any more."),
        facts=lambda error: {"until": error.until and rfc3339(error.until)},
    ),
    refunds.NothingToRefund: Known(
        409,
        "nothing_to_refund",
        "Nothing to give back",
        _("The tickets are used, were given back already, or belong to another sale."),
        facts=lambda error: {"tickets": [str(ticket) for ticket in error.tickets]},
    ),
    PaymentDeclined: Known(
        402,
        "payment_declined",
        "Payment declined",
        _("The payment was declined; nothing was charged."),
        facts=lambda error: {"reason": error.reason},
    ),
    # --- Tickets and doors
    transfers.UnknownReceiver: Known(
        400,
        "unknown_receiver",
        "Unknown receiver",
        _("There is no account of that name."),
        facts=lambda _error: _at("username", _("There is no account of that name.")),
    ),
    transfers.CannotPassOn: Known(
        409,
        "cannot_pass_on",
        "Cannot be passed on",
        _("This ticket is used or void, its session is over or called off, or it is that buyer's already."),
        facts=lambda error: {"reason": error.reason},
    ),
    codes.NotACode: Known(
        404, "unknown_code", "Unknown code", NO_SUCH_CODE, facts=lambda _error: _at("code", NO_SUCH_CODE)
    ),
    doors.UnknownCode: Known(
        404, "unknown_code", "Unknown code", NO_SUCH_CODE, facts=lambda _error: _at("code", NO_SUCH_CODE)
    ),
    codes.BadSignature: Known(
        400,
        "bad_signature",
        "Not signed by us",
        _("The code is damaged or forged."),
        facts=lambda _error: _at("code", _("The code is damaged or forged.")),
    ),
    doors.TicketVoid: Known(
        409,
        "ticket_void",
        "The ticket is void",
        _("This ticket is void: it opens no door any more."),
        facts=lambda error: {"reason": error.void.reason.value, "voided_at": rfc3339(error.void.at)},
    ),
    voiding.TicketIsVoid: Known(
        410,
        "ticket_void",
        "The ticket is void",
        _("The ticket is void and has no code any more."),
        facts=lambda error: {"reason": error.void.reason.value, "voided_at": rfc3339(error.void.at)},
    ),
    doors.OtherSession: Known(
        409,
        "other_session",
        "For another session",
        _("The ticket is for another session."),
        facts=lambda error: {"session": str(error.session)},
    ),
    doors.SessionCancelled: Known(
        409,
        "session_cancelled",
        "The session was called off",
        _("The session was called off: nobody is let in."),
        facts=lambda error: {"cancelled_at": rfc3339(error.cancelled_at)},
    ),
    doors.NotYet: Known(
        409,
        "not_yet",
        "Not yet",
        _("The doors of this session aren't open yet. To let the ticket in all the same, send it again with `anyway`."),
        facts=lambda error: {"opens_at": rfc3339(error.opens_at), "starts_at": rfc3339(error.starts_at)},
    ),
    doors.TooLate: Known(
        409,
        "too_late",
        "Too late",
        _("The session is over. To let the ticket in all the same, send it again with `anyway`."),
        facts=lambda error: {"ended_at": rfc3339(error.ended_at)},
    ),
    doors.PaymentDue: Known(
        409,
        "payment_due",
        "To be paid first",
        _("The ticket is to be paid at the door. Take the money, and send it again with `paid`."),
        facts=lambda error: {"due": {"amount": error.amount, "currency": error.currency}},
    ),
    doors.AlreadyUsed: Known(
        409,
        "already_used",
        "Already used",
        _("Somebody came in with this ticket already."),
        facts=lambda error: {"used_at": rfc3339(error.used_at), "gate": error.gate},
    ),
    HashingBusy: _unavailable(_("Many people are signing in at this moment; try again.")),
    # --- A dependency is away; nothing was done
    sale_facts.FactsUnavailable: _unavailable(),
    together.NotBegun: _unavailable(),
    **dict.fromkeys(
        (front_door.OutcomeUnknown, together.Unfinished),
        _unavailable(
            _(
                "It is not known yet whether this was accepted. Ask again with the same Idempotency-Key: nothing is done twice."
            )
        ),
    ),
    lines.LineDown: _unavailable(_("Nothing can be accepted at the moment; try again.")),
    psycopg_pool.PoolTimeout: _unavailable(),
    InterfaceError: _unavailable(),
    OperationalError: _unavailable(),
}
DRF_CODES = {kind.default_code for kind in PROBLEMS if issubclass(kind, exceptions.APIException)}
BUSY = Known(
    503, "busy", "Busy", _("Somebody else is changing the same thing; try again."), retry_after=_after(RETRY_SECONDS)
)
NOT_FOUND = PROBLEMS[exceptions.NotFound]
FORBIDDEN = PROBLEMS[exceptions.PermissionDenied]
INVALID = Known(400, "invalid", "The request is not valid", _("Some fields are not valid; `errors` names them."))
BAD_REQUEST = Known(400, "bad_request", "Bad request", _("The request could not be understood."))
INTERNAL = Known(500, "internal", "Internal error", _("Something went wrong on our side; it has been noted."))
LOCKED_OUT = Known(
    429, "locked_out", "Too many attempts", _("Too many wrong passwords; sign-in is locked for a while.")
)
CSRF_FAILED = Known(403, "csrf_failed", "CSRF token missing or wrong", CSRFFailed.default_detail)


def known(error: BaseException) -> Known | None:
    """What the table says of an error, by its class or the nearest one above it."""
    if isinstance(error, OperationalError) and isinstance(
        error.__cause__, sql.LockNotAvailable | sql.DeadlockDetected | sql.QueryCanceled
    ):
        return BUSY
    if isinstance(error, Http404 | ObjectDoesNotExist):
        return NOT_FOUND
    if isinstance(error, PermissionDenied):
        return FORBIDDEN
    found = next((PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS), None)
    if found is None and isinstance(error, SuspiciousOperation):
        return BAD_REQUEST
    return found


# --- The body


def request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def body(problem: Known, *, code: str = "", detail: Any = None, **facts: Any) -> dict[str, Any]:
    code = code or problem.code
    return {
        "type": f"urn:frontrow:problem:{code}",
        "title": problem.title,
        "status": problem.status,
        "detail": str(detail or problem.detail or problem.title),
        "code": code,
        "request_id": request_id(),
        **facts,
    }


def field_errors(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested messages as a flat list: `{"seats": {0: ["…"]}}` is the field `seats.0`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            whole = name == api_settings.NON_FIELD_ERRORS_KEY
            yield from field_errors(inner, path if whole else f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list | tuple):
        for number, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            yield from field_errors(inner, f"{path}.{number}" if nested and path else path)
    else:
        yield {"field": path or WHOLE_BODY, "message": str(detail)}


def model_errors(error: ValidationError) -> Iterator[dict[str, str]]:
    """What Django's own validation says, by field."""
    found = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    for name, messages in found.items():
        for message in messages:
            yield {"field": WHOLE_BODY if name == NON_FIELD_ERRORS else name, "message": message}


def _headers(error: BaseException, problem: Known) -> dict[str, str]:
    headers = {}
    wait = problem.retry_after(error)
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    if isinstance(error, exceptions.APIException) and getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(getattr(error, "auth_header", ""))
    return headers


def _own_words(error: exceptions.APIException, problem: Known) -> tuple[str, str]:
    """Code and detail of an error that DRF raised with words of ours; its defaults give way to the table's."""
    code = error.get_codes()
    if isinstance(code, str) and code not in DRF_CODES:
        return code, str(error.detail)
    return problem.code, ""


def describe(error: BaseException) -> tuple[dict[str, Any], int, dict[str, str]] | None:
    """Body, status and headers for an error; None for one that is a fault of ours."""
    if isinstance(error, exceptions.ValidationError):
        return body(INVALID, errors=list(field_errors(error.detail))), INVALID.status, {}
    if isinstance(error, ValidationError):
        return body(INVALID, errors=list(model_errors(error))), INVALID.status, {}
    problem = known(error)
    if problem is None:
        return None
    code, detail = "", ""
    if isinstance(error, exceptions.ParseError):
        detail = str(error.detail)
    elif isinstance(error, exceptions.APIException):
        code, detail = _own_words(error, problem)
    return body(problem, code=code, detail=detail, **problem.facts(error)), problem.status, _headers(error, problem)


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's door to the table. An unknown error stays what it is: a 500, logged with its stack."""
    described = _described(error)
    if described is None:
        return None
    content, status, headers = described
    set_rollback()
    return Response(content, status=status, headers=headers, content_type=MEDIA_TYPE)


def _described(error: Exception) -> tuple[dict[str, Any], int, dict[str, str]] | None:
    described = describe(error)
    if described is not None and described[1] >= 500:
        log.warning("request.unavailable", error=repr(error), code=described[0]["code"])
    return described


def written(error: Exception) -> HttpResponse | None:
    """What `exception_handler` answers, as DRF writes it, at a fifth of the price: most answers of a rush are refusals."""
    described = _described(error)
    if described is None:
        return None
    content, status, headers = described
    return HttpResponse(as_json(content), status=status, headers={"Content-Type": MEDIA_TYPE, **headers})


def as_json(content: dict[str, Any]) -> bytes:
    """As DRF's renderer: JavaScript once took these two for ends of lines."""
    return msgspec.json.encode(content).replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def response(problem: Known, *, headers: Mapping[str, str] | None = None, **facts: Any) -> HttpResponse:
    """A problem where no DRF view is at work: middleware, unknown addresses, failures."""
    return JsonResponse(body(problem, **facts), status=problem.status, content_type=MEDIA_TYPE, headers=headers)


# --- Django's own handlers: problems under /api, pages elsewhere


def speaks_json(request: HttpRequest) -> bool:
    return f"{request.path_info}/".startswith("/api/")


def is_rest(request: HttpRequest) -> bool:
    """The API itself. Its schema and docs, which lie beside it, are pages; signing in is guarded as it is there."""
    path = request.path_info
    return path.startswith("/api/v1/") and not path.startswith("/api/v1/auth/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    described = describe(exception) or (body(BAD_REQUEST), 400, {})
    if speaks_json(request):
        content, status, headers = described
        return JsonResponse(content, status=status, content_type=MEDIA_TYPE, headers=headers)
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return response(NOT_FOUND) if speaks_json(request) else defaults.page_not_found(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return response(FORBIDDEN) if speaks_json(request) else defaults.permission_denied(request, exception)


def failed(request: HttpRequest) -> HttpResponse:
    """A dependency that is away is no fault of ours: 503, wherever it was missed."""
    error = sys.exc_info()[1]
    problem = known(error) if error else None
    if error and problem and problem.status == 503:
        headers = _headers(error, problem)
        return response(problem, headers=headers) if speaks_json(request) else page("503.html", 503, headers)
    return response(INTERNAL) if speaks_json(request) else defaults.server_error(request)


def page(template: str, status: int, headers: Mapping[str, str]) -> HttpResponse:
    """A page that needs nothing but itself: not the database, nor who asks."""
    return HttpResponse(render_to_string(template, {"when": when(headers)}), status=status, headers=headers)


def when(headers: Mapping[str, str]) -> str:
    """Say when to come again, where the refusal knows."""
    seconds = int(headers.get("Retry-After", 0))
    if not seconds:
        return ""
    if seconds < 120:
        return ngettext("Try again in %(count)d second.", "Try again in %(count)d seconds.", seconds) % {
            "count": seconds
        }
    return _("Try again in %(count)d minutes.") % {"count": math.ceil(seconds / 60)}


def too_early(wait: float) -> HttpResponse:
    """Answer a form that came too soon after others."""
    return page("429.html", 429, {"Retry-After": str(max(1, math.ceil(wait)))})


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say what happened, that nothing was done, and how to go on: a fresh copy of the page that the form was on."""
    if speaks_json(request) or not request.accepts("text/html"):
        return response(CSRF_FAILED)
    facts = {"back": _page_before(request), "no_cookie": reason == csrf.REASON_NO_CSRF_COOKIE}
    return render(request, "csrf.html", facts, status=CSRF_FAILED.status)


def _page_before(request: HttpRequest) -> str:
    """Return the path of the page that sent the form, or nothing where that is another site's or unknown."""
    sent: str = request.META.get("HTTP_REFERER", "")
    if not url_has_allowed_host_and_scheme(sent, {request.get_host()}, require_https=request.is_secure()):
        return ""
    return urlsplit(sent)._replace(scheme="", netloc="", fragment="").geturl()


def locked_out(
    request: HttpRequest, original: HttpResponse | None = None, credentials: Mapping[str, Any] | None = None
) -> HttpResponse:
    """What django-axes answers to a guesser."""
    cool_off = get_cool_off(request)
    headers = {"Retry-After": str(int(cool_off.total_seconds()) if cool_off else 60)}
    if speaks_json(request):
        return response(LOCKED_OUT, headers=headers)
    return page("429.html", 429, headers)
