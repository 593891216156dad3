"""Read a hall's plan from a file that people write: a JSON document or a drawing. docs/plans.md describes both."""

from __future__ import annotations

from django.utils.translation import gettext as _

from sessions_app.plan_files import document, drawing
from sessions_app.plan_files.checks import PlanRefused, Wrong
from sessions_app.plans import Place

__all__ = ["MAX_BYTES", "PlanRefused", "Wrong", "document", "drawing", "read"]

MAX_BYTES = 2_000_000  # the largest hall takes about a third of it


def read(data: bytes) -> list[Place]:
    """Return the chairs of a document, which begins with a brace, or of a drawing. Raises: PlanRefused."""
    if len(data) > MAX_BYTES:
        raise PlanRefused([Wrong("", _("A plan has at most %(bytes)d bytes.") % {"bytes": MAX_BYTES})])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PlanRefused([Wrong("", _("The file is not text in UTF-8."))]) from None
    return document.read(text) if text.lstrip().startswith("{") else drawing.read(text)
