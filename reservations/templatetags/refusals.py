"""The catalogue of refusals, for templates."""

from __future__ import annotations

from django import template

from base.refusals import Refused
from reservations.refusals import ENDINGS

register = template.Library()


@register.simple_tag
def endings() -> dict[str, type[Refused]]:
    """By the reason that a reservation's row stores. Use it as `{% endings as endings %}`."""
    return ENDINGS
