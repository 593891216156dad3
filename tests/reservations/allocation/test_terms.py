"""Concessions and vouchers change the price of a hold, and a voucher has a limited number of uses."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from reservations.allocation import changes, locks, pricing
from reservations.bodies import ReservationBody
from reservations.hold_request import ORDER_SCOPE, HoldRequest
from reservations.models import Reservation, Status, Voucher
from reservations.operations import holding, queued, sweeps
from reservations.refusals import AlreadyPaid, ReservationExpired, UnknownConcession, VoucherUnknown, VoucherUsedUp
from sessions_app.models import Session, TicketType
from tests.conftest import Hold
from tests.factories import ConcessionFactory, SessionFactory, StockFactory, VoucherFactory
from tests.reservations.test_holding import request_for, run_out
from tests.ticketing.test_paying import pay

pytestmark = pytest.mark.django_db(transaction=True)


def price(reservation: Reservation, buyer: uuid.UUID, **terms: Any) -> ReservationBody:
    body = holding.price(reservation_id=reservation.pk, buyer=buyer, **terms)
    reservation.refresh_from_db()
    assert reservation.total == pricing.total_of(reservation.lines)
    assert body["total"] is not None
    assert body["total"]["amount"] == reservation.total
    return body


def paid_for(body: ReservationBody) -> dict[str | None, int]:
    return {line["seat"]: line["price"]["amount"] for line in body["lines"]}


def order(session: Session, *seats: str, buyer: uuid.UUID, **terms: Any) -> Reservation:
    """Return the order as it is allocated."""
    request: HoldRequest = request_for(session, *seats, buyer=buyer, scope=ORDER_SCOPE, **terms)
    queued.allocate([request])
    return Reservation.objects.get(pk=request.id)


class TestVoucher:
    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("voucher_code_is_in_capitals", {"code": "Summer"}),
            ("voucher_code_is_in_capitals", {"code": "A"}),
            ("voucher_is_a_share_or_an_amount", {"percent_off": None}),
            ("voucher_is_a_share_or_an_amount", {"percent_off": 101}),
            ("voucher_is_a_share_or_an_amount", {"amount": 5, "currency": "BRL"}),
            ("voucher_is_a_share_or_an_amount", {"percent_off": None, "amount": 5}),
            ("voucher_ends_after_it_begins", {"valid_from": "2030-01-02T00:00Z", "valid_until": "2030-01-01T00:00Z"}),
            ("voucher_can_be_used_at_least_once", {"uses": 0}),
            ("voucher_can_be_used_at_least_once", {"uses_per_buyer": 0}),
        ],
    )
    def test_keeps_its_rules_in_the_database(self, constraint: str, change: dict[str, Any]) -> None:
        voucher = VoucherFactory.create()
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            Voucher.objects.filter(pk=voucher.pk).update(**change)


class TestHold:
    def test_bears_the_fee_of_its_session_and_contains_the_tax(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        Session.objects.filter(pk=session.pk).update(booking_fee=200, tax_basis_points=1000)
        held = hold(session, "A1", "A2", buyer=ana)
        assert held.total == 5400 == pricing.total_of(held.lines)
        assert [pricing.part_of(held.lines[0], part) for part in ("discount", "fee", "tax")] == [0, 200, 227]

    def test_has_only_a_price_without_fees_and_taxes(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        (line,) = hold(session, "A1", buyer=ana).lines
        assert set(line) == {"seat", "ticket_type", "name", "price"}


class TestPricing:
    def test_takes_a_concession_off_the_places_that_have_it(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        child = ConcessionFactory.create(session=session)
        body = price(hold(session, "A1", "A2", buyer=ana), ana, concessions=[("A2", "child")])
        assert paid_for(body) == {"A1": 2500, "A2": 1250}
        assert body["lines"][1]["concession"] == {"id": str(child.pk), "name": "Child"}

    def test_counts_concessions_of_unnumbered_places(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        ConcessionFactory.create(session=session)
        stock = StockFactory.create(session=session)
        held = hold(session, buyer=ana, ticket_type=stock.pk, quantity=3)
        assert price(held, ana, concessions=[("Child", 2)])["total"] == {"amount": 18000, "currency": held.currency}

    def test_leaves_terms_that_are_not_sent(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        ConcessionFactory.create(session=session)
        voucher = VoucherFactory.create()
        held = hold(session, "A1", "A2", buyer=ana)
        price(held, ana, concessions=[("A1", "Child")])
        assert price(held, ana, voucher=voucher.code.lower())["total"] == {
            "amount": 1125 + 2250,
            "currency": held.currency,
        }
        assert price(held, ana, concessions=[])["total"] == {"amount": 4500, "currency": held.currency}
        assert price(held, ana, voucher="") == {**price(held, ana), "voucher": None}
        assert held.total == 5000

    def test_keeps_the_price_that_the_place_had_when_it_was_held(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        TicketType.objects.update(price=9900)
        assert price(held, ana, voucher=VoucherFactory.create().code)["total"] == {
            "amount": 2250,
            "currency": held.currency,
        }

    def test_is_only_for_the_buyer_of_a_hold(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        with pytest.raises(Reservation.DoesNotExist):
            price(held, bruno, concessions=[])
        run_out(held)
        with pytest.raises(ReservationExpired):
            price(held, ana, concessions=[])
        bought = hold(session, "A2", buyer=ana)
        pay(bought)
        with pytest.raises(AlreadyPaid):
            price(bought, ana, concessions=[])

    def test_changes_nothing_when_it_is_refused(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        with pytest.raises(VoucherUnknown):
            price(held, ana, voucher="NOBODYS")
        with pytest.raises(UnknownConcession):
            price(held, ana, concessions=[("A1", "Dog")])
        held.refresh_from_db()
        assert (held.total, held.voucher_id) == (2500, None)

    def test_stays_when_the_hold_is_moved_to_seats_of_the_same_price(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        ConcessionFactory.create(session=session)
        held = hold(session, "A1", buyer=ana)
        price(held, ana, concessions=[("A1", "Child")])
        other = TicketType.objects.create(session=session, name="Balcony", price=2500)
        session.seats.filter(label="B1").update(ticket_type=other)
        holding.move_seats(reservation_id=held.pk, seats=["A1"], to=["B1"], follow=lambda *_moved: None)
        held.refresh_from_db()
        assert (held.total, held.lines[0]["name"], held.lines[0]["price"]["amount"]) == (1250, "Balcony", 1250)


class TestUses:
    def test_are_limited_in_all(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        voucher = VoucherFactory.create(uses=1)
        price(hold(session, "A1", buyer=ana), ana, voucher=voucher.code)
        with pytest.raises(VoucherUsedUp):
            price(hold(session, "A2", buyer=bruno), bruno, voucher=voucher.code)

    def test_are_limited_for_one_buyer(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        voucher = VoucherFactory.create(uses_per_buyer=1)
        first = hold(session, "A1", buyer=ana)
        price(first, ana, voucher=voucher.code)
        price(first, ana, voucher=voucher.code)  # the same voucher again is no second use
        with pytest.raises(VoucherUsedUp):
            price(hold(session, "A2", buyer=ana), ana, voucher=voucher.code)
        price(hold(session, "A3", buyer=bruno), bruno, voucher=voucher.code)

    @pytest.mark.parametrize("ended", ["released", "taken off", "expired", "expired and not swept"])
    def test_come_back_without_a_sale(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, ended: str
    ) -> None:
        voucher = VoucherFactory.create(uses=1)
        other = SessionFactory.create()
        held = hold(session, "A1", buyer=ana)
        price(held, ana, voucher=voucher.code)
        if ended == "released":
            holding.release(reservation_id=held.pk, buyer=ana)
        elif ended == "taken off":
            price(held, ana, voucher="")
        else:
            run_out(held)
        if ended == "expired":
            sweeps.expire_holds()
        assert price(hold(other, "A1", buyer=bruno), bruno, voucher=voucher.code)["voucher"] == voucher.code

    def test_stay_used_once_paid_for(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        voucher = VoucherFactory.create(uses=1)
        held = hold(session, "A1", buyer=ana)
        price(held, ana, voucher=voucher.code)
        pay(held)
        with pytest.raises(VoucherUsedUp):
            price(hold(session, "A2", buyer=bruno), bruno, voucher=voucher.code)


class TestOrders:
    def test_are_priced_with_their_terms(self, session: Session, ana: uuid.UUID) -> None:
        ConcessionFactory.create(session=session)
        voucher = VoucherFactory.create(percent_off=None, amount=500, currency="BRL")
        made = order(session, "A1", "A2", buyer=ana, concessions=(("A1", "Child"),), voucher=voucher.code)
        assert (made.status, made.total, made.voucher_id) == (Status.HELD, 1250 + 2500 - 500, voucher.pk)
        assert made.total == pricing.total_of(made.lines)

    def test_end_with_the_reason_and_hold_nothing(self, session: Session, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        voucher = VoucherFactory.create(uses=1)
        assert order(session, "A1", buyer=ana, voucher=voucher.code).status == Status.HELD
        late = order(session, "A2", buyer=bruno, voucher=voucher.code)
        assert (late.status, late.reason, late.voucher_id) == (Status.REJECTED, "voucher_used_up", None)
        assert session.seats.get(label="A2").status == "f"
        assert order(session, "A2", buyer=bruno, concessions=(("A2", "Dog"),)).reason == "unknown_concession"

    def test_get_the_use_of_an_expired_hold(self, session: Session, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        voucher = VoucherFactory.create(uses=1)
        run_out(order(session, "A1", buyer=ana, voucher=voucher.code))
        assert order(session, "A2", buyer=bruno, voucher=voucher.code).status == Status.HELD

    def test_use_no_voucher_when_they_lose_their_seats(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        voucher = VoucherFactory.create(uses=1)
        hold(session, "A1", buyer=ana)
        both = [
            request_for(session, seat, buyer=uuid.uuid4(), scope=ORDER_SCOPE, voucher=voucher.code, arrival=place)
            for place, seat in enumerate(("A1", "A2", "A3"))
        ]
        queued.allocate(both)
        outcomes = [Reservation.objects.get(pk=request.id).reason for request in both]
        assert outcomes == ["seats_unavailable", "", "voucher_used_up"]


def test_late_money_finds_the_voucher_used_up(session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
    voucher = VoucherFactory.create(uses=1)
    held = hold(session, "A1", buyer=ana)
    price(held, ana, voucher=voucher.code)
    holding.release(reservation_id=held.pk, buyer=ana)

    def again() -> object:
        with transaction.atomic():
            locked = locks.lock_reservation(reservation_id=held.pk, buyer=ana)
            found = changes.sell_again(locked, sale=uuid.uuid4())
            transaction.set_rollback(True)
            return found

    assert again() is not None
    price(hold(session, "A2", buyer=bruno), bruno, voucher=voucher.code)
    assert again() is None
