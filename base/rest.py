"""What every REST view here shares: who asks, how lists page, money and problems on the wire.

It stands at the bottom of the import order so that all apps may use it; nothing of the domain imports it.
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

LONGEST_WAIT = 10.0  # seconds, of `Prefer: wait=N`
DEFAULT_LIMIT = 50
HIGHEST_LIMIT = 200
WHOLE_BODY = "body"  # where an error of no single field is told
UUID_TEXT = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

Row = TypeVar("Row", bound=Model)
Found = TypeVar("Found")


class IsBuyer(permissions.BasePermission):
    """Anybody with credentials, a guest's too; else 401."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return asking(request) is not None


class IsStaff(IsBuyer):
    """Accounts with `is_staff`; a buyer without it gets 403, nobody at all 401."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        buyer = asking(request)
        return buyer is not None and buyer.is_staff


class BuyerAPIView(APIView):
    """A view for buyers only; `self.buyer` is who asks."""

    permission_classes = [IsBuyer]
    waited = 0.0  # seconds of `Prefer: wait=N` that were granted

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Whoever waited is told so, whatever came of it."""
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        if self.waited:
            answer["Preference-Applied"] = f"wait={self.waited:g}"
        return answer

    @property
    def buyer(self) -> Buyer:
        return cast(Buyer, self.request.user)


class BusyAPIView(BuyerAPIView):
    """For calls that come by the thousand a second: what DRF makes anew for each request, and is the same each time, is made once.

    Its parsers, authenticators and permissions must keep nothing of a request; ours don't.
    """

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """There is neither a format to negotiate nor a version."""
        self.perform_authentication(request)
        self.check_permissions(request)
        self.check_throttles(request)

    def perform_authentication(self, request: Request) -> None:
        found = (authenticator.authenticate(request) for authenticator in self.get_authenticators())
        request.user, request.auth = next(filter(None, found), (None, None))  # type: ignore[assignment] # stubs know Django's users alone

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
    """JSON in UTF-8, said so as nearly everybody says it."""
    return request.META.get("CONTENT_TYPE", "").lower() in JSON_TYPES


class CursorPagination(pagination.CursorPagination):
    """`?limit=` (default 50, at most 200) and `?cursor=`; a bad value of either is 400, not silently something else."""

    page_size = DEFAULT_LIMIT
    page_size_query_param = "limit"
    max_page_size = HIGHEST_LIMIT
    ordering: str | list[str] | tuple[str, ...] = "-id"

    ahead = 0  # of what comes first and is no row; the first page has as many rows less

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
    first: Callable[[], list[dict[str, Any]]] = list,
) -> Response:
    """One page of `rows` as API.md's list body, newest first unless `ordering` says otherwise.

    `first`: what the first page begins with, bodies of what isn't among the rows yet; fewer than a page.
    """
    pages = CursorPagination()
    pages.ordering = ordering
    ahead = [] if "cursor" in request.query_params else first()[: pages.get_page_size(request) - 1]
    pages.ahead = len(ahead)
    page = render(pages.paginate_queryset(rows, request) or [])
    known = {body["id"] for body in page} if ahead else set()
    return pages.get_paginated_response([*(body for body in ahead if body["id"] not in known), *page])


# --- Whose things: one's own; anybody's for staff; what is somebody else's isn't there


def as_staff_too(buyer: Buyer, find: Callable[[UUID | None], Found], *, permission: str, given: bool = False) -> Found:
    """What `find` finds of the buyer's own; if that is nothing, staff with the permission look among everybody's (None).

    `given`: being staff without a group is not enough.
    """
    try:
        return find(buyer.id)
    except ObjectDoesNotExist:
        if not (buyer.was_given(permission) if given else buyer.may(permission)):
            raise
    return find(None)


def listed_buyer(request: Request, buyer: Buyer, *, permission: str) -> UUID | None:
    """Whose list is asked for: one's own; with `?buyer=` staff with the permission see that buyer's, with an empty one all (None)."""
    asked = request.query_params.get("buyer")
    if asked is None or asked == str(buyer.id):
        return buyer.id
    if asked and not re.fullmatch(UUID_TEXT, asked):
        raise exceptions.ValidationError({"buyer": [_("Must be the id of a buyer.")]})
    if not buyer.may(permission):
        raise exceptions.NotFound
    return UUID(asked) if asked else None


# --- Fields that take what the schema says and nothing else: "2" is no number, 7 is no text


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
            data = int(data)  # JSON knows one kind of number: 2.0 is 2
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


# --- What stands in many answers


class Money(serializers.Serializer[Any]):
    """An amount in minor units: 2500 BRL is R$ 25.00."""

    amount = serializers.IntegerField(min_value=0)
    currency = serializers.CharField(min_length=3, max_length=3)


class FieldError(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="The field with the problem; `body` if it is the request as a whole.")
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """RFC 9457, as every error is told; beside these fields stand the facts of that error."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()
    errors = FieldError(many=True, required=False)  # type: ignore[assignment] # a field on the wire, never validated here


REFUSALS = "x-refusals"  # taken out of the document again
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
    """The schema's responses for these statuses."""
    return {
        (status, "application/problem+json"): OpenApiResponse(Problem, description=TITLES[status], examples=examples)
        for status in statuses
    }


def refused_with(*refusals: type[Refused] | str) -> dict[str, list[str]]:
    """Name an operation's own refusals, or codes of other problems, for the schema: `extensions=refused_with(SoldOut)`.

    Those that any operation may answer are added to them (`config.web.openapi.answers`).
    """
    return {REFUSALS: [one if isinstance(one, str) else one.code for one in refusals]}


def prefer_wait(request: Request | HttpRequest) -> float:
    """Seconds of `Prefer: wait=N` (RFC 7240), 0 without; more than 10 counts as 10, nonsense is ignored as the RFC asks."""
    sent = request.META.get("HTTP_PREFER")
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", sent, re.IGNORECASE) if sent else None
    return min(float(found[1]), LONGEST_WAIT) if found else 0.0


def field_errors(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested messages as a flat list: `{"seats": {0: ["…"]}}` is the field `seats.0`."""
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
