"""Staff moves a buyer to other seats: all or nothing, at the same price, with time, total and tickets kept."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from realtime import wire
from realtime.models import Event
from reservations.allocation.changes import CannotMove
from reservations.claims import claims, keys
from reservations.models import Reservation, Status
from reservations.operations.holding import release
from reservations.operations.inventory import block_seats
from reservations.refusals import NotHeld, PaymentInProgress, ReservationExpired
from sessions_app.models import Seat, Session, TicketType
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.reservations.test_holding import run_out, seat
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.models import Sale, Ticket
from ticketing.payments import selling, starting

pytestmark = pytest.mark.django_db(transaction=True)


def move(reservation: Reservation, seats: str, to: str) -> None:
    """Move the reservation; `seats` and `to` are written like "A1 A2"."""
    selling.move_seats(reservation_id=reservation.pk, seats=seats.split(), to=to.split())
    reservation.refresh_from_db()


def refusal(reservation: Reservation, seats: str, to: str) -> dict[str, str]:
    """Return why it can't be moved; check that nothing changed, and no buyer was told."""
    before = Event.objects.count()
    with pytest.raises(CannotMove) as refused:
        move(reservation, seats, to)
    assert Event.objects.count() == before
    return refused.value.conflicts


def claimed_by(session: Session, label: str) -> object:
    return claims.client().get(keys.claim_key(session.pk, label))


class TestMovedHold:
    def test_gets_the_new_seats_and_frees_the_old(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        held = hold(session, "A1", "A2", buyer=ana)
        end = held.expires_at
        move(held, "A1 A2", "C3 C4")
        assert (held.status, held.seats, held.expires_at, held.total) == (Status.HELD, ["C3", "C4"], end, 5000)
        assert [line["seat"] for line in held.lines] == ["C3", "C4"]
        assert (seat(session, "C3").reservation_id, seat(session, "C3").held_until) == (held.pk, end)
        assert (seat(session, "A1").status, seat(session, "A1").reservation_id) == ("f", None)
        assert hold(session, "A1", buyer=bruno).status == Status.HELD

    def test_may_change_only_one_of_its_seats(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", "A2", buyer=ana)
        move(held, "A2", "D4")
        assert held.seats == ["A1", "D4"]

    def test_has_its_claims_moved_at_once(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        move(held, "A1", "B1")
        assert (claimed_by(session, "A1"), claimed_by(session, "B1")) == (None, str(held.pk))
        release(reservation_id=held.pk, buyer=ana)
        assert claimed_by(session, "B1") is None

    def test_counts_once_for_the_buyers_limit(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        Session.objects.filter(pk=session.pk).update(max_per_buyer=2)
        move(hold(session, "A1", buyer=ana), "A1", "B1")
        assert hold(session, "A2", buyer=ana).status == Status.HELD

    def test_is_one_version_of_the_map_and_told_to_the_buyer(
        self, session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        session.refresh_from_db()
        before, free = session.map_version, session.free_seats
        diffs, letters = list[Any](), list[Any]()
        monkeypatch.setattr(wire, "send_diff", lambda **diff: diffs.append(diff))
        monkeypatch.setattr(wire, "send_personal", lambda **letter: letters.append(letter))
        move(held, "A1", "B1")
        session.refresh_from_db()
        assert (session.map_version, session.free_seats) == (before + 1, free)
        assert [(diff["start"], diff["version"], diff["changes"], diff["available"]) for diff in diffs] == [
            (before, before + 1, {"A1": "f", "B1": "h"}, free)
        ]
        assert [(letter["buyer"], letter["message"]["status"]) for letter in letters] == [(ana, "held")]
        told = Event.objects.get(name="reservation.moved")
        assert (told.buyer, told.facts["from"], told.facts["to"]) == (ana, ["A1"], ["B1"])
        assert Event.objects.get(name="seat.moved").map_version == before + 1

    def test_may_get_a_seat_of_an_unswept_expired_hold(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        over = hold(session, "B1", buyer=bruno)
        held = hold(session, "A1", buyer=ana)
        run_out(over)
        move(held, "A1", "B1")
        over.refresh_from_db()
        assert (over.status, held.seats) == (Status.EXPIRED, ["B1"])

    def test_may_get_another_type_at_the_same_price(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        other = TicketType.objects.create(session=session, name="Balcony", price=2500)
        Seat.objects.filter(session=session, label="B1").update(ticket_type=other)
        move(held, "A1", "B1")
        assert (held.lines[0]["name"], held.lines[0]["ticket_type"]) == ("Balcony", str(other.pk))

    def test_keeps_the_price_it_was_held_for(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        TicketType.objects.filter(session=session).update(price=9900)
        move(held, "A1", "B1")
        assert (held.total, held.lines[0]["price"]["amount"]) == (2500, 2500)


class TestMovedPurchase:
    def test_keeps_its_tickets(self, session: Session, hold: Hold, bruno: uuid.UUID) -> None:
        bought = hold(session, "A1", "A2", buyer=bruno)
        pay(bought)
        codes = set(Ticket.objects.values_list("code", flat=True))
        move(bought, "A1 A2", "D1 D2")
        tickets = Ticket.objects.select_related("seat").order_by("seat__label")
        assert [ticket.seat.label for ticket in tickets if ticket.seat] == ["D1", "D2"]
        assert {ticket.code for ticket in tickets} == codes
        assert {ticket.status for ticket in tickets} == {"valid"}
        assert [line["seat"] for line in Sale.objects.get().lines] == ["D1", "D2"]
        assert (seat(session, "D1").status, seat(session, "A1").status) == ("s", "f")
        assert claimed_by(session, "D1") == f"s:{bought.pk}"

    def test_leaves_the_ticket_of_a_seat_that_stays(self, session: Session, hold: Hold, bruno: uuid.UUID) -> None:
        bought = hold(session, "A1", "A2", buyer=bruno)
        pay(bought)
        before = Ticket.objects.get(seat__label="A1")
        move(bought, "A2", "A3")
        assert Ticket.objects.get(seat__label="A1").pk == before.pk
        assert set(Ticket.objects.values_list("seat__label", flat=True)) == {"A1", "A3"}

    def test_tells_the_buyer_the_sale_with_its_new_seats(
        self, session: Session, hold: Hold, bruno: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bought = hold(session, "A1", buyer=bruno)
        pay(bought)
        letters = list[Any]()
        monkeypatch.setattr(wire, "send_personal", lambda **letter: letters.append(letter["message"]))
        move(bought, "A1", "D1")
        assert [ticket["seat"] for ticket in letters[0]["sale"]["tickets"]] == ["D1"]

    def test_frees_the_old_seat_to_be_sold_again(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        bought = hold(session, "A1", buyer=bruno)
        pay(bought)
        move(bought, "A1", "D1")
        pay(hold(session, "A1", buyer=ana))
        assert Ticket.objects.count() == 2
        assert audit()["findings"] == []


class TestMove:
    def test_names_each_seat_in_the_way(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        hold(session, "B1", buyer=bruno)
        pay(hold(session, "B2", buyer=bruno))
        block_seats(session=session.pk, labels=["B3"])
        held = hold(session, "A1", "A2", "A3", "A4", buyer=ana)
        conflicts = {"B1": "held", "B2": "sold", "B3": "blocked", "Z9": "unknown"}
        assert refusal(held, "A1 A2 A3 A4", "B1 B2 B3 Z9") == conflicts

    def test_takes_no_seat_at_another_price(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        dear = TicketType.objects.create(session=session, name="VIP", price=9000)
        Seat.objects.filter(session=session, label="B2").update(ticket_type=dear)
        assert refusal(hold(session, "A1", "A2", buyer=ana), "A1 A2", "B1 B2") == {"B2": "price"}

    @pytest.mark.parametrize(
        ("seats", "to", "conflicts"),
        [
            ("A1 A2", "B1", {"B1": "uneven"}),
            ("A1", "B1 B2", {"B1": "uneven", "B2": "uneven"}),
            ("A1 A2", "B1 B1", {"B1": "uneven"}),
            ("", "B1", {"B1": "uneven"}),
            ("A1", "", {"A1": "uneven"}),
            ("A1 A1", "B1 B2", {"A1": "not_theirs"}),
            ("C1", "B1", {"C1": "not_theirs"}),
            ("C4", "B1", {"C4": "not_theirs"}),
            ("Z9", "B1", {"Z9": "not_theirs"}),
            ("A1 A2", "A2 A3", {"A2": "held"}),
        ],
    )
    def test_exchanges_seats_one_for_one_and_only_its_own(
        self,
        session: Session,
        hold: Hold,
        ana: uuid.UUID,
        bruno: uuid.UUID,
        seats: str,
        to: str,
        conflicts: dict[str, str],
    ) -> None:
        hold(session, "C4", buyer=bruno)
        assert refusal(hold(session, "A1", "A2", buyer=ana), seats, to) == conflicts

    def test_refuses_during_a_payment(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token="ok")
        with pytest.raises(PaymentInProgress):
            move(held, "A1", "B1")

    def test_refuses_an_ended_reservation(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        over, released = hold(session, "A1", buyer=ana), hold(session, "A2", buyer=ana)
        run_out(over)
        with pytest.raises(ReservationExpired):
            move(over, "A1", "B1")
        release(reservation_id=released.pk, buyer=ana)
        with pytest.raises(NotHeld):
            move(released, "A2", "B1")

    def test_refuses_unnumbered_places(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        held = hold(session, buyer=ana, ticket_type=stock.pk, quantity=1)
        assert refusal(held, "A1", "B1") == {"A1": "not_theirs"}

    def test_refuses_an_unknown_reservation(self, session: Session) -> None:
        with pytest.raises(Reservation.DoesNotExist):
            selling.move_seats(reservation_id=uuid.uuid4(), seats=["A1"], to=["B1"])

    def test_changes_nothing_when_the_tickets_cannot_follow(
        self, session: Session, hold: Hold, bruno: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bought = hold(session, "A1", buyer=bruno)
        pay(bought)

        def fail(*_args: object, **_more: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(selling, "find_sale", fail)
        with pytest.raises(RuntimeError):
            move(bought, "A1", "B1")
        assert (seat(session, "A1").status, seat(session, "B1").status) == ("s", "f")
        assert Ticket.objects.get().seat == seat(session, "A1")


@pytest.mark.parametrize("paid", [False, True])
def test_audit_finds_nothing_after_all_actions_of_staff(
    session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, paid: bool
) -> None:
    moved = hold(session, "A1", "A2", buyer=ana)
    if paid:
        pay(moved)
    block_seats(session=session.pk, labels=["D1", "D2"])
    move(moved, "A1 A2", "C1 C2")
    move(moved, "C2", "A1")
    release(reservation_id=hold(session, "A2", buyer=bruno).pk, buyer=None)
    Event.objects.update(published_at="2026-01-01T00:00Z")
    assert audit()["findings"] == []
