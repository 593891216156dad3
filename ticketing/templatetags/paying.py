"""What a payment form offers: the means that the house takes."""

from __future__ import annotations

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def payment_methods() -> list[str]:
    """In the house's order; the first is the one that is chosen."""
    return list(settings.PAYMENT_METHODS)


@register.simple_tag
def stripe_key() -> str:
    """The public one, for the browser."""
    return str(settings.STRIPE_PUBLISHABLE_KEY)
