"""Offer the house's means of payment to a payment form."""

from __future__ import annotations

from django import template
from django.conf import settings

from ticketing.payments.gateways import registry
from ticketing.payments.gateways.registry import Method

register = template.Library()


@register.simple_tag
def payment_methods() -> list[Method]:
    """Return the methods in the house's order; the first is preselected."""
    return [registry.METHODS[name] for name in settings.PAYMENT_METHODS]


@register.simple_tag
def need_script(methods: list[Method]) -> bool:
    """Tell whether a form with these methods needs a script, because each of theirs does."""
    return all(method.without_script for method in methods)


@register.filter
def public_key(method: Method) -> str:
    """Return the key of the method's gateway that a browser may know."""
    return registry.value(method.template_setting)
