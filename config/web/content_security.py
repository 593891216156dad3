"""Set the Content-Security-Policy of each answer: strict, with exceptions for the admin and the payment methods."""

from __future__ import annotations

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ticketing.payments.gateways import registry

ADMIN = "/admin/"
# The admin's theme uses Alpine.js, which evaluates attributes and sets styles on elements.
OF_THE_ADMIN = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}


class ContentSecurityMiddleware(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(ADMIN):
            parts.replace = {**OF_THE_ADMIN, **(parts.replace or {})}
        elif sources := registry.content_sources(settings.PAYMENT_METHODS):
            parts.update = {**sources, **(parts.update or {})}
        return parts
