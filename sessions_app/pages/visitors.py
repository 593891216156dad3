"""What a page knows of whoever looks at it."""

import functools
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control


class Visitor(HttpRequest):
    """A page's request as the identity middleware leaves it.

    `buyer` is None for a browser that has never chosen anything; `ensure_buyer()` makes it a guest from now on. `sign_in(user)` and
    `sign_out()` change who it is.
    """

    buyer: UUID | None
    ensure_buyer: Callable[[], UUID]
    sign_in: Callable[[AbstractUser], None]
    sign_out: Callable[[], None]


def asked_anew(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A browser may keep the page, and asks before it shows it again; where it names a person, it keeps nothing, as of all that is a buyer's."""

    @functools.wraps(view)
    def answered(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
        response = view(request, *arguments, **named)
        if not cast(Any, request).user.is_authenticated:
            patch_cache_control(response, private=True, no_cache=True)
        return response

    return answered
