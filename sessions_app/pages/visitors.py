"""What a page knows of whoever looks at it."""

from collections.abc import Callable
from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest


class Visitor(HttpRequest):
    """A page's request as the identity middleware leaves it.

    `buyer` is None for a browser that has never chosen anything; `ensure_buyer()` makes it a guest from now on. `sign_in(user)` and
    `sign_out()` change who it is.
    """

    buyer: UUID | None
    ensure_buyer: Callable[[], UUID]
    sign_in: Callable[[AbstractUser], None]
    sign_out: Callable[[], None]
