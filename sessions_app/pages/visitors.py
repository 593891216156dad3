"""Describe the visitor of a page."""

import functools
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control


class Visitor(HttpRequest):
    """A page's request as the identity middleware leaves it.

    `buyer` is None for a browser that has never chosen anything; `ensure_buyer()` makes it a guest from now on.
    `sign_in(user)` and `sign_out()` change the visitor's identity.
    """

    buyer: UUID | None
    ensure_buyer: Callable[[], UUID]
    sign_in: Callable[[AbstractUser], None]
    sign_out: Callable[[], None]


def asked_anew(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let a browser keep the page, but ask before it shows the page again.

    For a visitor who is signed in, the browser keeps nothing, as with all pages of a buyer.
    """

    @functools.wraps(view)
    def answered(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
        response = view(request, *arguments, **named)
        if not cast(Any, request).user.is_authenticated:
            patch_cache_control(response, private=True, no_cache=True)
        return response

    return answered
