from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from django.utils import translation
from whitenoise.middleware import WhiteNoiseMiddleware

from config.web import cache
from realtime import wire
from reservations.admission import front_door, sale_facts
from reservations.claims import claims
from reservations.hold_request import Ask
from reservations.models import Reservation
from reservations.queueing import liveness
from sessions_app.models import Session
from tests import factories, services

Hold = Callable[..., Reservation]


KEPT = {"django_content_type", "auth_permission"}  # they describe the models, and no test changes them


def pytest_collection_finish() -> None:
    """Freeze what the imports made.

    Scanning a million objects again and again costs a sixth of the processor's time.
    """
    gc.collect()
    gc.freeze()


def _delete_everything(self: DatabaseOperations, style: object, tables: list[str], **_how: object) -> list[str]:
    """Delete rows between tests: a few rows take milliseconds, truncating forty tables half a second."""
    deletes = [f"DELETE FROM {self.quote_name(table)}" for table in tables if table not in KEPT]  # noqa: S608
    return ["; ".join(["SET session_replication_role = replica", *deletes, "SET session_replication_role = origin"])]


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", _delete_everything)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_how: None)  # it would only make again what is kept
        yield


@pytest.fixture(scope="session", autouse=True)
def _static_files_listed_once() -> Iterator[None]:
    """List static files once. Each test's client loads the middleware, and listing took a quarter of all time."""
    listed: dict[tuple[str, int | None], dict[str, Any]] = {}
    list_files = WhiteNoiseMiddleware.add_files_from_finders

    def add(self: WhiteNoiseMiddleware) -> None:
        key = (self.static_prefix, self.max_age)
        if key not in listed:
            list_files(self)
            listed[key] = self.files
        self.files = dict(listed[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add)
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Copy the migrated database. No commit waits for the disk, because a power cut may destroy this database."""
    connection.settings_dict["OPTIONS"]["options"] += " -c synchronous_commit=off"
    connection.settings_dict["TEST"]["TEMPLATE"] = services.template()


@pytest.fixture(autouse=True)
def _nothing_remembered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start each test with an empty Redis (our keys only), in English, and in a process that knows no session."""
    start_afresh()
    yield
    wire.flush()


def start_afresh() -> None:
    translation.activate(settings.LANGUAGE_CODE)
    forget_redis()
    sale_facts.forget()
    liveness.forget()


def forget_redis() -> None:
    """Delete our keys in both databases. `cache.clear()` would flush a whole one, with other programs' keys."""
    for client in (claims.client(), cache.client()):
        for name in client.scan_iter(f"{settings.KEY_PREFIX}:*", count=1_000):
            client.delete(name)


@pytest.fixture
def doors_open(settings: Any) -> None:
    """Open the doors of tomorrow's sessions now."""
    settings.DOORS_OPEN_MINUTES = 2 * 24 * 60


@pytest.fixture
def ana() -> uuid.UUID:
    return uuid.uuid4()


@pytest.fixture
def bruno() -> uuid.UUID:
    return uuid.uuid4()


@pytest.fixture
def session(transactional_db: None) -> Session:
    """Provide a room of 4 by 4, A1 to D4, on sale."""
    made: Session = factories.SessionFactory.create()
    return made


@pytest.fixture
def hold() -> Hold:
    """Return a function that asks for seats through the front door, allocates, and returns the reservation."""

    def hold(session: Session, *seats: str, buyer: uuid.UUID, **ask: Any) -> Reservation:
        admission = front_door.admit(Ask(session=session.pk, seats=seats, **ask), buyer=buyer)
        return Reservation.objects.get(pk=admission.id)

    return hold
