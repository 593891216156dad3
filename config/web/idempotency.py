"""Handle `Idempotency-Key` on every POST. Exceptions are `KEEP_THEIR_OWN` and `/auth`, whose tokens are not stored.

Redis keeps the first answer for 24 hours, and repetitions get it again. Without Redis the request goes on, and the
operations themselves prevent a second effect (one open payment per reservation, one capture, one sale).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, ValidationError

from base import bodies
from base.asking import Buyer, OtherBuyer, idempotency_key
from base.rest import field_errors
from config.web import cache as shared
from config.web import problems
from reservations.claims import joined
from reservations.claims.claims import NoClaims
from reservations.refusals import IdempotencyMismatch, RequestInFlight
from ticketing import identity

log = structlog.get_logger(__name__)

KEPT_SECONDS = 24 * 3600
LEASE_SECONDS = 30  # how long a request without an answer blocks others with its key
KEEP_THEIR_OWN = {"/api/v1/reservations", "/api/v1/orders"}  # the front door keeps them
KEPT_HEADERS = ("Content-Type", "Location", "Retry-After", "Preference-Applied")


class IdempotencyMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not _keeps_answers(request):
            return self.get_response(request)
        buyer = _buyer(request)
        if buyer is None:
            return self.get_response(request)  # the view explains what is wrong with the credentials
        try:
            key = idempotency_key(request.META)
        except ValidationError as error:
            return problems.response(problems.INVALID, errors=list(field_errors(error.detail)))
        try:
            place, *earlier = [_place(request, name, str(key)) for name in _names_of(buyer)]
            return self._once(request, place=place, earlier=earlier)
        except shared.FAILURES as error:
            log.warning("idempotency.without_redis", error=repr(error))
            return self.get_response(request)

    def _once(self, request: HttpRequest, *, place: str, earlier: Sequence[str]) -> HttpResponse:
        """Answer a key once. `earlier` are the places of an answer that was given while the buyer was a guest.

        Raises: the errors in `shared.FAILURES`, before anything was done.
        """
        fingerprint = _fingerprint(request.body)
        with shared.breaker:
            said: Any = next((kept for kept in map(cache.get, earlier) if kept), None)
            if said is None and not cache.add(place, {"fingerprint": fingerprint}, timeout=LEASE_SECONDS):
                said = cache.get(place)
        if said:
            return _answer_again(said, fingerprint)
        response = self.get_response(request)
        _keep(place, fingerprint, response)
        return response


def _keeps_answers(request: HttpRequest) -> bool:
    path = request.path_info
    return (
        request.method == "POST"
        and problems.speaks_json(request)
        and "HTTP_IDEMPOTENCY_KEY" in request.META
        and not path.startswith("/api/v1/auth/")
        and path not in KEEP_THEIR_OWN
    )


def _buyer(request: HttpRequest) -> Buyer | None:
    """Return the buyer; None also for bad credentials."""
    try:
        return identity.buyer_of_request(request)
    except (AuthenticationFailed, PermissionDenied, OtherBuyer):
        return None


def _names_of(buyer: Buyer) -> list[UUID]:
    """Return the names of the key's owner: an account's own, and those of the guests who became it."""
    try:
        return joined.names_of(buyer.id)
    except NoClaims:
        return [buyer.id]


def _place(request: HttpRequest, buyer: UUID, key: str) -> str:
    scope = hashlib.sha256(f"{buyer} {request.method} {request.path_info} {key}".encode()).hexdigest()
    return f"answer:{scope}"


def _fingerprint(body: bytes) -> str:
    """Hash a body so that order and spaces of its JSON do not matter."""
    with contextlib.suppress(ValueError, RecursionError):  # the view refuses what is not JSON
        said, twice = bodies.read(body.decode())
        if not twice:  # the view refuses repeated names
            body = json.dumps(said, sort_keys=True).encode()
    return hashlib.sha256(body).hexdigest()


def _answer_again(kept: dict[str, Any], fingerprint: str) -> HttpResponse:
    if kept["fingerprint"] != fingerprint:
        return problems.refused(IdempotencyMismatch())
    if "status" not in kept:
        return problems.refused(RequestInFlight(retry_after=1))
    return HttpResponse(kept["body"], status=kept["status"], headers={**kept["headers"], "Idempotent-Replayed": "true"})


def _keep(place: str, fingerprint: str, response: HttpResponse) -> None:
    """Keep a success or a declined payment. After anything else, the same key may try again."""
    headers = {name: response[name] for name in KEPT_HEADERS if name in response}
    try:
        with shared.breaker:
            if response.status_code < 300 or response.status_code == 402:
                answer = {
                    "fingerprint": fingerprint,
                    "status": response.status_code,
                    "headers": headers,
                    "body": response.content.decode(),
                }
                cache.set(place, answer, timeout=KEPT_SECONDS)
            else:
                cache.delete(place)
    except Exception as error:  # noqa: BLE001 its answer must go out
        log.warning("idempotency.not_kept", error=repr(error))
