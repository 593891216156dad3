"""Decide which pages may open a socket.

A browser sends its cookies to a socket of any site, but always says whose page it shows.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.http import is_same_domain

Scope = Mapping[str, Any]  # of ASGI


def header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def has_none(scope: Scope) -> bool:
    """Tell whether a program sent the request, not a browser."""
    return header(scope, b"origin") is None


def is_ours(scope: Scope) -> bool:
    """Tell whether the page is the site's own: the host that was asked, SITE_URL, or one of CSRF_TRUSTED_ORIGINS."""
    origin = header(scope, b"origin") or ""
    scheme, _, host = origin.partition("://")
    if scheme not in {"http", "https"} or not host:
        return False
    if host.lower() == (header(scope, b"host") or "").lower():
        return True
    return any(_matches(scheme, host, trusted) for trusted in (settings.SITE_URL, *settings.CSRF_TRUSTED_ORIGINS))


def may_watch(scope: Scope) -> bool:
    """Tell whether a page may watch the public map: programs, our pages, and those that CORS_ALLOWED_ORIGINS allows."""
    return has_none(scope) or is_ours(scope) or header(scope, b"origin") in settings.CORS_ALLOWED_ORIGINS


def _matches(scheme: str, host: str, trusted: str) -> bool:
    """Match a trusted origin, or one with a wildcard as Django knows it: https://*.example.com."""
    trusted_scheme, _, trusted_host = trusted.partition("://")
    return scheme == trusted_scheme and is_same_domain(host.lower(), trusted_host.lower().removeprefix("*"))
