"""Give templates the catalogue of refusals."""

from __future__ import annotations

from django import template

from base.refusals import Refused
from reservations.refusals import ENDINGS

register = template.Library()


@register.simple_tag
def endings() -> dict[str, type[Refused]]:
    """Return the endings by the reason that a reservation's row stores. Use it as `{% endings as endings %}`."""
    return ENDINGS
