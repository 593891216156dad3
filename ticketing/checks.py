"""What production refuses to start with."""

from __future__ import annotations

from typing import Any

import structlog
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 Django's name for it
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.models.functions import Upper

from ticketing import demo
from ticketing.models import User

log = structlog.get_logger(__name__)


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


def refuse_demo_accounts() -> None:
    """Let no process serve production with accounts of the demo. A database that is away is no reason not to start.

    Raises: CommandError.
    """
    found = no_demo_accounts(None)
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined] # a server forks its own processes from here
    if errors := [message for message in found if message.is_serious()]:
        raise CommandError("\n".join(f"{error.msg} {error.hint}" for error in errors))
    for message in found:
        log.warning("start.unchecked", problem=message.msg)
