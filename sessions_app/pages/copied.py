"""Serve pages that are the same for every visitor as `base.copies`, drawn for an anonymous stand-in.

Such a page names no visitor, has no token and sets no cookie: `sessions_app/visitor.js` fills in the visitor in the
browser. A browser without scripts is led to the same page with `?plain=1`: the view draws that one for it alone, with
forms that work.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import translation
from django.utils.cache import patch_vary_headers

from base import copies
from base.copies.copy import Body
from base.copies.response import CopyResponse

CACHE_CONTROL = "public, max-age=1, stale-while-revalidate=4"
NOTICES = "messages"  # the cookie of Django's messages: notices that wait for this visitor
STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)
OF_THE_SERVER = ("SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "HTTP_X_FORWARDED_PROTO", "wsgi.url_scheme")


class StandIn(HttpRequest):
    """Stand in for an anonymous visitor: it has the address of the real request, and nothing about the person."""

    def __init__(self, real: HttpRequest) -> None:
        super().__init__()
        self.method = "GET"
        self.path, self.path_info = real.path, real.path_info
        self.META = {name: real.META[name] for name in OF_THE_SERVER if name in real.META}
        self.META["QUERY_STRING"] = real.META.get("QUERY_STRING", "")
        self.GET = real.GET
        self.user = AnonymousUser()
        self.buyer = None
        self.resolver_match = real.resolver_match


def is_shared(request: HttpRequest) -> bool:
    """Tell whether the page is drawn for every visitor."""
    return isinstance(request, StandIn)


def copied(kind: str, *, takes: Callable[[QueryDict], bool]) -> Callable[..., Any]:
    """Serve a view's page as a copy where `takes` its query; else the view answers each visitor by itself."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @functools.wraps(view)
        def answered(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
            if not takes(request.GET) or NOTICES in request.COOKIES:
                return view(request, *arguments, **named)
            key = f"{request.get_host()} {request.get_full_path()} {translation.get_language()}"
            about = named.get("session_id")
            copy = copies.of(kind, key, lambda: _drawn(view(StandIn(request), *arguments, **named)), about=about)
            response = CopyResponse(request, copy, cache_control=CACHE_CONTROL)
            patch_vary_headers(response, ["Accept-Language", "Cookie"])
            return response

        return answered

    return decorate


def _drawn(page: HttpResponse) -> Body:
    """A copy can have no nonce, so its policy names each style by its hash (CSP level 2)."""
    hashes = [base64.b64encode(hashlib.sha256(style).digest()).decode() for style in STYLE.findall(page.content)]
    policy = {"style-src": [f"'sha256-{one}'" for one in hashes]} if hashes else {}
    return Body(content=page.content, content_type=page.headers["Content-Type"], policy=policy)
