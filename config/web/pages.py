"""Define middleware that only pages and the admin need. The REST API passes them in one step (docs/adr/0010).

The API has no session, messages, `request.user` or nonce. Its views read the token or the buyer's cookie, and check the
cookie's CSRF token, themselves (`ticketing.identity`). `ApiMiddleware` does what else it needs of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axes import middleware as axes
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.middleware import clickjacking, common, csrf, locale

from config.web import content_security, form_limits, page_metrics, problems
from ticketing import identity


def for_pages(middleware: type) -> Any:
    class ForPages(middleware):
        def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
            super().__init__(get_response)
            following = getattr(get_response, "__wrapped__", None)  # Django wraps each, to turn errors into answers
            self.past = getattr(following, "past", get_response)

        def __call__(self, request: HttpRequest) -> Any:
            return self.past(request) if problems.is_rest(request) else super().__call__(request)

    ForPages.__name__ = ForPages.__qualname__ = middleware.__name__
    return ForPages


MetricsBefore = for_pages(page_metrics.Before)
SessionMiddleware = for_pages(sessions.SessionMiddleware)
BuyerMiddleware = for_pages(identity.BuyerMiddleware)
LocaleMiddleware = for_pages(locale.LocaleMiddleware)
FormLimits = for_pages(form_limits.FormLimits)
CommonMiddleware = for_pages(common.CommonMiddleware)
CsrfViewMiddleware = for_pages(csrf.CsrfViewMiddleware)
AuthenticationMiddleware = for_pages(auth.AuthenticationMiddleware)
MessageMiddleware = for_pages(messages.MessageMiddleware)
XFrameOptionsMiddleware = for_pages(clickjacking.XFrameOptionsMiddleware)
ContentSecurityMiddleware = for_pages(content_security.ContentSecurityMiddleware)
AxesMiddleware = for_pages(axes.AxesMiddleware)
MetricsAfter = for_pages(page_metrics.After)
