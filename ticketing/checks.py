"""Refuse to run in production with public passwords."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 Django's name for it
from django.core.management.base import CommandError

from reservations.checks import own_connection
from ticketing import demo
from ticketing.models import User
from ticketing.people.hashing import HashingBusy

AGAIN_SECONDS = 1.0  # between two attempts to look for accounts of the demo

log = structlog.get_logger(__name__)


def no_demo_accounts(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Report an error for each account with the demo's public password; in production only."""
    if not settings.PRODUCTION:
        return []
    try:
        names = [name for name, password in _demo_people() if check_password(demo.PASSWORD, password)]
    except (psycopg.Error, HashingBusy) as error:
        return [Warning(f"The accounts of the demo could not be checked: {error!r}", id="frontrow.W001")]
    return [
        Error(
            f"The account {name!r} has the demo's password, which is public.",
            hint=f"manage.py changepassword {name}",
            id="frontrow.E001",
        )
        for name in names
    ]


def _demo_people() -> list[tuple[str, str]]:
    """Return name and password hash of active accounts named like the demo's, without the pool: servers fork here.

    Raises: psycopg.Error.
    """
    wanted = [person.username.upper() for person in demo.PEOPLE]
    with own_connection() as own:
        return own.execute(
            f"SELECT username, password FROM {User._meta.db_table} WHERE is_active AND upper(username) = ANY(%s)",  # noqa: S608
            [wanted],
        ).fetchall()


@contextmanager
def refuse_demo_accounts() -> Iterator[None]:
    """Stop a process that would serve production with accounts of the demo.

    A missing database does not prevent the start. The process then looks again until it knows, and ends if it finds
    one.

    Raises: CommandError.
    """
    found = no_demo_accounts(None)
    _raise_if_refused(found)
    later: list[CheckMessage] = []
    if found:
        log.warning("start.unchecked", problem=found[0].msg)
        threading.Thread(target=_look_again, args=[later], name="demo-accounts", daemon=True).start()
    try:
        yield
    finally:
        _raise_if_refused(later)


def _look_again(later: list[CheckMessage]) -> None:
    """Look until the database answers. Put findings into `later`, and end this process if one is serious."""
    pause = threading.Event()
    found = no_demo_accounts(None)
    while any(not message.is_serious() for message in found):
        pause.wait(AGAIN_SECONDS)
        found = no_demo_accounts(None)
    log.info("start.checked")
    if found:
        later.extend(found)
        log.critical("start.refused", problems=[message.msg for message in found])
        while True:  # a server that is only starting may still ignore the signal
            os.kill(os.getpid(), signal.SIGTERM)
            pause.wait(AGAIN_SECONDS)


def _raise_if_refused(found: list[CheckMessage]) -> None:
    """Raise the first serious findings. Raises: CommandError."""
    if errors := [message for message in found if message.is_serious()]:
        raise CommandError("\n".join(f"{error.msg} {error.hint}" for error in errors))
