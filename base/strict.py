"""Refuse unknown fields and query parameters, and suggest the nearest known name. No input is silently ignored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import SequenceMatcher
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions, serializers

from base.rest import WholeNumber

NEAR = 0.5  # of 1; a name less alike than this was not a typing error
LONGEST_NAME = 60  # characters of an unknown name in an answer
MOST_NAMES = 20  # unknown names in an answer
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
OF_LISTS = ("cursor", "limit")


class Body(serializers.Serializer[Any]):
    """A request's fields. Any other field is refused, also in the objects inside."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = unknown_fields(data, [name for name, field in self.fields.items() if not field.read_only])
        try:
            value = super().to_internal_value(data)
        except exceptions.ValidationError as error:
            if unknown and isinstance(error.detail, dict):
                raise exceptions.ValidationError({**unknown, **error.detail}) from error
            raise
        if unknown:
            raise exceptions.ValidationError(unknown)
        return value


class NoBody(Body):
    """Define a request without fields."""


class MinorUnits(WholeNumber):
    """Hold an amount of money in minor units: 2500 is 25.00."""

    default_error_messages = {
        "minor_units": gettext_lazy(
            "Money must be a whole number of minor units, without a decimal point: 2500 for 25.00."
        )
    }

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("minor_units")
        return super().to_internal_value(data)


def unknown_fields(data: Any, known: Collection[str]) -> dict[str, list[str]]:
    """Return the errors in the names of an object."""
    unknown = sorted(set(map(str, data)) - set(known)) if isinstance(data, Mapping) else []
    return {name[:LONGEST_NAME]: [_unknown(name, known)] for name in unknown[:MOST_NAMES]}


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that was most likely meant."""
    alike = {
        other: SequenceMatcher(None, name.lower()[:LONGEST_NAME], other.lower()).ratio() for other in sorted(known)
    }
    best = max(alike, key=alike.__getitem__, default=None)
    return best if best is not None and alike[best] >= NEAR else None


def _unknown(name: str, known: Collection[str]) -> str:
    meant = nearest(name, known)
    if meant is not None:
        return _("There is no such field. Did you mean “%(nearest)s”?") % {"nearest": meant}
    if not known:
        return _("There is no such field: this request has no fields.")
    return _("There is no such field. The known fields are: %(names)s.") % {"names": ", ".join(sorted(known))}


# --- Query parameters


def check_query(request: HttpRequest, view: Any) -> exceptions.ValidationError | None:
    """Return the errors in the names of a query string; None if there are none or the method is unknown."""
    method = "GET" if request.method == "HEAD" else str(request.method)
    if not request.META.get("QUERY_STRING") or method not in METHODS or not hasattr(view, method.lower()):
        return None
    known = query_fields(view) if method == "GET" else set[str]()
    wrong = unknown_fields(request.GET, known)
    twice = [name for name in request.GET if name in known and len(request.GET.getlist(name)) > 1]
    wrong |= {name: [_("Give this value only once.")] for name in twice}
    return exceptions.ValidationError(wrong) if wrong else None


def query_fields(view: Any) -> set[str]:
    """Return the query parameters that a class of views reads: its own, its filters and those of lists."""
    filters = getattr(getattr(view, "filterset_class", None), "base_filters", {})
    lists = OF_LISTS if getattr(view, "pagination_class", None) else ()
    return {*getattr(view, "query_fields", ()), *filters, *lists}
