from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from base.asking import Buyer
from sessions_app import operations
from sessions_app.models import Hall, Session
from sessions_app.plans import grid
from tests import factories
from ticketing import identity
from ticketing.models import User

Open = Callable[..., Session]


@pytest.fixture
def tomorrow() -> dt.datetime:
    return timezone.now().replace(microsecond=0) + dt.timedelta(days=1)


@pytest.fixture
def put_on(db: None, tomorrow: dt.datetime) -> Open:
    """Put a session on sale: 2 rows of 3 at 25.00 tomorrow, unless told otherwise."""

    def put_on(**asked: Any) -> Session:
        if not {"rows", "hall", "ticket_types"} & asked.keys():
            asked = {"rows": 2, "seats_per_row": 3, "price": 2500, **asked}
        return operations.create_session(**{"show": "A Cartógrafa", "starts_at": tomorrow, **asked})

    return put_on


@pytest.fixture
def hall(db: None) -> Hall:
    """Make a hall with two rows of two."""
    made: Hall = factories.HallFactory()
    operations.furnish(hall=made, places=grid(rows=2, seats_per_row=2))
    return made


@pytest.fixture
def olivia(db: None) -> User:
    """Make Olívia, who owns the house."""
    made: User = factories.UserFactory(username="olivia", is_staff=True, is_superuser=True)
    return made


def bearer(user: User) -> Client:
    """Return the credentials of a program that speaks for `user`."""
    tokens = identity.issue_tokens(Buyer(id=user.pk, is_guest=False))
    return Client(headers={"authorization": f"Bearer {tokens['access']}"})


@pytest.fixture
def staff(olivia: User) -> Client:
    return bearer(olivia)


@pytest.fixture
def buyer(db: None) -> Client:
    return bearer(factories.UserFactory(username="bruno"))


@pytest.fixture
def desk(olivia: User) -> Client:
    """Open the admin's pages, as Olívia."""
    client = Client()
    client.force_login(olivia, backend="django.contrib.auth.backends.ModelBackend")
    return client
