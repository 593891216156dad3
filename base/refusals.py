"""What every refusal knows of itself: why a request gets nothing, told in the same words by database, API, pages and letters.

The catalogues are `reservations/refusals` and `ticketing/refusals.py`: each class there is an entry.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

Schema = dict[str, Any]  # JSON Schema

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NAMES: Schema = {"type": "array", "items": TEXT}
ERRORS: Schema = {"errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/FieldError"}}}
FIRST_FEW = 10  # of the names that a sentence lists


class Refused(Exception):
    """An error with facts. Its class says what people and programs are told of it; sentences are lazy translations."""

    reason: ClassVar[str]  # as a reservation's row stores it
    code: ClassVar[str]  # as a problem of the API says it: the reason, where nothing else is named
    status: ClassVar[int]  # of HTTP
    title: ClassVar[str]  # of the problem, in English
    sentence: ClassVar[Any]  # told to the person who asks just now
    ended: ClassVar[Any] = ""  # told of a reservation that ended for this reason; empty: none does
    heading: ClassVar[Any] = ""  # over that; empty: what its status is called
    advice: ClassVar[Any] = ""  # what that person can do
    to_staff: ClassVar[Any] = ""  # told at the box office; the sentence, where it is empty
    hint: Any = ""  # at the field; the sentence, where it is empty
    field: str = ""  # of the request: the one that would have to change
    shape: ClassVar[Schema] = {}  # of the facts, without `errors`
    retry_after: float | None = None  # seconds

    do_not_call_in_templates = True  # a template that names a class would make an error of it

    def __init_subclass__(cls, *, reason: str = "", code: str = "", status: int = 0, title: str = "") -> None:
        """What isn't said is as in the class above."""
        if reason:
            cls.reason, cls.code = reason, code or reason
        cls.status = status or getattr(cls, "status", 0)
        cls.title = title or getattr(cls, "title", "")

    def said(self) -> str:
        """Return the sentence, with the facts that it names."""
        return str(self.sentence)

    @classmethod
    def told_to_staff(cls) -> str:
        return str(cls.to_staff or cls.sentence)

    @classmethod
    def story(cls) -> str:
        """What became of a reservation, and what its buyer can do."""
        return f"{cls.ended} {cls.advice}".strip()

    def facts(self) -> dict[str, Any]:
        """Return the members that the problem has beside those of RFC 9457."""
        if not self.field:
            return {}
        return {"errors": [{"field": self.field, "message": str(self.hint or self.sentence)}]}


def listed(names: list[str]) -> dict[str, str]:
    """For sentences that name what is wrong."""
    return {"names": ", ".join(names[:FIRST_FEW])}


def when(seconds: float | None) -> str:
    """Say when to come again, where the refusal knows."""
    if not seconds:
        return ""
    if seconds < 120:
        count = max(1, math.ceil(seconds))
        return ngettext("Try again in %(count)d second.", "Try again in %(count)d seconds.", count) % {"count": count}
    return _("Try again in %(count)d minutes.") % {"count": math.ceil(seconds / 60)}
