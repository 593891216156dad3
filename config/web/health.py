"""Serve `/health/live`, `/health/ready`, `/health` and `/metrics`, which tell whether this installation can sell.

Only PostgreSQL, with the tables of this version, is needed. Without Redis, the broker or a worker, selling goes on,
slower or later (a 202 is kept). So their absence only makes the state `degraded`: a proxy that removed such a web
process would stop what still works.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, exposition

from base.examination import Examination, Found, Unanswered
from reservations import checks
from reservations.exposition import Checks, registry
from ticketing.upkeep.figures import Installation

log = structlog.get_logger(__name__)

NEEDED = frozenset({"database", "migrations"})
OK, GONE = "ok", "gone"

examined = Checks(checks.ALL)


@require_safe
def live(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": OK})


@require_safe
def ready(_request: HttpRequest) -> HttpResponse:
    """Answer from checks of the last second, so that probes of many machines at once cost one."""
    found = examination().results()
    gone = {name for name in found if found[name].error is not None}
    status = "unavailable" if gone & NEEDED else "degraded" if gone else OK
    _log_changes(found)
    told = {name: {**_told(name, found[name]), "needed": name in NEEDED} for name in found}
    answer = JsonResponse({"status": status, "checks": told}, status=503 if gone & NEEDED else 200)
    answer["Cache-Control"] = "no-store"
    vars(answer)["_has_been_logged"] = True  # otherwise Django would log an error for each probe
    if gone & NEEDED:
        answer["Retry-After"] = "1"
    return answer


_known_gone: set[str] = set()


def _log_changes(found: dict[str, Found]) -> None:
    """Log one line when a part goes and one when it is back, however often probes come."""
    for name, outcome in found.items():
        if outcome.error is not None and name not in _known_gone:
            _known_gone.add(name)
            log.warning("health.gone", check=name, error=repr(outcome.error))
        elif outcome.error is None and name in _known_gone:
            _known_gone.discard(name)
            log.info("health.back", check=name)


def examination() -> Examination:
    return examined.examination


def _told(name: str, found: Found) -> dict[str, object]:
    """Return what one check found. A failure shows only its class, because messages may name hosts and users."""
    if found.error is None:
        return {"status": OK, "milliseconds": found.milliseconds, **found.value}
    reason = str(found.error) if isinstance(found.error, Unanswered) else type(found.error).__name__
    return {"status": GONE, "milliseconds": found.milliseconds, "reason": reason}


@cache
def exported() -> CollectorRegistry:
    return registry(examined, Installation())


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    encode, media_type = exposition.choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(exported()), content_type=media_type)


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/health": ready,
    "/health/live": live,
    "/health/ready": ready,
    "/metrics": metrics,
}
