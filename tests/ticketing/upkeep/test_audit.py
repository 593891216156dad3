"""Check that each check finds nothing in a sound database, and finds its violation when that is made on purpose."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from realtime.audit import run
from realtime.models import Event
from reservations.claims import claims, keys
from reservations.hold_request import EPOCH_BITS, HoldRequest
from reservations.models import Reservation, Status
from reservations.operations import holding, messages, queued
from reservations.queueing import liveness, queue_watch, queues
from reservations.queueing.queue_watch import Count
from reservations.staff import dead_letters
from sessions_app.models import Seat, SeatKind, Session
from tests import services
from tests.conftest import Hold
from tests.factories import ConcessionFactory, PoolFactory, StockFactory, UserFactory, VoucherFactory
from tests.processes import free_port
from tests.reservations.test_holding import another_connection, request_for, run_out
from tests.ticketing.test_paying import pay
from ticketing.models import Ticket
from ticketing.payments import refunds, selling
from ticketing.tickets import doors
from ticketing.upkeep.auditing import CHECKS

pytestmark = pytest.mark.django_db(transaction=True)

# SQL that violates each check; only the database's owner could run it.
WITHOUT_TRIGGERS = "SET session_replication_role = replica;"
BREAKS = {
    "stock_differs_from_capacity": "UPDATE sessions_app_tickettype SET available = 1 WHERE capacity = 3",
    "pool_differs_from_capacity": "UPDATE sessions_app_pool SET available = available - 1",
    "pool_of_another_session": "UPDATE sessions_app_pool SET session_id = gen_random_uuid()",
    "over_the_limit_of_its_type": "UPDATE reservations_reservation SET quantity = 3 WHERE ticket_type_id IS NOT NULL;"
    " UPDATE realtime_event SET facts = facts || '{\"most_of_type\": 2}' WHERE name = 'reservation.held'",
    "due_differs": "UPDATE ticketing_payment SET status = 'due' WHERE status = 'captured'",
    "counts_differ_from_capacity": (
        "UPDATE reservations_reservation SET seats = '{A1,B1}' WHERE status = 'held' AND seats = '{A1}'"
    ),
    "free_seats_miscounted": "UPDATE sessions_app_session SET free_seats = free_seats - 1",
    "hold_past_its_end": (
        "UPDATE reservations_reservation SET expires_at = now() - interval '1 hour' WHERE status = 'held'"
    ),
    "seat_of_no_live_reservation": "UPDATE sessions_app_seat SET reservation_id = gen_random_uuid() WHERE label = 'A1'",
    "reservation_without_its_seats": "UPDATE reservations_reservation SET seats = '{C4}' WHERE seats = '{A1}'",
    "accepted_and_forgotten": "INSERT INTO reservations_inboxrequest"
    " (id, shard, arrival, buyer, request, attempts, error, accepted_at)"
    " VALUES (gen_random_uuid(), 0, 1, gen_random_uuid(), '{}', 5, 'poison', now())",
    "standing_by_in_vain": "INSERT INTO reservations_reservation SELECT (jsonb_populate_record(row, jsonb_build_object("
    "'id', gen_random_uuid(), 'status', 'queued', 'quantity', 1, 'sale_id', NULL, 'key', '',"
    " 'changed_at', now() - interval '1 hour'))).*"
    " FROM reservations_reservation AS row WHERE ticket_type_id IS NOT NULL AND seats = '{}' LIMIT 1",
    "accepted_and_allocated": "INSERT INTO reservations_inboxrequest"
    " (id, shard, arrival, buyer, request, attempts, error, accepted_at)"
    " SELECT id, 0, 1, buyer, '{}', 0, '', now() FROM reservations_reservation LIMIT 1",
    "outcome_not_told_once": "DELETE FROM realtime_event WHERE name = 'reservation.confirmed'",
    "map_version_differs": "UPDATE sessions_app_session SET map_version = map_version + 1",
    "map_differs_from_log": "UPDATE sessions_app_seat SET status = 'b' WHERE label = 'D4'",
    "over_the_limit": "UPDATE reservations_reservation SET quantity = 99 WHERE status = 'confirmed'",
    "ticket_and_seat_disagree": "UPDATE ticketing_ticket SET status = 'void' WHERE status = 'valid'",
    "tickets_differ_from_places": (
        "DELETE FROM ticketing_ticket WHERE id = (SELECT id FROM ticketing_ticket WHERE status = 'valid' LIMIT 1)"
    ),
    "confirmed_without_its_sale": (
        "UPDATE reservations_reservation SET sale_id = gen_random_uuid() WHERE status = 'confirmed'"
    ),
    "sale_not_paid": "UPDATE ticketing_sale SET total = total + 1",
    "used_without_a_check_in": "UPDATE ticketing_ticket SET used_at = now() WHERE status = 'used'",
    "paid_back_and_admitted": "UPDATE ticketing_ticket SET status = 'void', used_at = NULL WHERE status = 'used'",
    "void_and_not_told": "UPDATE ticketing_ticket SET holder = gen_random_uuid() WHERE status = 'void'",
    "check_in_not_told_once": "DELETE FROM realtime_event WHERE name = 'ticket.checked_in'",
    "passed_on_to_its_own_buyer": "UPDATE ticketing_ticket SET holder = sale.buyer FROM ticketing_sale AS sale"
    " WHERE sale.id = ticketing_ticket.sale_id",
    "passed_on_without_a_transfer": "UPDATE ticketing_ticket SET holder = gen_random_uuid()",
    "charged_without_a_sale": "DELETE FROM ticketing_ticket; DELETE FROM ticketing_sale",
    "sandbox_differs": (
        "DELETE FROM ticketing_sandboxcharge; UPDATE ticketing_payment SET changed_at = now() - interval '1 hour'"
    ),
    "refunded_differs": "UPDATE ticketing_sale SET refunded = refunded + 1 WHERE refunded < total",
    "refund_not_paid_back": "UPDATE ticketing_refund SET status = 'asked', changed_at = now() - interval '1 hour'",
    "refund_refused": "UPDATE ticketing_refund SET status = 'refused'",
    "payment_unfinished": "UPDATE ticketing_payment SET status = 'returning', started_at = now() - interval '1 hour'",
    "ledger_out_of_balance": "UPDATE ticketing_ledgerentry SET amount = amount + 1 WHERE account = 'revenue'",
    "ledger_differs_from_payments": "DELETE FROM ticketing_ledgerentry WHERE account IN ('refunds', 'owed')",
    "ledger_parts_differ": "UPDATE ticketing_ticket SET tax = tax + 1",
    "sale_differs_from_its_lines": "UPDATE ticketing_ticket SET price = price + 1 WHERE status = 'used'",
    "total_differs_from_lines": "UPDATE reservations_reservation SET total = total - 1 WHERE status = 'held'",
    "voucher_used_too_often": (
        "UPDATE realtime_event SET facts = facts || '{\"voucher_uses\": 0}' WHERE facts ->> 'voucher' IS NOT NULL"
    ),
    "ledger_differs_from_gateway": "UPDATE ticketing_sandboxcharge SET refunded = 0; "
    "UPDATE ticketing_payment SET changed_at = now() - interval '1 hour';"
    " UPDATE ticketing_refund SET changed_at = now() - interval '1 hour'",
    "events_unpublished": "UPDATE realtime_event SET occurred_at = now() - interval '1 hour', published_at = NULL",
    "map_version_gap": "DELETE FROM realtime_event WHERE map_version = 1",
    "overtaken": (
        f"UPDATE reservations_reservation SET arrival = arrival >> {EPOCH_BITS} << {EPOCH_BITS}"  # noqa: S608
        " WHERE reason = 'seats_unavailable'"
    ),
}
BREAKS["overtaken_for_stock"] = (
    "INSERT INTO reservations_reservation SELECT"
    " (jsonb_populate_record(row, jsonb_build_object('id', gen_random_uuid(),"
    " 'status', 'rejected', 'reason', 'sold_out', 'held_at', NULL, 'expires_at', NULL, 'sale_id', NULL, 'key', '',"
    " 'arrival', arrival - 1, 'settled_at', now() + interval '1 hour'))).*"
    " FROM reservations_reservation AS row WHERE ticket_type_id IS NOT NULL AND seats = '{}' LIMIT 1"
)
BREAKS["dead_letters_waiting"] = BREAKS["accepted_and_forgotten"]
ELSEWHERE = {
    "transaction_left_open",
    "advisory_lock_orphaned",
    "ledger_differs_from_stripe",
    "let_in_and_paid_back",
}  # each has tests of its own
OF_QUEUES = {"queue_undrained"}


@pytest.fixture
def _a_busy_evening(session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
    """Prepare a hold with a late request, a sale of two seats, a check-in, unnumbered places, and a refund."""
    stock = StockFactory.create(session=session, capacity=3)
    stock.pools.add(PoolFactory.create(session=session, capacity=2))
    hold(session, "A1", buyer=ana)
    claims.client().delete(keys.claim_key(session.pk, "A1"))
    hold(session, "A1", buyer=bruno)
    pay(hold(session, "B2", "B3", buyer=bruno))
    doors.check_in(code=Ticket.objects.filter(seat__label="B2").get().code, by=UserFactory(), anyway=True)
    hold(session, buyer=ana, ticket_type=stock.pk, quantity=1)
    Session.objects.update(booking_fee=200, tax_basis_points=700)
    ConcessionFactory.create(session=session)
    with_terms = hold(session, "C1", "C2", buyer=ana)
    code = VoucherFactory.create(uses=1).code
    holding.price(reservation_id=with_terms.pk, buyer=ana, concessions=[("C1", "Child")], voucher=code)
    with_terms.refresh_from_db()
    given_back = pay(with_terms)
    ticket = Ticket.objects.filter(sale__payment=given_back).earliest("id")
    refund = refunds.ask_refund(sale_id=ticket.sale_id, buyer=ana, tickets=[ticket.pk])
    refunds.pay_back(refund_id=refund.pk)
    Event.objects.update(published_at=timezone.now())


def audit() -> dict[str, object]:
    out = StringIO()
    with contextlib.suppress(SystemExit):
        call_command("audit", json=True, stdout=out)
    report: dict[str, object] = json.loads(out.getvalue())
    return report


@pytest.mark.usefixtures("_a_busy_evening")
class TestAudit:
    def test_audit_finds_nothing_in_a_sound_database(self) -> None:
        report = audit()
        assert report["findings"] == []
        assert report["sound"] is True

    def test_every_check_of_the_audit_is_violated(self) -> None:
        assert set(BREAKS) | ELSEWHERE | OF_QUEUES == {check.name for check in CHECKS}

    @pytest.mark.parametrize("check", sorted(BREAKS))
    def test_audit_finds_each_violation(self, check: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"{WITHOUT_TRIGGERS} {BREAKS[check]}; SET session_replication_role = origin")
        report = audit()
        assert check in {found["check"] for found in report["findings"]}  # type: ignore[attr-defined]

    def test_audit_says_in_words_what_it_found(self, capsys: pytest.CaptureFixture[str]) -> None:
        Reservation.objects.filter(status="held").update(expires_at="2020-01-01T00:00Z")
        with pytest.raises(SystemExit):
            call_command("audit")
        assert "hold_past_its_end: a hold has expired and its seats are not free" in capsys.readouterr().out


EPOCH = 3 << EPOCH_BITS


def found(check: str, *parameters: str) -> list[Any]:
    """Return what one check finds; with `parameters`, by those."""
    (checked,) = (one for one in CHECKS if one.name == check)
    return [
        finding.facts for finding in run([dataclasses.replace(checked, parameters=parameters or checked.parameters)])
    ]


class TestOrder:
    @pytest.fixture
    def early(self, session: Session, ana: uuid.UUID) -> HoldRequest:
        return request_for(session, "A1", "A2", buyer=ana, arrival=EPOCH + 1)

    def test_check_finds_an_overtaken_request_and_its_overtaker(
        self, session: Session, bruno: uuid.UUID, early: HoldRequest
    ) -> None:
        late = request_for(session, "A2", buyer=bruno, arrival=EPOCH + 2)
        for request in (late, early):
            queued.allocate([request])
        (finding,) = found("overtaken")
        assert (finding["reservation"], finding["overtaken_by"]) == (str(early.id), str(late.id))
        assert finding["seat"] == "A2"

    def test_check_finds_it_inside_a_batch(self, session: Session, bruno: uuid.UUID, early: HoldRequest) -> None:
        late = request_for(session, "A2", buyer=bruno, arrival=EPOCH + 2)
        queued.allocate([early, late])
        assert found("overtaken") == []
        Reservation.objects.filter(pk=late.id).update(arrival=EPOCH)
        assert len(found("overtaken")) == 1

    def test_check_finds_it_among_those_who_came_too_late(
        self, session: Session, ana: uuid.UUID, bruno: uuid.UUID, early: HoldRequest
    ) -> None:
        queued.allocate([early])
        for arrival in (EPOCH + 9, EPOCH + 8):
            queued.allocate([request_for(session, "A1", buyer=bruno, arrival=arrival)])
        assert [finding["its_arrival"] for finding in found("overtaken")] == [EPOCH + 9]

    def test_check_finds_it_when_a_seat_came_free_again(
        self, session: Session, bruno: uuid.UUID, early: HoldRequest
    ) -> None:
        late = request_for(session, "A2", buyer=bruno, arrival=EPOCH + 2)
        queued.allocate([late])
        run_out(Reservation.objects.get())
        queued.allocate([early])
        assert Reservation.objects.get(pk=early.id).status == Status.HELD
        assert len(found("overtaken")) == 1

    def test_check_finds_it_though_staff_moved_one_of_them(
        self, session: Session, bruno: uuid.UUID, early: HoldRequest
    ) -> None:
        late = request_for(session, "A2", buyer=bruno, arrival=EPOCH + 2)
        for request in (late, early):
            queued.allocate([request])
        selling.move_seats(reservation_id=late.id, seats=["A2"], to=["D1"])
        assert len(found("overtaken")) == 1

    def test_check_ignores_seats_that_staff_gave(
        self, session: Session, ana: uuid.UUID, bruno: uuid.UUID, early: HoldRequest
    ) -> None:
        first = request_for(session, "A1", buyer=ana, arrival=EPOCH)
        late = request_for(session, "C3", buyer=bruno, arrival=EPOCH + 2)
        for request in (first, late, early):
            queued.allocate([request])
        holding.release(reservation_id=first.id, buyer=ana)
        selling.move_seats(reservation_id=late.id, seats=["C3"], to=["A1"])
        assert found("overtaken") == []

    def test_check_compares_no_requests_over_a_change_of_epoch(
        self, session: Session, bruno: uuid.UUID, early: HoldRequest
    ) -> None:
        for request in (request_for(session, "A2", buyer=bruno, arrival=(4 << EPOCH_BITS) + 1), early):
            queued.allocate([request])
        assert found("overtaken") == []

    def test_check_compares_no_requests_for_other_seats(
        self, session: Session, bruno: uuid.UUID, early: HoldRequest
    ) -> None:
        for request in (request_for(session, "A3", buyer=bruno, arrival=EPOCH + 2), early):
            queued.allocate([request])
        assert found("overtaken") == []

    @pytest.mark.parametrize("accessible", [False, True])
    def test_check_compares_no_request_with_best_available_ones(
        self, session: Session, ana: uuid.UUID, bruno: uuid.UUID, accessible: bool
    ) -> None:
        Seat.objects.filter(label="B2").update(kind=SeatKind.WHEELCHAIR)
        best = request_for(
            session, buyer=bruno, arrival=EPOCH + 2, best_available=True, quantity=2, accessible=accessible
        )
        queued.allocate([best])
        taken = Reservation.objects.get(pk=best.id).seats
        early = request_for(session, *taken, buyer=ana, arrival=EPOCH + 1)
        queued.allocate([early])
        assert Reservation.objects.get(pk=early.id).reason == "seats_unavailable"
        assert found("overtaken") == []
        Reservation.objects.filter(pk=best.id).update(best_available=False)
        assert len(found("overtaken")) == 2  # once for each seat
        Reservation.objects.filter(pk=best.id).update(best_available=None)  # a version without the field wrote it
        assert found("overtaken") == []


class TestConnections:
    def test_check_finds_a_transaction_that_is_left_open(self) -> None:
        with another_connection() as other:
            other.execute("SELECT")
            pids = [finding["pid"] for finding in found("transaction_left_open", "0 seconds")]
            assert other.info.backend_pid in pids

    def test_check_ignores_a_short_transaction(self) -> None:
        with another_connection() as other:
            other.execute("SELECT")
            assert found("transaction_left_open") == []

    def test_check_finds_an_advisory_lock_that_was_forgotten(self) -> None:
        with another_connection() as other:
            other.autocommit = True
            other.execute("SELECT pg_advisory_lock(1, 2)")
            assert found("advisory_lock_orphaned") == []
            (finding,) = found("advisory_lock_orphaned", "0 seconds")
            assert (finding["pid"], finding["objid"]) == (other.info.backend_pid, 2)
            other.execute("SELECT pg_advisory_unlock(1, 2)")
            assert found("advisory_lock_orphaned", "0 seconds") == []

    def test_check_finds_no_lock_that_its_transaction_will_give_back(self) -> None:
        with another_connection() as other:
            other.execute("SELECT pg_advisory_xact_lock(1, 2)")
            assert found("advisory_lock_orphaned", "0 seconds") == []


class TestQueues:
    @pytest.fixture(autouse=True)
    def _real(self, settings: Any) -> None:
        settings.QUEUE = "inbox"

    def test_check_finds_a_queue_with_messages_and_without_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counted = {"payments": Count(2, 0), "mail": Count(0, 0), "holds.0": Count(5, 1)}
        monkeypatch.setattr(queue_watch, "count", lambda _connection: counted)
        liveness.consumes(["holds.0"])
        assert found("queue_undrained") == [{"queue": "payments", "messages": 2}]

    def test_check_says_so_when_the_broker_is_away(self, settings: Any) -> None:
        settings.CELERY_BROKER_URL = f"amqp://127.0.0.1:{free_port()}//"
        (finding,) = found("queue_undrained")
        assert "refused" in finding["said"]


class TestLetters:
    @pytest.mark.rabbitmq
    def test_check_finds_dead_letters_in_rabbitmq(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.RABBITMQ_URL = services.current().rabbitmq_url
        courier = queues.Courier(settings.RABBITMQ_URL)
        monkeypatch.setattr(queues, "courier", lambda: courier)
        assert found("dead_letters_waiting") == []
        messages.allocate_message(["?"])
        assert found("dead_letters_waiting") == [{"queue": "holds", "letters": 1}]
        with dead_letters.pile() as pile:
            dead_letters.discard(pile.letters[0])
        courier.close()
        assert found("dead_letters_waiting") == []

    def test_check_says_so_when_rabbitmq_is_away(self, settings: Any) -> None:
        settings.RABBITMQ_URL = f"amqp://127.0.0.1:{free_port()}//"
        (finding,) = found("dead_letters_waiting")
        assert finding["queue"] == "all but the inbox"
        assert "refused" in finding["said"]
