"""Add to Django's own `manage.py check --deploy`, and warn when a server starts."""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 Django's name for it

log = structlog.get_logger(__name__)


def https_has_a_proxy(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn if plain HTTP is redirected and no proxy is trusted to accept HTTPS: each page would redirect to itself."""
    if not settings.SECURE_SSL_REDIRECT or settings.TRUSTED_PROXIES:
        return []
    return [
        Warning(
            "HTTPS is on but TRUSTED_PROXIES is empty. Behind a proxy, each page would redirect to itself forever.",
            hint=(
                "Set TRUSTED_PROXIES to the address of the proxy that accepts HTTPS, or set HTTPS=off if there is "
                "no proxy."
            ),
            id="frontrow.W002",
        )
    ]


def warn_of_redirects() -> None:
    """Log at a server's start what `check --deploy` would report."""
    for message in https_has_a_proxy(None):
        log.warning("start.redirects_for_ever", problem=message.msg, remedy=message.hint)
