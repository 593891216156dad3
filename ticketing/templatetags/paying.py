"""Offer the house's means of payment to a payment form."""

from __future__ import annotations

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def payment_methods() -> list[str]:
    """Return the means in the house's order; the first is preselected."""
    return list(settings.PAYMENT_METHODS)


@register.simple_tag
def stripe_key() -> str:
    """Return the public key for the browser."""
    return str(settings.STRIPE_PUBLISHABLE_KEY)
