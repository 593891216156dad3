from __future__ import annotations

import uuid

import pytest
from django.test import Client

from base.ids import uuid7
from reservations.operations import holding
from sessions_app.models import Session
from tests.conftest import Hold
from ticketing import identity

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def guest(client: Client, session: Session) -> uuid.UUID:
    """Return the buyer that the client's browser is."""
    client.get("/visitor")
    buyer = identity.buyer_of_cookie(client.cookies["buyer"].value)
    assert buyer is not None
    return buyer


class TestReservation:
    def test_shows_a_hold_to_its_buyer(self, client: Client, guest: uuid.UUID, session: Session, hold: Hold) -> None:
        held = hold(session, "A1", "B2", buyer=guest)
        page = client.get(f"/reservations/{held.pk}").content.decode()
        assert f'data-reservation="{held.pk}" data-status="held"' in page
        assert "Row A seat 1" in page
        assert "Row B seat 2" in page
        assert "R$50.00" in page

    def test_is_not_found_by_other_buyers(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold, bruno: uuid.UUID
    ) -> None:
        held = hold(session, "A1", buyer=bruno)
        assert client.get(f"/reservations/{held.pk}").status_code == 404

    def test_is_not_found_without_a_cookie(self, session: Session, hold: Hold, bruno: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=bruno)
        assert Client().get(f"/reservations/{held.pk}").status_code == 404

    def test_shows_the_next_step_after_a_release(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold
    ) -> None:
        held = hold(session, "A1", buyer=guest)
        holding.release(reservation_id=held.pk, buyer=guest)
        page = client.get(f"/reservations/{held.pk}").content.decode()
        assert "Released" in page
        assert f'href="/sessions/{session.pk}"' in page

    def test_asks_for_patience_with_a_young_id_that_is_not_found(self, client: Client, guest: uuid.UUID) -> None:
        answer = client.get(f"/reservations/{uuid7()}")
        assert answer.status_code == 503
        assert answer["Retry-After"] == "1"
