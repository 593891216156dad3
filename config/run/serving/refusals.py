"""Answer requests that never reach Django's views."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext_lazy as _

from config.web import problems
from config.web.middleware import RequestIdMiddleware


@dataclass(frozen=True)
class Refusal:
    """Describe a refusal. Clients return after `soonest` to `latest` seconds at random, so that crowds spread."""

    problem: problems.Known
    page: str
    soonest: int = 0
    latest: int = 0


BUSY = Refusal(
    problems.Known(503, "unavailable", "Unavailable", problems.BUSY_OFFICE),
    "503.html",
    soonest=1,
    latest=5,
)
CROWDED = Refusal(
    problems.Known(
        429,
        "rate_limited",
        "Too many requests",
        _("Too many requests from this address are in progress. Wait until some of them end, then try again."),
    ),
    "429.html",
    soonest=1,
    latest=5,
)
TOO_SLOW = Refusal(
    problems.Known(
        408, "request_timeout", "Request timeout", _("The body of the request arrived too slowly. Send it again.")
    ),
    "400.html",
)
TOO_LARGE = Refusal(
    problems.Known(413, "too_large", "Request too large", _("The body is larger than this service accepts.")),
    "400.html",
)


def respond(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Answer as the API or as a page, with a request id, a log line and a count, like any other answer."""
    passed: Any = SecurityMiddleware(lambda asked: _written(asked, refusal))
    return RequestIdMiddleware(passed)(request)


def _written(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    with translation.override(translation.get_language_from_request(request)):
        language = translation.get_language() or ""
        if problems.speaks_json(request):
            response = problems.response(refusal.problem)
        else:
            response = HttpResponse(_page(refusal.page, language), status=refusal.problem.status)
    response.headers["Content-Length"] = str(len(response.content))
    response.headers["Content-Language"] = language
    response.headers["Cache-Control"] = "no-store"
    patch_vary_headers(response, ("Accept-Language", "Cookie"))
    if refusal.latest:
        response.headers["Retry-After"] = str(random.randint(refusal.soonest, refusal.latest))  # noqa: S311 no secret
    else:
        response.headers["Connection"] = "close"  # the server does not wait for the rest of the body
    return response


@cache
def _page(template: str, language: str) -> bytes:
    """Render a page that is the same for all clients, only once: an overloaded process has no time to repeat it."""
    with translation.override(language):
        return problems.page(template, 200, {}).content
