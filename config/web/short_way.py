"""Orders and holds that are plainly right go a short way through Django (docs/adr/0019).

Note [The short way]
Nine in ten requests of a rush are the same two calls, well-formed, with a token or a browser's cookie. These pass the
same middleware, authentication, limits, view and problems as all others, called one by one. Left out is what none of
them needs: Django's resolver, signals and the wrapper around each middleware; DRF's own request and its negotiation. A
request that is odd in any way, or refused before admission, leaves nothing behind here and goes the long way, which
alone says what is wrong with it. `tests/config/web/test_short_way.py` compares the two, answer by answer.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, NamedTuple, cast
from wsgiref.types import WSGIEnvironment

import structlog
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed, SuspiciousOperation
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, resolve
from django.utils.log import log_response
from django.utils.module_loading import import_string

from config.web import problems
from config.web.middleware import Answer
from reservations.api.views import DoorView, ReservationsView
from reservations.hold_request import Ask
from ticketing import identity
from ticketing.api.orders import OrdersView

log = structlog.get_logger(__name__)

BeforeView = Callable[[HttpRequest, Any, tuple[Any, ...], dict[str, Any]], HttpResponse | None]
OnError = Callable[[HttpRequest, Exception], HttpResponse | None]
FOR_PAGES = "config.web.pages."  # the REST API passes these in any case
NOTHING_TO_DO = {
    "config.web.middleware.ProbesMiddleware",  # answers the addresses of probes
    "whitenoise.middleware.WhiteNoiseMiddleware",  # answers the addresses of files
    "config.web.idempotency.IdempotencyMiddleware",  # the front door keeps the answers of these two itself
}
# These need no wrapper that makes answers of errors: only a wrong Host header raises there, and such a request goes the
# long way. The hook of ApiMiddleware for views reads the query, and none of these requests has one.
RAISE_NOTHING = {
    "config.web.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.web.middleware.OtherOriginsMiddleware",
    "config.web.middleware.ApiMiddleware",
}
VIEWS: dict[str, type[DoorView]] = {"/api/v1/orders": OrdersView, "/api/v1/reservations": ReservationsView}


class NotPlain(Exception):
    """Leave the request to the long way; nothing was done for it."""


def answer(environ: WSGIEnvironment) -> HttpResponse | None:
    """Answer a plain request; None sends it the long way."""
    if (
        environ["REQUEST_METHOD"] != "POST"
        or environ["PATH_INFO"] not in VIEWS
        or not ("HTTP_AUTHORIZATION" in environ or "HTTP_COOKIE" in environ)
        or "HTTP_TRANSFER_ENCODING" in environ
        or environ.get("QUERY_STRING")
        or environ.get("SCRIPT_NAME")
    ):
        return None
    request = WSGIRequest(environ)
    try:
        response = way().first(request)
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
    """Give the connection back, as Django does after a request. A failure of that spoils no answer."""
    try:
        if connection.connection is not None:
            close_old_connections()
    except Exception:
        log.exception("short_way.connection_lost")


class Way(NamedTuple):
    """Hold the middleware around one of the views, with the hooks that Django's handler would call."""

    first: Answer
    before_views: list[BeforeView]
    on_errors: list[OnError]


@cache
def way() -> Way:
    """Build the middleware of the settings, in order, without those that have nothing to do for these two addresses.

    Middleware that is new to the settings takes part as it does in Django. It sees a request twice if that turns out
    not to be plain and goes the long way.
    """
    built = Way(_admit, [], [])
    for name in reversed(settings.MIDDLEWARE):
        if name not in NOTHING_TO_DO and not name.startswith(FOR_PAGES):
            built = _put_around(built, name)
    return built


def _put_around(inner: Way, name: str) -> Way:
    try:
        middleware = import_string(name)(inner.first)
    except MiddlewareNotUsed:
        return inner
    if name in RAISE_NOTHING:
        return inner._replace(first=middleware)
    if hasattr(middleware, "process_view"):
        inner.before_views.insert(0, middleware.process_view)
    if hasattr(middleware, "process_exception"):
        inner.on_errors.append(middleware.process_exception)
    return inner._replace(first=_answering_errors(middleware))


def _answering_errors(middleware: Answer) -> Answer:
    """Make an answer of the middleware's errors, as Django does, so that the middleware outside it gets that answer."""

    @wraps(middleware)
    def answer_errors(request: HttpRequest) -> HttpResponse:
        try:
            return middleware(request)
        except (NotPlain, SuspiciousOperation):
            raise
        except Exception as error:  # noqa: BLE001 as in Django
            return response_for_exception(request, error)

    return answer_errors


def _admit(request: HttpRequest) -> HttpResponse:
    """Admit a plain request. Raises: NotPlain."""
    view = VIEWS[request.path_info]()
    ask = _plainly_asked(view, request)
    match = request.resolver_match = _resolved(request.path_info)
    for before_view in way().before_views:
        response = before_view(request, match.func, match.args, match.kwargs)
        if response is not None:
            return response
    return _answered(request, view, ask)


def _plainly_asked(view: DoorView, request: HttpRequest) -> Ask:
    """Decode a plain request, and give the view its buyer. Raises: NotPlain."""
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
    """Do what DRF's `dispatch` does once it knows the buyer, and what Django's handler does around it."""
    view.headers = view.default_response_headers
    sent: Any = request  # DRF's hooks read only what Django's own request has
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
        said = (on_error(request, error) for on_error in way().on_errors)
        response = next((answer for answer in said if answer is not None), None)
        response = response_for_exception(request, error) if response is None else response
    return cast(HttpResponse, response)
