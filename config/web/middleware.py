"""Give every request an id, a log line, a count and a limit of size."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import structlog
from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from prometheus_client import Counter, Histogram

from base import addresses, causes, standing, strict
from base.causes import Cause
from base.ids import uuid7
from config.web import health, problems, ready

log = structlog.get_logger(__name__)
listeners = logging.getLogger(__name__)

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# A browser that shows an answer of the API as a page runs nothing in it and frames it nowhere.
NOTHING_TO_SHOW = "default-src 'none'; frame-ancestors 'none'"
VARIES = "Accept-Language"
PRIVATE = "private, no-store"  # an answer without caching headers may belong to a buyer
Answer = Callable[[HttpRequest], HttpResponse]

requests = Counter(
    "frontrow_requests_total", "Number of answers, by view, method and status.", ["view", "method", "status"]
)
request_seconds = Histogram(
    "frontrow_request_seconds", "Seconds from a request's arrival to its answer.", ["view", "method"]
)
answers_of, seconds_of = (
    cache(requests.labels),
    cache(request_seconds.labels),
)  # looking up labels costs more than counting


class RequestIdMiddleware:
    """Put `X-Request-ID` into every answer and log line, log one line at the end, and count the request.

    The line has no query string, no address and no person's name.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = _request_id(request.META.get("HTTP_X_REQUEST_ID", ""))
        started = time.perf_counter()
        with causes.working_for(Cause(request_id)), addresses.answering(request):
            response = standing.kept(request, self.get_response)
            response.headers["X-Request-ID"] = request_id
            response.headers.setdefault("Cache-Control", PRIVATE)
            ready.remember(request, response)
            _note(request, response, time.perf_counter() - started)
        return response


def _request_id(sent: str) -> str:
    return sent if SANE_ID.fullmatch(sent) else str(uuid7())


def noted(sent_id: str, *, method: str, path: str, view: str, status: int, seconds: float) -> str:
    """Log and count an answer that never came to Django; return the id that it carries. `sent_id`: the client's own."""
    request_id = _request_id(sent_id)
    try:
        if listeners.isEnabledFor(logging.INFO):
            with causes.working_for(Cause(request_id)):
                _log(logging.INFO, method=method, path=path, status=status, seconds=seconds)
        answers_of(view, method, status).inc()
        seconds_of(view, method).observe(seconds)
    except Exception:
        log.exception("request.not_noted")
    return request_id


def _log(level: int, *, method: str, path: str, status: int, seconds: float) -> None:
    log.log(level, "request", method=method, path=path, status=status, milliseconds=round(seconds * 1000, 1))


def _note(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    """Log and count the answer. A failure of that does not stop the answer."""
    try:
        _tell(request, response, seconds)
        _count(request, response, seconds)
    except Exception:
        log.exception("request.not_noted")


def _tell(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    failed, probe = response.status_code >= 500, request.path_info.rstrip("/") in health.PROBES
    level = logging.DEBUG if probe else logging.WARNING if failed else logging.INFO  # probes come every second
    if listeners.isEnabledFor(level):
        _log(level, method=request.method or "", path=request.path_info, status=response.status_code, seconds=seconds)


def _count(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    """Count by the view's name, never by its address, because there are few names."""
    view = request.resolver_match.view_name if request.resolver_match else "none"
    method = request.method if request.method in METHODS else "other"
    answers_of(view, method, response.status_code).inc()
    seconds_of(view, method).observe(seconds)


class ProbesMiddleware:
    """Answer health and metrics whatever the Host header says, because probes use addresses."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = health.PROBES.get(request.path_info.rstrip("/"))
        return probe(request) if probe else self.get_response(request)


class OtherOriginsMiddleware(CorsMiddleware):
    """Allow CORS if the operator allows any other origins."""

    def __call__(self, request: HttpRequest) -> Any:
        return super().__call__(request) if settings.CORS_ALLOWED_ORIGINS else self.get_response(request)


class ApiMiddleware:
    """Ignore a trailing slash under `/api/`, and refuse a body that is too large before it is read.

    For the REST API it also does, in one step, what the middleware of `config.web.pages` does for pages.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not problems.speaks_json(request):
            return self.get_response(request)
        if request.path_info.endswith("/"):
            request.path_info = request.path_info.rstrip("/")
            request.path = request.path.rstrip("/")
        return self._rest(request) if problems.is_rest(request) else self._sized(request)

    def process_view(self, request: HttpRequest, view: Any, *_arguments: Any) -> HttpResponse | None:
        """Refuse query parameters that the view does not know. The parameters of a gateway's webhook are its own."""
        kind = getattr(view, "cls", None)
        if not problems.speaks_json(request) or kind is None or not getattr(kind, "minds_its_query", True):
            return None
        wrong = strict.check_query(request, kind)
        return problems.written(wrong) if wrong else None

    def _sized(self, request: HttpRequest) -> HttpResponse:
        if _content_length(request) > settings.API_LARGEST_BODY:
            return problems.response(problems.PROBLEMS[RequestDataTooBig])
        return self.get_response(request)

    def _rest(self, request: HttpRequest) -> HttpResponse:
        """Serve a request of the REST API. Raises: DisallowedHost."""
        request.get_host()
        language = _language(request)
        translation.activate(language)
        response = self._sized(request)
        headers = response.headers
        headers["Content-Language"] = language
        headers["Content-Length"] = str(len(response.content))
        headers["Content-Security-Policy"] = NOTHING_TO_SHOW
        headers["Vary"] = f"{headers['Vary']}, {VARIES}" if "Vary" in headers else VARIES
        headers["X-Frame-Options"] = "DENY"
        return response


def _language(request: HttpRequest) -> str:
    if "HTTP_ACCEPT_LANGUAGE" in request.META or "HTTP_COOKIE" in request.META:
        return translation.get_language_from_request(request)
    return settings.LANGUAGE_CODE


def _content_length(request: HttpRequest) -> int:
    sent = str(request.META.get("CONTENT_LENGTH") or "0")
    return int(sent) if sent.isascii() and sent.isdigit() and len(sent) < 19 else 0
