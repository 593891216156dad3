"""Tell who sends a request, and check its headers and body. DRF loads this module before its views exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any, ClassVar, cast
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions, negotiation, parsers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from base import bodies
from base.refusals import Refused


@dataclass(frozen=True)
class Buyer:
    """Identify the guest or user of a request without a query. `user` costs a query, so only staff checks read it."""

    id: UUID
    is_guest: bool
    # the account's stamp, which its cookie and refresh token carry
    stamp: str = field(default="", compare=False, repr=False)
    is_authenticated: ClassVar[bool] = True

    @cached_property
    def user(self) -> AbstractUser | None:
        """Return the active account of the buyer; None for guests."""
        if self.is_guest:
            return None
        return cast(AbstractUser | None, get_user_model().objects.filter(pk=self.id, is_active=True).first())

    @property
    def user_id(self) -> UUID | None:
        return None if self.is_guest else self.id

    @property
    def pk(self) -> UUID:
        return self.id

    @property
    def is_staff(self) -> bool:
        return self.user is not None and self.user.is_staff

    def may(self, permission: str) -> bool:
        """Tell whether the buyer's account passes `staff_may`."""
        return self.user is not None and staff_may(self.user, permission)

    def was_given(self, permission: str) -> bool:
        """Tell whether the buyer's account is staff and has the permission itself."""
        return self.user is not None and self.user.is_staff and self.user.has_perm(permission)


def staff_may(user: AbstractUser | AnonymousUser, permission: str) -> bool:
    """Tell whether the user is staff with this permission or staff without a group. Groups narrow what staff may do."""
    return bool(user.is_staff and (user.has_perm(permission) or not user.groups.exists()))


class OtherBuyer(Refused, reason="other_buyer", status=409, title="Another person asked for this"):
    """Refuse a page's request for another person: the user signed in or out after the page was loaded."""

    sentence = _(
        "Another person asked for this before you signed in or out, so nothing was done. If you want it, ask for it "
        "yourself."
    )


class CSRFFailed(exceptions.PermissionDenied):
    """Refuse a cookie's request without a CSRF token: the user signed in or out after the page was made."""

    default_code = "csrf_failed"
    default_detail = _(
        "Nothing was done: a person signed in or out in this browser after this page was loaded. Load the page "
        "again, then try again."
    )


def asking(request: Request | HttpRequest) -> Buyer | None:
    """Return the buyer who sent the request; None without credentials. Raises: AuthenticationFailed for bad ones."""
    who: object = request.user
    return who if isinstance(who, Buyer) else None


class AlwaysJSON(negotiation.DefaultContentNegotiation):
    """Answer JSON whatever `Accept` says, because there is no other format."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class JSONParser(parsers.JSONParser):
    """Parse JSON as DRF does, but refuse repeated names, and treat a million opening brackets as a client's error."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Parse the body. Raises: ParseError, ValidationError."""
        try:
            body, twice = bodies.read(str(stream.read(), (parser_context or {}).get("encoding", "utf-8")))
        except ValueError as error:
            raise exceptions.ParseError(f"JSON parse error - {error}") from None
        except RecursionError:
            raise exceptions.ParseError("JSON parse error - nested too deeply") from None
        if twice:
            raise exceptions.ValidationError({name: [_("Give this value only once.")] for name in twice})
        return body


KEY = r'"[\x21\x23-\x7e]{1,255}"|[\x21\x23-\x7e][\x21-\x7e]{0,254}'


def idempotency_key(meta: Mapping[str, Any]) -> str | None:
    """Return the idempotency key of the WSGI headers, without quotes; None if there is none.

    Raises: ValidationError.
    """
    sent: str | None = meta.get("HTTP_IDEMPOTENCY_KEY")
    if sent is None:
        return None
    key = sent.strip()
    if not re.fullmatch(KEY, key):
        raise exceptions.ValidationError({"Idempotency-Key": [_("Must be 1 to 255 visible characters.")]})
    return key[1:-1] if key.startswith('"') else key
