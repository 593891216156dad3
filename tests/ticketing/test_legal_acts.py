"""Check that the audit finds nothing after any legal act of buyers and staff: run all checks after each step."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from realtime.models import Event
from reservations.admission import front_door
from reservations.hold_request import ORDER_SCOPE, Ask, Means
from reservations.models import JoinedGuest, Reservation, Voucher
from reservations.operations import holding, inventory, queued, sweeps
from reservations.refusals import SoldOut
from sessions_app.models import Concession, Pool, Session, TicketType
from tests.conftest import Hold
from tests.factories import ConcessionFactory, PoolFactory, SessionFactory, StockFactory, UserFactory, VoucherFactory
from tests.reservations.test_holding import request_for, run_out
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import EPOCH, audit, found
from ticketing.models import Payment, PaymentStatus, Sale, Ticket, User
from ticketing.orders import care
from ticketing.payments import handing_out, refunds, selling, starting, steps
from ticketing.people import accounts
from ticketing.refusals import AlreadyUsed
from ticketing.tickets import doors, transfers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]

CARD = Means(method="fake", token="ok")


@dataclass
class House:
    """Hold a session with numbered seats, and three types of unnumbered places, two of which share a pool."""

    session: Session
    stock: TicketType
    shared: TicketType
    pool: Pool
    hold: Hold
    ana: User
    voucher: Voucher

    def buy(self, *seats: str, buyer: uuid.UUID | None = None, **ask: Any) -> Sale:
        payment = pay(self.hold(self.session, *seats, buyer=buyer or uuid.uuid4(), **ask))
        return Sale.objects.get(payment=payment)

    def buy_at_the_counter(self, seat: str) -> Sale:
        held = self.hold(self.session, seat, buyer=uuid.uuid4())
        payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="cash", at_the_counter=True)
        steps.finish_payment(payment_id=payment.pk)
        return Sale.objects.get(payment=payment)

    def order(self, places: int, *, token: str = "ok") -> Reservation:
        ask = Ask(
            session=self.session.pk,
            ticket_type=self.stock.pk,
            quantity=places,
            payment=Means(method="fake", token=token),
            scope=ORDER_SCOPE,
            key=uuid.uuid4().hex,
        )
        return Reservation.objects.get(pk=front_door.admit(ask, buyer=uuid.uuid4()).id)


@pytest.fixture
def house(session: Session, hold: Hold) -> House:
    Session.objects.filter(pk=session.pk).update(standby=True, max_per_buyer=6)
    ConcessionFactory.create(session=session, percent_off=100)
    pool = PoolFactory.create(session=session, capacity=4)
    stock = StockFactory.create(session=session, capacity=4, max_per_buyer=4)
    shared = StockFactory.create(session=session, name="Balcony", capacity=4)
    stock.pools.add(pool)
    shared.pools.add(pool)
    return House(session, stock, shared, pool, hold, UserFactory.create(username="ana"), VoucherFactory.create(uses=3))


def change(model: Any, pk: Any, **fields: Any) -> None:
    """Save a row as a form of the admin does."""
    row = model.objects.get(pk=pk)
    for name, value in fields.items():
        setattr(row, name, value)
    row.save(update_fields=list(fields))


def give_back(sale: Sale, *, buyer: uuid.UUID | None = None, tickets: list[uuid.UUID] | None = None) -> uuid.UUID:
    refund = refunds.ask_refund(sale_id=sale.pk, buyer=buyer, tickets=tickets)
    refunds.pay_back(refund_id=refund.pk)
    return refund.pk


def expect_nothing_found(after: str) -> None:
    Event.objects.update(published_at=Now())
    assert audit()["findings"] == [], after


class Acts:
    """Do what buyers and staff do, in this order; each method is one step."""

    def __init__(self, house: House) -> None:
        self.house = house

    def buyer_uses_the_whole_limit_and_it_is_lowered(self) -> None:
        self.house.buy("A1", "A2", buyer=self.house.ana.pk)
        self.house.buy(buyer=self.house.ana.pk, ticket_type=self.house.stock.pk, quantity=2)
        change(Session, self.house.session.pk, max_per_buyer=2)
        change(TicketType, self.house.stock.pk, max_per_buyer=1)

    def limits_are_raised_and_used_again(self) -> None:
        change(Session, self.house.session.pk, max_per_buyer=8)
        change(TicketType, self.house.stock.pk, max_per_buyer=None)
        self.house.buy("A3", buyer=self.house.ana.pk)

    def guests_purchases_are_joined_beyond_the_limit(self) -> None:
        guest = uuid.uuid4()
        self.house.buy("B1", "B2", "B3", "B4", buyer=guest)
        accounts.adopt_guest(guest=guest, user=self.house.ana)
        assert Sale.objects.filter(buyer=self.house.ana.pk).count() == 4
        change(Session, self.house.session.pk, max_per_buyer=5)

    def voucher_is_used_up_and_its_uses_are_lowered(self) -> None:
        for seat in ("C1", "C2"):
            held = self.house.hold(self.house.session, seat, buyer=uuid.uuid4())
            holding.price(reservation_id=held.pk, buyer=held.buyer, voucher=self.house.voucher.code)
            held.refresh_from_db()
            pay(held)
        change(Voucher, self.house.voucher.pk, uses=1, percent_off=50, is_active=False)

    def hold_with_a_voucher_is_priced_anew_after_that(self) -> None:
        change(Voucher, self.house.voucher.pk, uses=3, is_active=True)
        held = self.house.hold(self.house.session, "C3", buyer=uuid.uuid4(), voucher=self.house.voucher.code)
        change(Voucher, self.house.voucher.pk, uses=1)
        holding.price(reservation_id=held.pk, buyer=held.buyer, concessions=[("C3", "Child")])
        holding.release(reservation_id=held.pk, buyer=held.buyer)

    def prices_fees_and_taxes_change(self) -> None:
        change(Session, self.house.session.pk, booking_fee=200, tax_basis_points=700)
        change(TicketType, self.house.stock.pk, price=100)
        self.house.buy("C3")

    def concession_is_deleted(self) -> None:
        Concession.objects.all().delete()

    def seats_are_blocked_and_freed_and_a_buyer_is_moved(self) -> None:
        inventory.block_seats(session=self.house.session.pk, labels=["D3", "D4"])
        inventory.unblock_seats(session=self.house.session.pk, labels=["D3"])
        moved = Ticket.objects.get(seat__label="C3").sale.reservation_id
        selling.move_seats(reservation_id=moved, seats=["C3"], to=["D3"])

    def stock_sells_out_and_an_order_stands_by(self) -> None:
        self.house.buy(ticket_type=self.house.shared.pk, quantity=2)
        assert self.house.order(2).status == "queued"

    def pool_grows_and_the_order_is_served(self) -> None:
        inventory.change_pool(pool=self.house.pool.pk, capacity=6)
        assert not Reservation.objects.filter(status="queued").exists()

    def type_leaves_its_pool_and_capacity_changes(self) -> None:
        inventory.change_stock(ticket_type=self.house.shared.pk, capacity=3, pools=[])
        inventory.change_stock(ticket_type=self.house.shared.pk, capacity=2, pools=[])
        inventory.change_pool(pool=self.house.pool.pk, capacity=5)

    def order_fails_and_is_placed_again(self) -> None:
        inventory.change_stock(ticket_type=self.house.stock.pk, capacity=6, pools=[])
        change(Session, self.house.session.pk, booking_fee=0, tax_basis_points=0)
        lost = self.house.order(1, token="declined")
        Payment.objects.filter(reservation=lost).update(status=PaymentStatus.FAILED, reason="gateway_timeout")
        Reservation.objects.filter(pk=lost.pk).update(payment=CARD.to_json())
        care.place_again(order_id=lost.pk)

    def buyer_is_refused_what_is_sold_out(self) -> None:
        held = self.house.hold(self.house.session, buyer=uuid.uuid4(), ticket_type=self.house.stock.pk, quantity=1)
        holding.extend(reservation_id=held.pk, buyer=held.buyer)
        run_out(held)
        sweeps.expire_holds()
        late = uuid.uuid4()
        with contextlib.suppress(SoldOut):  # at the front door, or in the queue if Redis has forgotten the stock
            self.house.hold(self.house.session, buyer=late, ticket_type=self.house.shared.pk, quantity=3)
        assert not Reservation.objects.filter(buyer=late).exclude(status="rejected", reason="sold_out").exists()

    def tickets_are_passed_on_used_and_given_back(self) -> None:
        sale = Sale.objects.filter(buyer=self.house.ana.pk).earliest("id")
        first, second = sale.tickets.order_by("id")
        receiver = uuid.uuid4()
        transfers.pass_on(ticket_id=first.pk, giver=self.house.ana.pk, receiver=receiver)
        transfers.pass_on(ticket_id=first.pk, giver=receiver, receiver=self.house.ana.pk)
        transfers.pass_on(ticket_id=first.pk, giver=self.house.ana.pk, receiver=receiver)
        doors.check_in(code=second.code, by=self.house.ana)
        give_back(sale, tickets=[second.pk])
        give_back(sale)

    def offline_gate_tells_later(self) -> None:
        used = self.house.buy("A1").tickets.get()
        for ago in (60, 600, 0):
            try:
                doors.check_in(code=used.code, by=self.house.ana, seconds_ago=ago)
            except AlreadyUsed:
                assert ago == 0

    def cash_is_given_back_and_handed_out(self) -> None:
        first, second = (give_back(self.house.buy_at_the_counter(seat)) for seat in ("A2", "D1"))
        assert first != second
        handing_out.hand_out(refund_id=first, by=self.house.ana)

    def session_is_moved_to_another_day(self) -> None:
        later = self.house.session.starts_at + dt.timedelta(days=3)
        change(Session, self.house.session.pk, starts_at=later, ends_at=later + dt.timedelta(hours=2), room="Sala 2")

    def account_is_deleted(self) -> None:
        User.objects.filter(pk=self.house.ana.pk).delete()

    def session_is_called_off_and_everybody_gets_money_back(self) -> None:
        self.house.hold(self.house.session, "D1", buyer=uuid.uuid4())
        refunds.call_off(session_id=self.house.session.pk)
        refunds.refund_everybody(session_id=self.house.session.pk, each=lambda one: refunds.pay_back(refund_id=one.pk))
        assert refunds.progress(self.house.session.pk).is_over


def test_no_check_speaks_up_after_a_legal_act(house: House) -> None:
    acts = Acts(house)
    steps: list[Callable[[], None]] = [
        getattr(acts, name) for name, step in vars(Acts).items() if callable(step) and not name.startswith("_")
    ]
    for step in steps:
        step()
        expect_nothing_found(step.__name__)


class TestLimits:
    """Check that the limit of that time counts, and that joining is no way around it."""

    def test_check_finds_a_buyer_above_the_limit_of_that_time(self, house: House) -> None:
        sale = house.buy("A1", "A2")
        change(Session, house.session.pk, max_per_buyer=20)
        assert found("over_the_limit") == []
        Reservation.objects.filter(pk=sale.reservation_id).update(quantity=7)
        (finding,) = found("over_the_limit")
        assert (finding["places"], finding["most"]) == (7, 6)

    def test_check_counts_what_a_guest_had_for_what_the_account_gets_later(self, house: House) -> None:
        guest = uuid.uuid4()
        house.buy("A1", "A2", buyer=guest)
        accounts.adopt_guest(guest=guest, user=house.ana)
        later = house.buy("A3", buyer=house.ana.pk)
        Reservation.objects.filter(pk=later.reservation_id).update(quantity=5)
        assert found("over_the_limit") == []  # within a minute of joining, either may have come first
        JoinedGuest.objects.update(joined_at=timezone.now() - dt.timedelta(hours=1))
        assert [finding["places"] for finding in found("over_the_limit")] == [7]


class TestStockOrder:
    """Check that the earlier arrival comes first for unnumbered places too."""

    @pytest.fixture
    def ask(self) -> Callable[..., Any]:
        session = SessionFactory.create()
        stock = StockFactory.create(session=session, capacity=2)
        return partial(request_for, session, ticket_type=stock.pk)

    def test_check_finds_an_earlier_arrival_that_got_nothing(self, ask: Callable[..., Any]) -> None:
        early = ask(buyer=uuid.uuid4(), arrival=EPOCH + 1, quantity=2)
        late = ask(buyer=uuid.uuid4(), arrival=EPOCH + 2, quantity=2)
        for request in (late, early):
            queued.allocate([request])
        (finding,) = found("overtaken_for_stock")
        assert (finding["reservation"], finding["overtaken_by"]) == (str(early.id), str(late.id))

    def test_order_of_arrival_is_no_finding(self, ask: Callable[..., Any]) -> None:
        requests = [ask(buyer=uuid.uuid4(), arrival=EPOCH + number, quantity=1) for number in range(1, 5)]
        queued.allocate(requests[:3])
        queued.allocate(requests[3:])
        assert Reservation.objects.filter(reason="sold_out").count() == 2
        assert found("overtaken_for_stock") == []

    def test_request_for_more_than_was_left_was_not_overtaken(self, ask: Callable[..., Any]) -> None:
        early = ask(buyer=uuid.uuid4(), arrival=EPOCH + 1, quantity=3)
        late = ask(buyer=uuid.uuid4(), arrival=EPOCH + 2, quantity=2)
        queued.allocate([early, late])
        assert found("overtaken_for_stock") == []

    @pytest.mark.parametrize("other", [{"arrival": (4 << 24) + 1}, {"arrival": EPOCH + 2, "lane": "members"}])
    def test_check_compares_no_requests_across_epochs_and_lanes(
        self, ask: Callable[..., Any], other: dict[str, Any]
    ) -> None:
        queued.allocate([ask(buyer=uuid.uuid4(), quantity=2, arrival=EPOCH + 3)])
        Reservation.objects.update(**other)
        queued.allocate([ask(buyer=uuid.uuid4(), quantity=2, arrival=EPOCH + 1)])
        assert found("overtaken_for_stock") == []

    def test_check_compares_no_request_with_places_that_came_back(self, ask: Callable[..., Any]) -> None:
        first = ask(buyer=uuid.uuid4(), arrival=EPOCH + 1, quantity=2)
        queued.allocate([first])
        queued.allocate([ask(buyer=uuid.uuid4(), arrival=EPOCH + 2, quantity=2)])
        holding.release(reservation_id=first.id, buyer=first.buyer)
        queued.allocate([ask(buyer=uuid.uuid4(), arrival=EPOCH + 3, quantity=2)])
        assert found("overtaken_for_stock") == []
