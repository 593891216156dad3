"""Orders and holds that are plainly right go a short way through Django (docs/adr/0019).

Note [The short way]
Nine in ten requests of a rush are the same two calls, well-formed and with a token. For these the server's request is led through
the same middleware, authentication, limits, door and problems as ever, called one by one; what is left out is what none of them needs:
Django's resolver, signals and the wrapper around each middleware, DRF's own request and what it negotiates. Whatever is odd in any way, or
refused before the door, leaves nothing behind here and goes the long way, which alone says what is wrong with it.
`tests/config/web/test_short_way.py` compares the two, answer by answer.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import structlog
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware
from django.urls import ResolverMatch, resolve
from django.utils.log import log_response

from config.web import problems
from config.web.middleware import ApiMiddleware, OtherOriginsMiddleware, RequestIdMiddleware
from reservations.api.views import DoorView, ReservationsView
from reservations.hold_request import Ask
from ticketing import identity
from ticketing.api.orders import OrdersView

log = structlog.get_logger(__name__)

VIEWS: dict[str, type[DoorView]] = {"/api/v1/orders": OrdersView, "/api/v1/reservations": ReservationsView}


class NotPlain(Exception):
    """It goes the long way; nothing was done for it."""


def answer(environ: dict[str, Any]) -> HttpResponse | None:
    """None: it must go the long way, and can."""
    if (
        environ["REQUEST_METHOD"] != "POST"
        or environ["PATH_INFO"] not in VIEWS
        or "HTTP_AUTHORIZATION" not in environ
        or "HTTP_TRANSFER_ENCODING" in environ
        or environ.get("QUERY_STRING")
        or environ.get("SCRIPT_NAME")
    ):
        return None
    request = WSGIRequest(environ)
    try:
        response = way()(request)
    except (NotPlain, SuspiciousOperation):
        if hasattr(request, "_body"):
            environ["wsgi.input"] = io.BytesIO(request.body)
        return None
    finally:
        _let_go()
    if response.status_code >= 500:
        log_response("%s: %s", response.reason_phrase, request.path, response=response, request=request)
    return response


def _let_go() -> None:
    """Give the connection back, as Django does when a request has finished. One that can't be given back spoils no answer."""
    try:
        if connection.connection is not None:
            close_old_connections()
    except Exception:
        log.exception("short_way.connection_lost")


@cache
def way() -> Callable[[HttpRequest], HttpResponse]:
    """The middleware that has something to do for the REST API, in the order of the settings."""
    inner: Any = SecurityMiddleware(OtherOriginsMiddleware(ApiMiddleware(_admitted)))  # nobody awaits it
    return RequestIdMiddleware(inner)


def _admitted(request: HttpRequest) -> HttpResponse:
    """Raises: NotPlain."""
    view = VIEWS[request.path_info]()
    ask = _plainly_asked(view, request)
    request.resolver_match = _resolved(request.path_info)
    return _answered(request, view, ask)


def _plainly_asked(view: DoorView, request: HttpRequest) -> Ask:
    """The view knows then who asks. Raises: NotPlain."""
    try:
        request.user = identity.buyer_of_request(request)  # type: ignore[assignment] # stubs know Django's users alone
        view.request = request  # type: ignore[assignment] # it asks nothing that Django's own can't tell
        ask = view.asked_plainly(request)
    except Exception as error:
        raise NotPlain from error
    if ask is None or request.user is None:
        raise NotPlain
    return ask


@cache
def _resolved(path: str) -> ResolverMatch:
    return resolve(path)


def _answered(request: HttpRequest, view: DoorView, ask: Ask) -> HttpResponse:
    """What DRF's `dispatch` does once it knows who asks, and Django's handler around it."""
    view.headers = view.default_response_headers
    sent: Any = request  # DRF's hooks ask nothing of it that Django's own can't tell
    response: Any
    try:
        try:
            view.check_permissions(sent)
            view.check_throttles(sent)
            response = view.let_in(request, ask)
        except Exception as error:
            response = problems.written(error)
            if response is None:
                raise
        response = view.finalize_response(sent, response)
    except Exception as error:  # noqa: BLE001 as in Django
        response = response_for_exception(request, error)
    return cast(HttpResponse, response)
