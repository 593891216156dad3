"""What a page knows of whoever looks at it."""

from collections.abc import Callable
from uuid import UUID

from django.http import HttpRequest


class Visitor(HttpRequest):
    """A page's request as the identity middleware leaves it.

    `buyer` is None for a browser that has never chosen anything; `ensure_buyer()` makes it a guest from now on.
    """

    buyer: UUID | None
    ensure_buyer: Callable[[], UUID]
