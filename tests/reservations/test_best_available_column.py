"""The column that says whether a request took the best places left, and the migration that fills it for older rows."""

from __future__ import annotations

from importlib import import_module
from uuid import UUID

import msgspec
import pytest
from django.db import connection

from reservations.models import Reservation
from reservations.operations import queued
from sessions_app.models import Session, TicketType
from tests.factories import StockFactory
from tests.reservations.test_holding import request_for

migration = import_module("reservations.migrations.0019_fill_best_available")

pytestmark = pytest.mark.django_db(transaction=True)


def written() -> dict[UUID, bool | None]:
    return dict(Reservation.objects.values_list("pk", "best_available"))


@pytest.fixture
def stock(session: Session) -> TicketType:
    kind: TicketType = StockFactory.create(session=session)
    return kind


@pytest.fixture
def expected(session: Session, stock: TicketType, ana: UUID) -> dict[UUID, bool | None]:
    """Allocate requests of each kind; return what the column must say of each."""
    seat_type = session.ticket_types.exclude(pk=stock.pk).first()
    assert seat_type is not None
    best = [
        request_for(session, buyer=ana, arrival=1, best_available=True, quantity=2),
        request_for(session, buyer=ana, arrival=2, best_available=True, quantity=1, accessible=True),
        request_for(session, buyer=ana, arrival=3, best_available=True, quantity=1, ticket_type=seat_type.pk),
        msgspec.structs.replace(
            request_for(session, buyer=ana, arrival=4, best_available=True, quantity=1), fingerprint="names terms too"
        ),
    ]
    others = [
        request_for(session, "D1", buyer=ana, arrival=5),
        request_for(session, "D1", buyer=ana, arrival=6),
        request_for(session, buyer=ana, arrival=7, ticket_type=stock.pk, quantity=1),
    ]
    queued.allocate([*best, *others])
    return {**dict.fromkeys((one.id for one in best), True), **dict.fromkeys((one.id for one in others), False)}


def test_allocation_writes_it(expected: dict[UUID, bool | None]) -> None:
    assert written() == expected


@pytest.mark.parametrize("rows", [2, 5_000])
def test_the_migration_fills_it(expected: dict[UUID, bool | None], monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(migration, "ROWS", rows)
    Reservation.objects.update(best_available=None)
    for _again in range(2):
        with connection.schema_editor(atomic=False) as editor:
            migration.fill(None, editor)
        assert written() == expected


def test_the_migration_fills_no_rows(db: None) -> None:
    with connection.schema_editor(atomic=False) as editor:
        migration.fill(None, editor)
    assert written() == {}
