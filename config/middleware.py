"""What every request passes on its way in: an id, a line in the log, a limit of size."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from uuid6 import uuid7

from config import health, problems

log = structlog.get_logger(__name__)

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Answer = Callable[[HttpRequest], HttpResponse]


class RequestIdMiddleware:
    """Every answer carries `X-Request-ID`, every log line of the request names it; one line tells how it ended.

    The line has no query string, no address and nobody's name.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-ID", "")
        request_id = sent if SANE_ID.fullmatch(sent) else str(uuid7())
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            response["X-Request-ID"] = request_id
            tell = log.warning if response.status_code >= 500 else log.debug if _is_probe(request) else log.info
            tell(
                "request",
                method=request.method,
                path=request.path_info,
                status=response.status_code,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
            )
        return response


def _is_probe(request: HttpRequest) -> bool:
    return request.path_info.rstrip("/") in health.PROBES


class ProbesMiddleware:
    """Health and metrics answer whatever the Host header says: probes come by address."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = health.PROBES.get(request.path_info.rstrip("/"))
        return probe(request) if probe else self.get_response(request)


class ApiMiddleware:
    """Under `/api/`: a trailing slash makes no difference, and a body too large is refused before it is read."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not problems.speaks_json(request):
            return self.get_response(request)
        if _content_length(request) > settings.API_LARGEST_BODY:
            return problems.response(problems.PROBLEMS[RequestDataTooBig])
        if request.path_info.endswith("/"):
            request.path_info = request.path_info.rstrip("/")
            request.path = request.path.rstrip("/")
        return self.get_response(request)


def _content_length(request: HttpRequest) -> int:
    sent = str(request.META.get("CONTENT_LENGTH") or "0")
    return int(sent) if sent.isascii() and sent.isdigit() and len(sent) < 19 else 0
