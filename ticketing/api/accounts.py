"""Make a client a buyer: as a guest, with a new account, or with an existing one."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate, password_validation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from base.asking import Buyer, asking
from base.rest import BuyerAPIView, Email, Text, problems_of, refused_with
from base.strict import Body, NoBody
from ticketing import identity
from ticketing.models import User
from ticketing.people import accounts


class BadCredentials(exceptions.AuthenticationFailed):
    default_code = "bad_credentials"


class Credentials(Body):
    username = Text(max_length=150, trim_whitespace=False)
    password = Text(max_length=128, trim_whitespace=False, write_only=True)


class NewAccount(Body):
    """A name for signing in, and a password that follows the house's rules."""

    username = Text(max_length=150, validators=[User.username_validator])
    password = Text(max_length=128, trim_whitespace=False, write_only=True)
    email = Email(required=False, allow_blank=True, default="")

    def validate_username(self, value: str) -> str:
        name = User.normalize_username(value)
        if User.objects.filter(username__iexact=name).exists():
            raise serializers.ValidationError(_("This name is already taken. Choose another name."), code="taken")
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        account = User(username=attrs["username"], email=attrs["email"])
        try:
            password_validation.validate_password(attrs["password"], user=account)
        except DjangoValidationError as error:
            raise serializers.ValidationError({"password": error.messages}) from None
        return attrs


class RefreshToken(Body):
    refresh = Text(max_length=2_000)


class Tokens(serializers.Serializer[Any]):
    """`access` opens the API for 30 minutes, `refresh` gets the next pair for 30 days, `buyer` is the buyer's id."""

    access = serializers.CharField()
    refresh = serializers.CharField()
    buyer = serializers.UUIDField()


TOKENS_EXAMPLE = OpenApiExample(
    "A pair of tokens",
    value={
        "access": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk…",
        "refresh": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk…",
        "buyer": "019337a5-2c1e-7b1f-9a44-2f1c0d9e8b11",
    },
    response_only=True,
)
CREDENTIALS_EXAMPLE = OpenApiExample(
    "An account of the demo", value={"username": "ana", "password": "frontrow-demo"}, request_only=True
)
REFRESH_EXAMPLE = OpenApiExample(
    "A refresh token", value={"refresh": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMTk…"}, request_only=True
)
NEW_ACCOUNT_EXAMPLE = OpenApiExample(
    "A new account", value={"username": "carla", "password": "poltrona-da-frente-7"}, request_only=True
)


class Me(serializers.Serializer[Any]):
    """`name` is the account's; a guest has none."""

    buyer = serializers.UUIDField()
    is_guest = serializers.BooleanField()
    name = serializers.CharField(allow_blank=True)


class MeView(BuyerAPIView):
    @extend_schema(
        operation_id="me",
        summary="Who is asking",
        description="Returns the buyer that the token or the cookie names.",
        tags=["Who is asking"],
        responses={200: Me, **problems_of(401)},
    )
    def get(self, request: Request) -> Response:
        account = self.buyer.user
        if account is None and not self.buyer.is_guest:
            raise exceptions.NotAuthenticated  # the account was closed or deleted while its token is valid
        return Response(
            {
                "buyer": self.buyer.id,
                "is_guest": self.buyer.is_guest,
                "name": account.get_username() if account else "",
            }
        )


class GuestView(APIView):
    throttle_scope = "guest"

    @extend_schema(
        operation_id="auth_guest",
        summary="Become a buyer without an account",
        description="Makes a new anonymous buyer without writing a database row.",
        tags=["Who is asking"],
        auth=[],
        request=None,
        responses={201: OpenApiResponse(Tokens, examples=[TOKENS_EXAMPLE]), **problems_of(400, 413, 415, 429)},
    )
    def post(self, request: Request) -> Response:
        NoBody(data=request.data or {}).is_valid(raise_exception=True)
        return Response(identity.issue_tokens(identity.new_guest()), status=201)


class RegisterView(APIView):
    throttle_scope = "credentials"

    @extend_schema(
        operation_id="auth_register",
        extensions=refused_with("csrf_failed"),
        summary="Make an account",
        description=(
            "If a guest sends this (with token or cookie), the guest's requests, holds, purchases and "
            "idempotency keys move to the account. The answer has tokens of the account; the guest's own tokens "
            "end."
        ),
        tags=["Who is asking"],
        request=NewAccount,
        responses={201: OpenApiResponse(Tokens, examples=[TOKENS_EXAMPLE]), **problems_of(400, 401, 403, 429, 503)},
        examples=[NEW_ACCOUNT_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        fields = NewAccount(data=request.data)
        fields.is_valid(raise_exception=True)
        user = register(guest=asking(request), **fields.validated_data)
        return Response(identity.issue_tokens(identity.as_buyer(user)), status=201)


class TokenView(APIView):
    throttle_scope = "credentials"

    @extend_schema(
        operation_id="auth_token",
        extensions=refused_with("bad_credentials", "csrf_failed", "locked_out"),
        summary="Sign in",
        description=(
            "If a guest sends this (with token or cookie), the guest's requests, holds, purchases and "
            "idempotency keys move to the account."
        ),
        tags=["Who is asking"],
        request=Credentials,
        responses={200: OpenApiResponse(Tokens, examples=[TOKENS_EXAMPLE]), **problems_of(400, 401, 403, 429, 503)},
        examples=[CREDENTIALS_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        guest = asking(request)
        fields = Credentials(data=request.data)
        fields.is_valid(raise_exception=True)
        user = authenticate(request._request, **fields.validated_data)  # noqa: SLF001 DRF offers it under no other name
        if user is None:
            raise BadCredentials(_("No account has this name and password."))
        if guest is not None and guest.is_guest:
            identity.adopt(guest=guest, user=user)
        return Response(identity.issue_tokens(identity.as_buyer(user)))


class RefreshView(APIView):
    throttle_scope = "guest"
    # the refresh token is the credential; an expired access token beside it does not matter
    authentication_classes = []

    @extend_schema(
        operation_id="auth_token_refresh",
        extensions=refused_with("bad_credentials"),
        summary="Get the next pair of tokens",
        description="The refresh token is the credential. An expired access token in the same request does no harm.",
        tags=["Who is asking"],
        auth=[],
        request=RefreshToken,
        responses={200: OpenApiResponse(Tokens, examples=[TOKENS_EXAMPLE]), **problems_of(400, 401, 415, 429, 503)},
        examples=[REFRESH_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        fields = RefreshToken(data=request.data)
        fields.is_valid(raise_exception=True)
        try:
            buyer = identity.read_token(fields.validated_data["refresh"], kind=identity.REFRESH)
        except identity.InvalidToken:
            raise BadCredentials(_("The refresh token is malformed, forged or expired.")) from None
        if not buyer.is_guest:
            buyer = _still_signed_in(buyer)
        if buyer.is_guest and accounts.is_over(buyer.id):
            raise BadCredentials(_("This guest has an account now. Sign in with it."))
        return Response(identity.issue_tokens(buyer))

    def get_authenticate_header(self, request: Request) -> str:
        return identity.CHALLENGE


def _still_signed_in(buyer: Buyer) -> Buyer:
    """Return the account behind a refresh token as a buyer, with a new stamp. Raises: BadCredentials."""
    user = User.objects.filter(pk=buyer.id, is_active=True).first()
    if user is None:
        raise BadCredentials(_("This account is closed."))
    if buyer.stamp != user.stamp:
        raise BadCredentials(_("You have signed out or changed the password since then. Sign in again."))
    return identity.as_buyer(user)


def register(*, username: str, password: str, email: str, guest: Buyer | None) -> User:
    """Make the account, and give it everything that the guest has. Raises: ValidationError if the name is taken."""
    user = User(username=username, email=User.objects.normalize_email(email))
    user.set_password(password)  # before the transaction: see Note [Hashing in turns] in hashing.py
    with transaction.atomic():
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            raise serializers.ValidationError(
                {"username": [_("This name is already taken. Choose another name.")]}
            ) from None
        if guest is not None and guest.is_guest:
            identity.adopt(guest=guest, user=user)
    return user
