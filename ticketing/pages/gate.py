"""Serve the gate's pages: the choice of a session, and the scanner.

A phone stores both for use without a connection.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from base.clock import reckoned_now
from sessions_app.models import Session
from sessions_app.pages.visitors import Visitor
from ticketing import codes, queries
from ticketing.api.gate import PERMISSION, admission_of
from ticketing.voiding import VoidReason

AHEAD = dt.timedelta(hours=36)  # sessions that the page offers
LONGEST = 200

Page = Callable[..., HttpResponse]


def allowed_to(permission: str) -> Callable[[Page], Page]:
    """Ask visitors to sign in, and refuse those without the permission."""

    def guard(page: Page) -> Page:
        @wraps(page)
        def guarded(request: Visitor, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not request.user.has_perm(permission):
                raise PermissionDenied
            return page(request, **kwargs)

        return guarded

    return guard


@require_safe
@never_cache
@allowed_to(PERMISSION)
def sessions(request: Visitor) -> HttpResponse:
    """List the sessions with open doors today, and how many people came."""
    now = reckoned_now()
    found = Session.objects.filter(ends_at__gt=now, starts_at__lt=now + AHEAD)
    found = found.select_related("show", "hall__venue").order_by("starts_at", "id")[:LONGEST]
    numbers = queries.came([session.pk for session in found])
    return render(
        request,
        "ticketing/gate/sessions.html",
        {"sessions": [(session, numbers.get(session.pk)) for session in found], "void_reasons": VoidReason.choices},
    )


@require_safe
@never_cache
@allowed_to(PERMISSION)
def scanner(request: Visitor, session_id: UUID) -> HttpResponse:
    session = Session.objects.select_related("show", "hall__venue").filter(pk=session_id).first()
    if session is None:
        raise Http404
    data = {
        "session": str(session.pk),
        "title": session.show.title,
        **admission_of(session),
        "keys": codes.published()["keys"],
        "list": reverse("api-door-list", args=[session.pk]).removeprefix("/api/v1"),
        # files that a phone stores for use without a connection
        "kept": [reverse("gate"), static("ticketing/gate-sessions-page.js")],
        "worker": reverse("gate-worker"),
    }
    return render(
        request, "ticketing/gate/scanner.html", {"session": session, "data": data, "void_reasons": VoidReason.choices}
    )


@require_safe
def worker(request: Visitor) -> HttpResponse:
    """Serve the service worker, whose address must be above the pages that it stores."""
    answer = render(request, "ticketing/gate/worker.js", content_type="text/javascript; charset=utf-8")
    answer["Service-Worker-Allowed"], answer["Cache-Control"] = reverse("gate"), "no-cache"
    return answer
