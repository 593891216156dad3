"""Define what every refusal knows. Database, API, pages and letters give the same reason in the same words.

The catalogues are `reservations/refusals` and `ticketing/refusals.py`. Each class there is an entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

Schema = dict[str, Any]  # JSON Schema
Facts = Mapping[str, object]  # members of the problem; ready for JSON

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NAMES: Schema = {"type": "array", "items": TEXT}
ERRORS: Schema = {"errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/FieldError"}}}
FIRST_FEW = 10  # names that a sentence lists at most


class Refused(Exception):
    """Refuse a request, with facts. The class holds the sentences that people are told, as lazy translations."""

    reason: ClassVar[str]  # the value in a reservation's row
    code: ClassVar[str]  # the code of a problem in the API; by default the reason
    status: ClassVar[int]  # HTTP status
    title: ClassVar[str]  # title of the problem, in English
    sentence: ClassVar[Any]  # for the person who sends the request
    ended: ClassVar[Any] = ""  # for a reservation that ended for this reason; empty if none does
    heading: ClassVar[Any] = ""  # heading over `ended`; if empty, the name of its status
    advice: ClassVar[Any] = ""  # what that person can do next
    to_staff: ClassVar[Any] = ""  # for the box office; if empty, the sentence
    hint: Any = ""  # for the field; if empty, the sentence
    field: str = ""  # the field of the request that would have to change
    shape: ClassVar[Schema] = {}  # JSON Schema of the facts, without `errors`
    retry_after: float | None = None  # seconds

    do_not_call_in_templates = True  # a template that names a class would otherwise create an error

    def __init_subclass__(cls, *, reason: str = "", code: str = "", status: int = 0, title: str = "") -> None:
        """Inherit from the parent class every value that is not given."""
        if reason:
            cls.reason, cls.code = reason, code or reason
        cls.status = status or getattr(cls, "status", 0)
        cls.title = title or getattr(cls, "title", "")

    def said(self) -> str:
        """Return the sentence with its facts filled in."""
        return str(self.sentence)

    @classmethod
    def told_to_staff(cls) -> str:
        return str(cls.to_staff or cls.sentence)

    @classmethod
    def story(cls) -> str:
        """Return what happened to a reservation and what its buyer can do."""
        return f"{cls.ended} {cls.advice}".strip()

    def facts(self) -> Facts:
        """Return the members that the problem has besides those of RFC 9457."""
        if not self.field:
            return {}
        return {"errors": [{"field": self.field, "message": str(self.hint or self.sentence)}]}


def listed(names: list[str]) -> dict[str, str]:
    """Return the facts of a sentence that lists what is wrong."""
    return {"names": ", ".join(names[:FIRST_FEW])}


def when(seconds: float | None) -> str:
    """Return a sentence that says when to try again; empty if the refusal does not know."""
    if not seconds:
        return ""
    if seconds < 120:
        count = max(1, math.ceil(seconds))
        return ngettext("Try again in %(count)d second.", "Try again in %(count)d seconds.", count) % {"count": count}
    return _("Try again in %(count)d minutes.") % {"count": math.ceil(seconds / 60)}
