"""Share what every REST view here needs: the buyer, pages of lists, money and problems in JSON.

This module is at the bottom of the import order so that all apps may use it. It imports nothing of the domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import exceptions, pagination, permissions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from base.asking import Buyer, asking
from base.refusals import Refused

LONGEST_WAIT = 10.0  # seconds, the limit of `Prefer: wait=N`
DEFAULT_LIMIT = 50
HIGHEST_LIMIT = 200
WHOLE_BODY = "body"  # names an error that concerns no single field
UUID_TEXT = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

Row = TypeVar("Row", bound=Model)
Found = TypeVar("Found")


class IsBuyer(permissions.BasePermission):
    """Allow any request with credentials, also a guest's; refuse others with 401."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return asking(request) is not None


class IsStaff(IsBuyer):
    """Allow accounts with `is_staff`. Other buyers get 403, requests without credentials 401."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        buyer = asking(request)
        return buyer is not None and buyer.is_staff


class BuyerAPIView(APIView):
    """Serve buyers only: a request needs the credentials of a guest or an account."""

    permission_classes = [IsBuyer]
    waited = 0.0  # seconds of `Prefer: wait=N` that were granted

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Add `Preference-Applied` to every answer that was delayed by `Prefer: wait`, whatever the outcome."""
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        if self.waited:
            answer["Preference-Applied"] = f"wait={self.waited:g}"
        return answer

    @property
    def buyer(self) -> Buyer:
        return cast(Buyer, self.request.user)


class BusyAPIView(BuyerAPIView):
    """Serve thousands of calls a second: make once what DRF makes again for each request.

    Its parsers, authenticators and permissions must keep nothing of a request; ours keep nothing.
    """

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Skip the negotiation of format and version, because there is only one of each."""
        self.perform_authentication(request)
        self.check_permissions(request)
        self.check_throttles(request)

    def perform_authentication(self, request: Request) -> None:
        found = (authenticator.authenticate(request) for authenticator in self.get_authenticators())
        request.user, request.auth = next(filter(None, found), (None, None))  # type: ignore[assignment] # a Buyer

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        renderer = self.get_renderers()[0]
        return renderer, str(renderer.media_type)

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {"Allow": _allowed(type(self))}  # type: ignore[arg-type] # mypy doubts that classes can be hashed

    def get_parsers(self) -> list[Any]:
        return _made_once(tuple(self.parser_classes))

    def get_authenticators(self) -> list[Any]:
        return _made_once(tuple(self.authentication_classes))

    def get_permissions(self) -> list[Any]:
        return _made_once(tuple(self.permission_classes))

    def get_renderers(self) -> list[Any]:
        return _made_once(tuple(self.renderer_classes))


@cache
def _allowed(view: type[APIView]) -> str:
    return ", ".join(view().allowed_methods)


@cache
def _made_once(classes: tuple[type, ...]) -> list[Any]:
    return [kind() for kind in classes]


JSON_TYPES = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})


def is_plain_json(request: HttpRequest) -> bool:
    """Tell whether the content type is JSON in UTF-8 in one of its usual spellings."""
    return request.META.get("CONTENT_TYPE", "").lower() in JSON_TYPES


class CursorPagination(pagination.CursorPagination):
    """Page with `?limit=` (default 50, at most 200) and `?cursor=`. A bad value of either is refused with 400."""

    page_size = DEFAULT_LIMIT
    page_size_query_param = "limit"
    max_page_size = HIGHEST_LIMIT
    ordering: str | list[str] | tuple[str, ...] = "-id"

    ahead = 0  # entries before the first row; the first page has that many rows fewer

    def get_page_size(self, request: Request) -> int:
        return max(1, self._limit(request) - self.ahead)

    def _limit(self, request: Request) -> int:
        asked = request.query_params.get("limit")
        if asked is None:
            return DEFAULT_LIMIT
        if re.fullmatch(r"[0-9]{1,4}", asked) and 1 <= int(asked) <= HIGHEST_LIMIT:
            return int(asked)
        raise exceptions.ValidationError({"limit": [_("Must be a whole number from 1 to 200.")]})

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (exceptions.NotFound, DjangoValidationError, ValueError, OverflowError, DataError):
            raise exceptions.ValidationError({"cursor": [_("This is not a cursor of this list.")]}) from None

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": HIGHEST_LIMIT, "default": DEFAULT_LIMIT}
        return [
            {"name": "cursor", "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "required": False, "schema": limit},
        ]


def paged(
    request: Request,
    rows: QuerySet[Row],
    render: Callable[[list[Row]], list[Any]],
    *,
    ordering: tuple[str, ...] = ("-id",),
    first: Callable[[], Sequence[Mapping[str, Any]]] = list,
) -> Response:
    """Return one page of `rows` as the API's list body, newest first unless `ordering` says otherwise.

    `first` returns bodies for the start of the first page that are not yet among the rows; there are fewer than a page.
    """
    pages = CursorPagination()
    pages.ordering = ordering
    ahead = [] if "cursor" in request.query_params else first()[: pages.get_page_size(request) - 1]
    pages.ahead = len(ahead)
    page = render(pages.paginate_queryset(rows, request) or [])
    known = {body["id"] for body in page} if ahead else set()
    return pages.get_paginated_response([*(body for body in ahead if body["id"] not in known), *page])


# --- Access: buyers see their own things, staff see all; other buyers' things are reported as not found


def as_staff_too(buyer: Buyer, find: Callable[[UUID | None], Found], *, permission: str, given: bool = False) -> Found:
    """Find among the buyer's own things. If that finds nothing, let staff with the permission find among all (None).

    With `given`, it is not enough to be staff without a group.
    """
    try:
        return find(buyer.id)
    except ObjectDoesNotExist:
        if not (buyer.was_given(permission) if given else buyer.may(permission)):
            raise
    return find(None)


def listed_buyer(request: Request, buyer: Buyer, *, permission: str) -> UUID | None:
    """Return the buyer whose list to show: the sender, or for staff the one in `?buyer=`; None if that is empty."""
    asked = request.query_params.get("buyer")
    if asked is None or asked == str(buyer.id):
        return buyer.id
    if asked and not re.fullmatch(UUID_TEXT, asked):
        raise exceptions.ValidationError({"buyer": [_("Must be the id of a buyer.")]})
    if not buyer.may(permission):
        raise exceptions.NotFound
    return UUID(asked) if asked else None


# --- Fields that accept only what the schema says: "2" is not a number, 7 is not text


class Text(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        if not kwargs.get("allow_blank"):
            kwargs.setdefault("min_length", 1)  # so that the schema says it too
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Email(Text, serializers.EmailField):
    pass


class WholeNumber(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)  # JSON has one kind of number: 2.0 is 2
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class YesNo(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Id(serializers.UUIDField):
    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str) or not re.fullmatch(UUID_TEXT, data):
            self.fail("invalid", value=data)
        return UUID(data)


# --- Shapes that many answers share


class Money(serializers.Serializer[Any]):
    """An amount in minor units: 2500 BRL is R$ 25.00."""

    amount = serializers.IntegerField(min_value=0)
    currency = serializers.CharField(min_length=3, max_length=3)


class FieldError(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="The field with the problem; `body` if it is the request as a whole.")
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """An error in the form of RFC 9457, with the facts of that error as further members."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()
    errors = FieldError(many=True, required=False)  # type: ignore[assignment] # output only


REFUSALS = "x-refusals"  # removed from the document at the end
TITLES = {
    400: "The request is not valid",
    401: "Credentials are missing or not valid",
    402: "The payment was declined",
    403: "Not allowed",
    404: "There is nothing here, or it belongs to another buyer",
    409: "Another change came first",
    410: "Too late",
    413: "The body is too large",
    415: "Not JSON",
    422: "A different request used this Idempotency-Key before",
    429: "Too many requests; `Retry-After` says how long to wait",
    503: "Overloaded, or a dependency is down; `Retry-After` says how long to wait",
}


def problems_of(*statuses: int, examples: Sequence[OpenApiExample] = ()) -> dict[tuple[int, str], OpenApiResponse]:
    """Return the schema's responses for these statuses."""
    return {
        (status, "application/problem+json"): OpenApiResponse(Problem, description=TITLES[status], examples=examples)
        for status in statuses
    }


def refused_with(*refusals: type[Refused] | str) -> dict[str, list[str]]:
    """Name an operation's own refusals, or codes of other problems, for the schema: `extensions=refused_with(SoldOut)`.

    `config.web.openapi.answers` adds those that any operation may answer.
    """
    return {REFUSALS: [one if isinstance(one, str) else one.code for one in refusals]}


def prefer_wait(request: Request | HttpRequest) -> float:
    """Return the seconds of `Prefer: wait=N` (RFC 7240), at most 10; 0 without. Ignore nonsense, as the RFC asks."""
    sent = request.META.get("HTTP_PREFER")
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", sent, re.IGNORECASE) if sent else None
    return min(float(found[1]), LONGEST_WAIT) if found else 0.0


def field_errors(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """Flatten DRF's nested messages: `{"seats": {0: ["…"]}}` becomes the field `seats.0`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            whole = name == api_settings.NON_FIELD_ERRORS_KEY
            yield from field_errors(inner, path if whole else f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list | tuple):
        for number, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            yield from field_errors(inner, f"{path}.{number}" if nested and path else path)
    else:
        yield {"field": path or WHOLE_BODY, "message": str(detail)}
