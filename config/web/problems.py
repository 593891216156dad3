"""Answer every error that a client can see as `application/problem+json` (RFC 9457).

The domain's refusals know their own meaning (`base.refusals`). The table `PROBLEMS` here has the HTTP meaning of all
other errors.
"""

from __future__ import annotations

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
from django.views import defaults
from psycopg import errors as sql
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from base.asking import CSRFFailed
from base.breaker import BreakerOpen
from base.refusals import Facts, Refused, when
from base.rest import WHOLE_BODY, field_errors
from reservations import queries
from reservations.admission import entries, sale_facts
from reservations.queueing import queues
from reservations.refusals import AlreadyPaid
from ticketing.payments import gateways, together
from ticketing.people.hashing import HashingBusy
from ticketing.queries import sale_body_of

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1  # after "busy", and while a dependency restarts


@dataclass(frozen=True)
class Known:
    """Describe the HTTP meaning of an error that is not a refusal."""

    status: int
    code: str
    title: str
    sentence: Any
    retry_after: Callable[[Any], float | None] = field(default=lambda _error: None)


def _after(seconds: float) -> Callable[[Any], float]:
    return lambda _error: seconds


BUSY_OFFICE = _("The box office is busy. Try again.")


def _unavailable(sentence: Any = BUSY_OFFICE) -> Known:
    return Known(503, "unavailable", "Unavailable", sentence, retry_after=_after(RETRY_SECONDS))


PROBLEMS: dict[type[BaseException], Known] = {
    # --- HTTP
    exceptions.ParseError: Known(400, "malformed", "Malformed request", _("The body is not valid JSON.")),
    exceptions.UnsupportedMediaType: Known(
        415,
        "unsupported_media_type",
        "Unsupported media type",
        _("The body must be JSON. Send it with the content type application/json."),
    ),
    exceptions.MethodNotAllowed: Known(
        405, "method_not_allowed", "Method not allowed", _("This address does not accept that method.")
    ),
    exceptions.NotAcceptable: Known(406, "not_acceptable", "Not acceptable", _("This address answers only in JSON.")),
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
        _("Too many requests came from your network. Try again a little later."),
        retry_after=lambda error: error.wait,
    ),
    RequestDataTooBig: Known(413, "too_large", "Request too large", _("The body is larger than this service accepts.")),
    UnreadablePostError: Known(400, "malformed", "Malformed request", _("The body could not be read.")),
    MultiPartParserError: Known(400, "malformed", "Malformed request", _("The body could not be read.")),
    DataError: Known(400, "bad_request", "Bad request", _("A value is outside the range that can be stored.")),
    queries.NotYetKnown: _unavailable(_("It could not be found at the moment. Try again.")),
    gateways.GatewayUnavailable: _unavailable(_("The payment gateway cannot be reached. Try again.")),
    gateways.GatewayTimeout: _unavailable(_("The payment gateway cannot be reached. Try again.")),
    BreakerOpen: _unavailable(_("The payment gateway cannot be reached. Try again.")),
    HashingBusy: _unavailable(_("Many people are signing in at this moment. Try again.")),
    # --- A missing dependency; nothing was done
    sale_facts.FactsUnavailable: _unavailable(),
    together.NotBegun: _unavailable(),
    **dict.fromkeys(
        (entries.OutcomeUnknown, together.Unfinished),
        _unavailable(
            _(
                "It is not yet known whether this request was accepted. Send it again with the same "
                "Idempotency-Key: nothing is done twice."
            )
        ),
    ),
    queues.QueueDown: _unavailable(_("The box office cannot accept requests at the moment. Try again.")),
    psycopg_pool.PoolTimeout: _unavailable(),
    InterfaceError: _unavailable(),
    OperationalError: _unavailable(),
}
DRF_CODES = {kind.default_code for kind in PROBLEMS if issubclass(kind, exceptions.APIException)}
BUSY = Known(
    503, "busy", "Busy", _("Another request is changing the same thing. Try again."), retry_after=_after(RETRY_SECONDS)
)
NOT_FOUND = PROBLEMS[exceptions.NotFound]
FORBIDDEN = PROBLEMS[exceptions.PermissionDenied]
INVALID = Known(400, "invalid", "The request is not valid", _("Some fields are not valid. `errors` names them."))
BAD_REQUEST = Known(400, "bad_request", "Bad request", _("The request could not be understood."))
INTERNAL = Known(
    500, "internal", "Internal error", _("Something went wrong on our side. We have a record of the error.")
)
LOCKED_OUT = Known(
    429,
    "locked_out",
    "Too many attempts",
    _("There were too many wrong passwords, so sign-in is locked for a while. Try again later."),
)
CSRF_FAILED = Known(403, "csrf_failed", "CSRF token missing or wrong", CSRFFailed.default_detail)


def known(error: BaseException) -> Known | None:
    """Return the table's entry for an error's class or its nearest parent; None for refusals and errors of our own."""
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


def body(problem: Known | Refused, *, code: str = "", detail: Any = None, **facts: Any) -> Facts:
    code = code or problem.code
    return {
        "type": f"urn:frontrow:problem:{code}",
        "title": problem.title,
        "status": problem.status,
        "detail": str(
            detail or (problem.said() if isinstance(problem, Refused) else problem.sentence) or problem.title
        ),
        "code": code,
        "request_id": request_id(),
        **facts,
    }


def model_errors(error: ValidationError) -> Iterator[dict[str, str]]:
    """Yield the errors of Django's own validation, by field."""
    found = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    for name, messages in found.items():
        for message in messages:
            yield {"field": WHOLE_BODY if name == NON_FIELD_ERRORS else name, "message": message}


def _headers(error: BaseException, problem: Known) -> dict[str, str]:
    headers = _to_come_again(problem.retry_after(error))
    if isinstance(error, exceptions.APIException) and getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(getattr(error, "auth_header", ""))
    return headers


def _to_come_again(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(max(1, math.ceil(seconds)))}


def _own_words(error: exceptions.APIException, problem: Known) -> tuple[str, str]:
    """Return code and detail of an error with words of ours. DRF's default words give way to the table's."""
    code = error.get_codes()
    if isinstance(code, str) and code not in DRF_CODES:
        return code, str(error.detail)
    return problem.code, ""


def describe(error: BaseException) -> tuple[Facts, int, dict[str, str]] | None:
    """Return body, status and headers for an error; None for an error of our own."""
    if isinstance(error, Refused):
        return body(error, **facts_of(error)), error.status, _to_come_again(error.retry_after)
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
    return body(problem, code=code, detail=detail), problem.status, _headers(error, problem)


def facts_of(error: Refused) -> Mapping[str, Any]:
    """Return what a client gets besides the sentence."""
    if isinstance(error, AlreadyPaid):  # the sale belongs to an app above the one that raises this
        return {"sale": sale_body_of(error.sale)}
    return error.facts()


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Connect DRF to the table. An unknown error stays a 500, logged with its stack."""
    described = _described(error)
    if described is None:
        return None
    content, status, headers = described
    set_rollback()
    return Response(content, status=status, headers=headers, content_type=MEDIA_TYPE)


def _described(error: Exception) -> tuple[Facts, int, dict[str, str]] | None:
    described = describe(error)
    if described is not None and described[1] >= 500:
        log.warning("request.unavailable", error=repr(error), code=described[0]["code"])
    return described


def written(error: Exception) -> HttpResponse | None:
    """Write the answer of `exception_handler` at a fifth of its cost, because most answers of a rush are refusals."""
    described = _described(error)
    return described and _written(*described)


def refused(refusal: Refused) -> HttpResponse:
    """Answer a refusal where no view runs."""
    return _written(body(refusal, **facts_of(refusal)), refusal.status, _to_come_again(refusal.retry_after))


def _written(content: Facts, status: int, headers: dict[str, str]) -> HttpResponse:
    return HttpResponse(as_json(content), status=status, headers={"Content-Type": MEDIA_TYPE, **headers})


def as_json(content: Facts) -> bytes:
    """Encode as DRF's renderer does: JavaScript once treated these two characters as ends of lines."""
    return msgspec.json.encode(content).replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def response(problem: Known, *, headers: Mapping[str, str] | None = None, **facts: Any) -> HttpResponse:
    """Answer a problem where no DRF view runs: in middleware, for unknown addresses, after failures."""
    return JsonResponse(body(problem, **facts), status=problem.status, content_type=MEDIA_TYPE, headers=headers)


# --- Django's own handlers: problems under /api, pages elsewhere


def speaks_json(request: HttpRequest) -> bool:
    return f"{request.path_info}/".startswith("/api/")


def is_rest(request: HttpRequest) -> bool:
    """Tell whether this is the API itself. Its schema and docs are pages, and signing in is guarded like a page."""
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
    """Answer 503 for a missing dependency, wherever it was missed, because that is not an error of ours."""
    error = sys.exc_info()[1]
    problem = known(error) if error else None
    if error and problem and problem.status == 503:
        headers = _headers(error, problem)
        return response(problem, headers=headers) if speaks_json(request) else page("503.html", 503, headers)
    return response(INTERNAL) if speaks_json(request) else defaults.server_error(request)


def page(template: str, status: int, headers: Mapping[str, str]) -> HttpResponse:
    """Render a page that needs neither the database nor the visitor."""
    return HttpResponse(render_to_string(template, {"when": when(_seconds(headers))}), status=status, headers=headers)


def _seconds(headers: Mapping[str, str]) -> int:
    return int(headers.get("Retry-After", 0))


def too_early(wait: float) -> HttpResponse:
    """Answer a form that came too soon after others."""
    return page("429.html", 429, {"Retry-After": str(max(1, math.ceil(wait)))})


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say what happened, that nothing was done, and how to go on: a fresh copy of the form's page."""
    if speaks_json(request) or not request.accepts("text/html"):
        return response(CSRF_FAILED)
    facts = {"back": _page_before(request), "no_cookie": reason == csrf.REASON_NO_CSRF_COOKIE}
    return render(request, "csrf.html", facts, status=CSRF_FAILED.status)


def _page_before(request: HttpRequest) -> str:
    """Return the path of the page that sent the form; empty if that is another site's or unknown."""
    sent: str = request.META.get("HTTP_REFERER", "")
    if not url_has_allowed_host_and_scheme(sent, {request.get_host()}, require_https=request.is_secure()):
        return ""
    return urlsplit(sent)._replace(scheme="", netloc="", fragment="").geturl()


def locked_out(
    request: HttpRequest, original: HttpResponse | None = None, credentials: Mapping[str, Any] | None = None
) -> HttpResponse:
    """Answer a visitor whom django-axes locks out."""
    cool_off = get_cool_off(request)
    headers = {"Retry-After": str(int(cool_off.total_seconds()) if cool_off else 60)}
    if speaks_json(request):
        return response(LOCKED_OUT, headers=headers)
    return page("429.html", 429, headers)
