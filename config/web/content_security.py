"""Set the Content-Security-Policy of each answer: strict, with exceptions for the admin's scripts and for Stripe."""

from __future__ import annotations

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

ADMIN = "/admin/"
# The admin's theme uses Alpine.js, which evaluates attributes and sets styles on elements.
OF_THE_ADMIN = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}

# The card form: a script and a frame of Stripe's, in which the card's number stays; hooks shows the bank's questions.
OF_STRIPE = {
    "script-src": ["https://js.stripe.com"],
    "frame-src": ["https://js.stripe.com", "https://hooks.stripe.com"],
    "connect-src": ["https://api.stripe.com"],
}


class ContentSecurityMiddleware(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(ADMIN):
            parts.replace = {**OF_THE_ADMIN, **(parts.replace or {})}
        elif "stripe" in settings.PAYMENT_METHODS:
            parts.update = {**OF_STRIPE, **(parts.update or {})}
        return parts
