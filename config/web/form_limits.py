"""Count the pages' forms, also the admin's, in the same buckets as calls of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.web import problems, throttles

READS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# By the view's name; every other form counts as a write.
SCOPES = {
    "sign-in": "credentials",
    "register": "credentials",
    "admin:login": "credentials",
    "admin:password_change": "credentials",
    "ticket": "codes",  # a transfer shows whether an account exists
    "sale-code": "codes",
    "sale-confirm": "codes",
}


class FormLimits:
    """Count every posted form before its view reads it. The API's views count by themselves."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: Any) -> HttpResponse | None:
        if request.method in READS or not settings.RATE_LIMITS or problems.speaks_json(request):
            return None
        wait = throttles.take(throttles.buckets_of_form(request, _scope(request)))
        return problems.too_early(wait) if wait else None


def _scope(request: HttpRequest) -> str:
    name = request.resolver_match.view_name if request.resolver_match else ""
    return "codes" if request.POST.get("voucher") else SCOPES.get(name, "write")
