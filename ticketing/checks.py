"""What production refuses to start with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 Django's name for it
from django.db import DatabaseError
from django.db.models.functions import Upper

from ticketing import demo
from ticketing.models import User


def no_demo_accounts(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """An error for each account that still has the password everybody knows; in production only."""
    if not settings.PRODUCTION:
        return []
    try:
        names = [person.username.upper() for person in demo.PEOPLE]
        people = list(User.objects.alias(upper=Upper("username")).filter(upper__in=names, is_active=True))
    except DatabaseError as error:
        return [Warning(f"Could not look for accounts of the demo: {error}", id="frontrow.W001")]
    return [
        Error(
            f"The account {person.username!r} has the demo's password, which everybody knows.",
            hint=f"manage.py changepassword {person.username}",
            id="frontrow.E001",
        )
        for person in people
        if person.check_password(demo.PASSWORD)
    ]
