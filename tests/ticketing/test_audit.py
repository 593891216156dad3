"""Each check finds nothing in a sound database, and finds what it is for when that is broken on purpose."""

from __future__ import annotations

import contextlib
import json
import uuid
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from realtime.models import Event
from reservations.models import Reservation
from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.ticketing.test_paying import pay
from ticketing.management.commands.audit import CHECKS

pytestmark = pytest.mark.django_db(transaction=True)

# How each check is broken, in SQL that only somebody with the database's password could run.
WITHOUT_TRIGGERS = "SET session_replication_role = replica;"
BREAKS = {
    "stock_differs_from_capacity": "UPDATE sessions_app_tickettype SET available = 1 WHERE capacity = 3",
    "counts_differ_from_capacity": "UPDATE reservations_reservation SET seats = '{A1,B1}' WHERE status = 'held' AND seats = '{A1}'",
    "free_seats_miscounted": "UPDATE sessions_app_session SET free_seats = free_seats - 1",
    "hold_past_its_end": "UPDATE reservations_reservation SET expires_at = now() - interval '1 hour' WHERE status = 'held'",
    "seat_of_no_live_reservation": "UPDATE sessions_app_seat SET reservation_id = gen_random_uuid() WHERE label = 'A1'",
    "reservation_without_its_seats": "UPDATE reservations_reservation SET seats = '{C4}' WHERE seats = '{A1}'",
    "accepted_and_forgotten": "INSERT INTO reservations_inboxrequest (id, shard, arrival, buyer, request, attempts, error, accepted_at)"
    " VALUES (gen_random_uuid(), 0, 1, gen_random_uuid(), '{}', 5, 'poison', now())",
    "accepted_and_settled": "INSERT INTO reservations_inboxrequest (id, shard, arrival, buyer, request, attempts, error, accepted_at)"
    " SELECT id, 0, 1, buyer, '{}', 0, '', now() FROM reservations_reservation LIMIT 1",
    "outcome_not_told_once": "DELETE FROM realtime_event WHERE name = 'reservation.confirmed'",
    "map_version_differs": "UPDATE sessions_app_session SET map_version = map_version + 1",
    "map_differs_from_log": "UPDATE sessions_app_seat SET status = 'b' WHERE label = 'D4'",
    "over_the_limit": "UPDATE sessions_app_session SET max_per_buyer = 1",
    "ticket_and_seat_disagree": "UPDATE ticketing_ticket SET status = 'void'",
    "tickets_differ_from_places": "DELETE FROM ticketing_ticket WHERE id = (SELECT id FROM ticketing_ticket LIMIT 1)",
    "confirmed_without_its_sale": "UPDATE reservations_reservation SET sale_id = gen_random_uuid() WHERE status = 'confirmed'",
    "sale_not_paid": "UPDATE ticketing_sale SET total = total + 1",
    "charged_without_a_sale": "DELETE FROM ticketing_ticket; DELETE FROM ticketing_sale",
    "sandbox_differs": "DELETE FROM ticketing_sandboxcharge; UPDATE ticketing_payment SET started_at = now() - interval '1 hour'",
    "events_unpublished": "UPDATE realtime_event SET occurred_at = now() - interval '1 hour', published_at = NULL",
    "map_version_gap": "DELETE FROM realtime_event WHERE map_version = 1",
}


@pytest.fixture
def _a_busy_evening(session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
    """A hold, a sale of two seats, and some places without a number."""
    stock = StockFactory.create(session=session, capacity=3)
    hold(session, "A1", buyer=ana)
    pay(hold(session, "B2", "B3", buyer=bruno))
    hold(session, buyer=ana, ticket_type=stock.pk, quantity=1)
    Event.objects.update(published_at=timezone.now())


def audit() -> dict[str, object]:
    out = StringIO()
    with contextlib.suppress(SystemExit):
        call_command("audit", json=True, stdout=out)
    report: dict[str, object] = json.loads(out.getvalue())
    return report


@pytest.mark.usefixtures("_a_busy_evening")
class TestAudit:
    def test_finds_nothing_in_a_sound_database(self) -> None:
        report = audit()
        assert report["findings"] == []
        assert report["sound"] is True

    def test_breaks_every_check(self) -> None:
        assert set(BREAKS) == {check.name for check in CHECKS}

    @pytest.mark.parametrize("check", sorted(BREAKS))
    def test_finds(self, check: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"{WITHOUT_TRIGGERS} {BREAKS[check]}; SET session_replication_role = origin")
        report = audit()
        assert check in {found["check"] for found in report["findings"]}  # type: ignore[attr-defined]

    def test_says_in_words_what_it_found(self, capsys: pytest.CaptureFixture[str]) -> None:
        Reservation.objects.filter(status="held").update(expires_at="2020-01-01T00:00Z")
        with pytest.raises(SystemExit):
            call_command("audit")
        assert "hold_past_its_end: a hold ran out and nobody freed its seats" in capsys.readouterr().out
