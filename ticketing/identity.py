"""Identify the sender of a request by a JWT or by the signed cookie `buyer`. Neither costs a query.

A buyer is a UUID. A guest's is only ever in a token or a cookie; a user's is the account's primary key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

import jwt
from django.conf import settings
from django.contrib import auth
from django.core import signing
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware, rotate_token
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from base import causes
from base.asking import Buyer, CSRFFailed, OtherBuyer
from base.clock import reckoned_now
from base.ids import uuid7
from reservations import people
from ticketing import stamps
from ticketing.models import User
from ticketing.people import accounts, tokens

__all__ = [
    "Buyer",
    "BuyerAuthentication",
    "BuyerMiddleware",
    "InvalidToken",
    "OtherBuyer",
    "as_buyer",
    "buyer_of_cookie",
    "buyer_of_token",
    "ensure_buyer",
    "is_guest",
    "issue_tokens",
    "new_guest",
    "require_the_same",
    "sign_in",
    "sign_out",
]

COOKIE = "buyer"
NAME_COOKIE = "visitor_name"
ALGORITHM = "HS256"
ISSUER = "frontrow"
AUDIENCE = "frontrow-api"
MEANT = "HTTP_FRONTROW_BUYER"  # a header in which pages name the buyer that they act for
CHALLENGE = 'Bearer realm="frontrow"'
ACCESS, REFRESH = "access", "refresh"
COOKIE_RENEWAL_SECONDS = 24 * 3600  # an older cookie is renewed, so that a guest who returns stays the same buyer


class InvalidToken(Exception):
    """Report that the token is malformed, forged, expired, or of the other kind."""


def new_guest() -> Buyer:
    """Return a new buyer; no row is written."""
    return Buyer(id=uuid7(), is_guest=True)


def as_buyer(user: User) -> Buyer:
    """Return the user as a buyer, with the stamp for a new cookie and refresh token."""
    return Buyer(id=user.pk, is_guest=False, stamp=user.stamp)


# --- Tokens


@cache
def token_key() -> bytes:
    """Return the tokens' own key; the key of cookies never signs tokens."""
    return salted_hmac("ticketing.identity.tokens", settings.SECRET_KEY, algorithm="sha512").digest()


def _token(buyer: Buyer, *, kind: str, seconds: int) -> str:
    now = reckoned_now()
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(buyer.id),
        "typ": kind,
        "guest": buyer.is_guest,
        **({"stamp": buyer.stamp} if kind == REFRESH and buyer.stamp else {}),
        "iat": now,
        "exp": now + dt.timedelta(seconds=seconds),
    }
    return jwt.encode(claims, token_key(), algorithm=ALGORITHM)


def issue_tokens(buyer: Buyer) -> dict[str, str]:
    """Return the API's `{access, refresh, buyer}`."""
    return {
        "access": _token(buyer, kind=ACCESS, seconds=settings.JWT_ACCESS_SECONDS),
        "refresh": _token(buyer, kind=REFRESH, seconds=settings.JWT_REFRESH_SECONDS),
        "buyer": str(buyer.id),
    }


def read_token(token: str, *, kind: str = ACCESS) -> Buyer:
    """Return the buyer of a token. Raises: InvalidToken."""
    ours = tokens.claims_of(token, key=token_key(), issuer=ISSUER, audience=AUDIENCE)
    return _judged(token, kind=kind) if ours is None else _checked(ours, kind=kind)


def _checked(claims: tokens.Claims, *, kind: str) -> Buyer:
    try:
        buyer = Buyer(id=UUID(claims.sub), is_guest=claims.guest, stamp=claims.stamp)
    except ValueError as error:
        raise InvalidToken(type(error).__name__) from None
    if claims.exp <= reckoned_now().timestamp():
        raise InvalidToken("it ended")
    if claims.typ != kind:
        raise InvalidToken(f"not a token for {kind}")
    return buyer


def _judged(token: str, *, kind: str) -> Buyer:
    """Have PyJWT judge a token. See Note [Our own tokens] in `people.tokens`."""
    try:
        claims = jwt.decode(
            token,
            token_key(),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # The time of issue is only informative. The end is judged below by the database's clock, because this
            # process's clock may be ahead.
            options={"require": ["exp", "iat", "sub", "aud", "iss"], "verify_iat": False, "verify_exp": False},
        )
        is_over = int(claims["exp"]) <= reckoned_now().timestamp()
        buyer = Buyer(
            id=UUID(claims["sub"]), is_guest=bool(claims.get("guest", True)), stamp=str(claims.get("stamp", ""))
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
        raise InvalidToken(type(error).__name__) from None
    if is_over:
        raise InvalidToken("it ended")
    if claims.get("typ") != kind:
        raise InvalidToken(f"not a token for {kind}")
    return buyer


def buyer_of_token(token: str) -> UUID:
    """Return the buyer's id of an access token. Raises: InvalidToken."""
    return read_token(token).id


# --- The cookie

_signer = signing.TimestampSigner(salt="ticketing.identity.cookie")


def read_cookie(value: str | None) -> Buyer | None:
    """Return the buyer of a cookie; None for one that is missing, forged, too old or ended, which is not an error.

    An account's cookie costs a trip to Redis. Raises: DatabaseError, if its end cannot be checked.
    """
    try:
        kind, name, *stamp = _signer.unsign(value or "", max_age=settings.BUYER_COOKIE_SECONDS).split(".")
        buyer = Buyer(id=UUID(name), is_guest=kind != "user", stamp="".join(stamp))
    except (signing.BadSignature, ValueError):
        return None
    return buyer if buyer.is_guest or stamps.is_current(buyer.id, buyer.stamp) else None


def buyer_of_cookie(value: str | None) -> UUID | None:
    buyer = read_cookie(value)
    return buyer.id if buyer else None


def _is_ageing(value: str) -> bool:
    try:
        _signer.unsign(value, max_age=COOKIE_RENEWAL_SECONDS)
    except signing.BadSignature:
        return True
    return False


def write_cookie(response: HttpResponse, buyer: Buyer | None) -> None:
    if buyer is None:
        response.delete_cookie(COOKIE, samesite="Lax")
        return
    response.set_cookie(
        COOKIE,
        _signer.sign(f"guest.{buyer.id}" if buyer.is_guest else f"user.{buyer.id}.{buyer.stamp}"),
        max_age=settings.BUYER_COOKIE_SECONDS,
        httponly=True,
        secure=settings.SECURE_COOKIES,
        samesite="Lax",
    )


# --- Pages


@dataclass
class Visit:
    """Hold the buyer of one request's browser, and whether its cookie has to be written."""

    buyer: Buyer | None
    rewrite: bool = False

    def become(self, buyer: Buyer | None) -> None:
        self.buyer, self.rewrite = buyer, True

    def write(self, response: HttpResponse, request: HttpRequest) -> None:
        """Write the buyer's cookie, and how pages address an account: `visitor.js` reads that, and no server."""
        write_cookie(response, self.buyer)
        if self.buyer and not self.buyer.is_guest and request.user.is_authenticated:
            name = request.user.get_short_name() or request.user.get_username()
            response.set_cookie(
                NAME_COOKIE,
                quote(name),
                max_age=settings.BUYER_COOKIE_SECONDS,
                secure=settings.SECURE_COOKIES,
                samesite="Lax",
            )
        elif NAME_COOKIE in request.COOKIES:
            response.delete_cookie(NAME_COOKIE, samesite="Lax")


def _visit(request: HttpRequest) -> Visit:
    return cast(Visit, request.visit)  # type: ignore[attr-defined] # BuyerMiddleware puts it there


def _actor(request: HttpRequest) -> UUID | None:
    """Return the account of the open session, staff's too, or else the cookie's buyer."""
    if request.user.is_authenticated:
        return request.user.pk
    buyer = _visit(request).buyer
    return buyer.id if buyer else None


def ensure_buyer(request: HttpRequest) -> UUID:
    """Return the buyer of this browser; make it a new guest if there is none."""
    visit = _visit(request)
    if visit.buyer is None:
        visit.become(new_guest())
        request.buyer = cast(Buyer, visit.buyer).id  # type: ignore[attr-defined] # see BuyerMiddleware
    return cast(Buyer, visit.buyer).id


def is_guest(request: HttpRequest) -> bool:
    """Tell whether the visitor has no account or is not signed in."""
    buyer = _visit(request).buyer
    return buyer is None or buyer.is_guest


def sign_in(request: HttpRequest, user: User) -> None:
    """Give the guest's requests, holds and purchases to `user`, open a session of Django, and write a new cookie."""
    _become_user(request, user)
    auth.login(request, user, backend=settings.AUTHENTICATION_BACKENDS[-1])


def sign_out(request: HttpRequest) -> None:
    """Close the session and end the account's other credentials. The next user of this browser is another buyer."""
    auth.logout(request)
    _end_credentials(request)
    request.buyer = None  # type: ignore[attr-defined] # see BuyerMiddleware


@receiver(auth.user_logged_out)
def _signed_out(user: object, request: HttpRequest, **_told: Any) -> None:
    """Follow a sign-out by the admin's own button, and one in a browser that lost the cookie `buyer`."""
    if isinstance(user, User):
        accounts.end_credentials(user.pk)
        visit: Visit | None = getattr(request, "visit", None)
        if visit and visit.buyer and visit.buyer.id == user.pk:  # the cookie already ended with the session
            visit.become(None)
            rotate_token(request)


def _end_credentials(request: HttpRequest) -> None:
    visit = _visit(request)
    if visit.buyer and not visit.buyer.is_guest:
        accounts.end_credentials(visit.buyer.id)
    visit.become(None)
    rotate_token(request)


def _become_user(request: HttpRequest, user: User) -> None:
    visit = _visit(request)
    if visit.buyer and visit.buyer.is_guest:
        adopt(guest=visit.buyer, user=user)
    visit.become(as_buyer(user))
    request.buyer = user.pk  # type: ignore[attr-defined] # see BuyerMiddleware


def adopt(*, guest: Buyer, user: User) -> None:
    """Give the guest's things to the user. See `accounts.adopt_guest`."""
    accounts.adopt_guest(guest=guest.id, user=user)


class BuyerMiddleware:
    """Give pages `request.buyer` (UUID or None), `.ensure_buyer()`, `.sign_in(user)` and `.sign_out()`.

    It writes the cookie, stands inside Django's session middleware, and follows a session that was opened or closed
    elsewhere (the admin's own sign-in page). So the cookie never outlives its session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        cookie = request.COOKIES.get(COOKIE)
        visit = Visit(read_cookie(cookie))
        request.visit = visit  # type: ignore[attr-defined] # Django offers no typed place for it
        if visit.buyer is None and cookie:
            _take_up_session(request)
        request.buyer = visit.buyer.id if visit.buyer else None  # type: ignore[attr-defined] # likewise
        request.ensure_buyer = lambda: ensure_buyer(request)  # type: ignore[attr-defined] # likewise
        request.sign_in = lambda user: sign_in(request, user)  # type: ignore[attr-defined] # likewise
        request.sign_out = lambda: sign_out(request)  # type: ignore[attr-defined] # likewise
        causes.acted_by(partial(_actor, request))
        response = self.get_response(request)
        if request.session.modified:
            _follow_session(request)
        if visit.buyer and not visit.rewrite and cookie and _is_ageing(cookie):
            visit.rewrite = True
        if visit.rewrite or ((visit.buyer is None or visit.buyer.is_guest) and NAME_COOKIE in request.COOKIES):
            visit.write(response, request)
        return response


def _follow_session(request: HttpRequest) -> None:
    visit = _visit(request)
    key = request.session.get(auth.SESSION_KEY)
    if key:
        user = User.objects.filter(pk=key).first()
        if user is not None and (visit.buyer is None or (visit.buyer.id, visit.buyer.stamp) != (user.pk, user.stamp)):
            _become_user(request, user)
    elif visit.buyer and not visit.buyer.is_guest:
        _end_credentials(request)


def _take_up_session(request: HttpRequest) -> None:
    """Make a cookie from a valid session: after a change of password, only the browser that made it stays signed in."""
    user = auth.get_user(request)
    if isinstance(user, User):
        _visit(request).become(as_buyer(user))


# --- The API


class BuyerAuthentication(authentication.BaseAuthentication):
    """Accept `Authorization: Bearer <JWT>`, or the cookie, which needs the CSRF token for unsafe methods."""

    def authenticate(self, request: Request) -> tuple[Buyer, None] | None:
        buyer = buyer_of_request(request._request)  # noqa: SLF001 DRF offers Django's request under no other name
        return (buyer, None) if buyer else None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def buyer_of_request(request: HttpRequest) -> Buyer | None:
    """Return the sender, or None. A forged or expired cookie counts as no sender; such a token is an error.

    Raises: AuthenticationFailed, CSRFFailed, OtherBuyer.
    """
    scheme, _sep, token = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if scheme:
        buyer: Buyer | None = _buyer_of_bearer(scheme, token.strip())
    else:
        buyer = read_cookie(request.COOKIES.get(COOKIE))
        if buyer is not None:
            _enforce_csrf(request)
    if buyer is not None and MEANT in request.META:
        require_the_same(buyer.id, request.META[MEANT])
    if buyer is not None:
        known = buyer.id
        causes.acted_by(lambda: known)
    return buyer


def require_the_same(buyer: UUID, meant: str) -> None:
    """Check that the page was made for this buyer; `meant` names its buyer. The same id costs no query.

    Raises: OtherBuyer.
    """
    try:
        same = meant == str(buyer) or people.is_same(UUID(meant), buyer)
    except ValueError:
        same = False
    if not same:
        raise OtherBuyer


def _buyer_of_bearer(scheme: str, token: str) -> Buyer:
    if scheme.lower() != "bearer":
        raise exceptions.AuthenticationFailed(_("Use the scheme Bearer with an access token."), code="bad_token")
    try:
        return read_token(token)
    except InvalidToken:
        raise exceptions.AuthenticationFailed(
            _("The access token is malformed, forged or expired."), code="bad_token"
        ) from None


class _CSRFCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        """Return the reason instead of a page; it becomes a problem of the API."""
        return reason


def _enforce_csrf(request: HttpRequest) -> None:
    check = _CSRFCheck(lambda _request: HttpResponse())
    check.process_request(request)
    reason = check.process_view(request, lambda _request: HttpResponse(), (), {})
    if reason:
        raise CSRFFailed
