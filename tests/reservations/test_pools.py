"""Ticket types draw on shared pools, and have rules of their own sale. See Note [What a place draws on]."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from realtime import wire
from reservations import orders
from reservations.admission import front_door, sale_facts
from reservations.admission.front_door import FrontDoor
from reservations.allocation import changes, locks
from reservations.api.views import refusal
from reservations.claims import claims, keys, standings
from reservations.claims.claims import NoClaims
from reservations.hold_request import COUNTER_SCOPE, HOLD_SCOPE, ORDER_SCOPE, Ask
from reservations.models import Reservation, Status
from reservations.operations import holding, queued, sweeps
from reservations.queries import reservation_body
from reservations.queueing.queues import QueueDown
from reservations.refusals import LimitReached, SaleClosed, SaleNotOpen, SoldOut, TooManySeats
from sessions_app.models import Pool, Session, TicketType
from tests.api import assert_problem, client_of, post
from tests.conftest import Hold, forget_redis
from tests.factories import PoolFactory, SessionFactory, StockFactory, UserFactory
from tests.reservations.admission.test_front_door import Road
from tests.reservations.allocation.test_stock import allocate
from tests.reservations.test_holding import request_for
from ticketing.models import Sale
from ticketing.payments import refunds, starting, steps

pytestmark = pytest.mark.django_db(transaction=True)

Enter = Callable[..., bool]


class Festival:
    """Three places on each of two days; day tickets, and a pass for both."""

    def __init__(self) -> None:
        self.session: Session = SessionFactory.create(seats=(1, 1))
        days = {name: PoolFactory.create(session=self.session, name=name, capacity=3) for name in ("sat", "sun")}
        self.days = days
        self.sat = self._type("Saturday", days["sat"])
        self.sun = self._type("Sunday", days["sun"])
        self.both = self._type("Weekend", *days.values(), capacity=2)

    def _type(self, name: str, *pools: Pool, capacity: int = 10) -> TicketType:
        made: TicketType = StockFactory.create(session=self.session, name=name, capacity=capacity)
        made.pools.add(*pools)
        return made

    def left(self) -> tuple[int, int]:
        """Return the places on Saturday and on Sunday in PostgreSQL."""
        return tuple(  # type: ignore[return-value]
            Pool.objects.values_list("available", flat=True).get(pk=day.pk) for day in self.days.values()
        )

    def stock_left(self, kind: TicketType) -> int | None:
        return TicketType.objects.values_list("available", flat=True).get(pk=kind.pk)


@pytest.fixture
def festival(transactional_db: None) -> Festival:
    return Festival()


@pytest.fixture
def road() -> Road:
    return Road("inbox")


@pytest.fixture
def enter(road: Road, festival: Festival, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Ask while no worker allocates; return whether admission let the request in."""
    door = FrontDoor(queue=road, fallback=None)
    monkeypatch.setattr(front_door, "door", lambda: door)

    def enter(kind: TicketType, quantity: int = 1) -> bool:
        try:
            front_door.admit(
                Ask(session=festival.session.pk, ticket_type=kind.pk, quantity=quantity), buyer=uuid.uuid4()
            )
        except SoldOut:
            return False
        return True

    return enter


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[uuid.UUID, int]:
    """Collect the last number of each type that watchers were told."""
    last: dict[uuid.UUID, int] = {}
    monkeypatch.setattr(
        wire, "send_stock", lambda *, session, ticket_type, available, at: last.update({ticket_type: available})
    )
    return last


class TestAPlace:
    def test_takes_one_from_its_stock_and_one_from_each_pool(
        self, festival: Festival, hold: Hold, ana: uuid.UUID
    ) -> None:
        hold(festival.session, buyer=ana, ticket_type=festival.both.pk, quantity=2)
        assert (festival.left(), festival.stock_left(festival.both)) == ((1, 1), 0)
        hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=1)
        assert festival.left() == (0, 1)

    def test_takes_nothing_if_one_pool_has_none_left(self, festival: Festival, ana: uuid.UUID) -> None:
        wishes = [(festival.sat, 3), (festival.both, 1), (festival.sun, 3)]
        requests = [
            request_for(festival.session, buyer=ana, arrival=n, ticket_type=kind.pk, quantity=places)
            for n, (kind, places) in enumerate(wishes)
        ]
        queued.allocate(requests)
        assert list(Reservation.objects.order_by("arrival").values_list("status", "reason")) == [
            ("held", ""),
            ("rejected", "sold_out"),
            ("held", ""),
        ]
        assert (festival.left(), festival.stock_left(festival.both)) == ((0, 0), 2)

    def test_comes_back_to_all_of_them_when_it_is_released_or_runs_out(
        self, festival: Festival, hold: Hold, ana: uuid.UUID
    ) -> None:
        first = hold(festival.session, buyer=ana, ticket_type=festival.both.pk, quantity=1)
        hold(festival.session, buyer=ana, ticket_type=festival.both.pk, quantity=1)
        holding.release(reservation_id=first.pk, buyer=ana)
        assert festival.left() == (2, 2)
        Reservation.objects.filter(status=Status.HELD).update(expires_at=timezone.now())
        sweeps.expire_holds()
        assert (festival.left(), festival.stock_left(festival.both)) == ((3, 3), 2)

    @pytest.mark.parametrize("token", ["declined", "ok"])
    def test_comes_back_when_the_card_is_declined_or_the_money_goes_back(
        self, festival: Festival, hold: Hold, ana: uuid.UUID, token: str
    ) -> None:
        held = hold(festival.session, buyer=ana, ticket_type=festival.both.pk, quantity=2)
        payment = starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token=token)
        steps.finish_payment(payment_id=payment.pk)
        assert festival.left() == (1, 1)
        if token == "ok":
            refunds.ask_refund(sale_id=Sale.objects.get().pk, buyer=ana)
        else:
            holding.release(reservation_id=held.pk, buyer=ana)
        assert (festival.left(), festival.stock_left(festival.both)) == ((3, 3), 2)

    def test_comes_back_when_the_session_is_called_off(self, festival: Festival, hold: Hold, ana: uuid.UUID) -> None:
        hold(festival.session, buyer=ana, ticket_type=festival.both.pk, quantity=2)
        refunds.call_off(session_id=festival.session.pk)
        refunds.refund_everybody(session_id=festival.session.pk, each=lambda _refund: None)
        assert festival.left() == (3, 3)

    def test_is_sold_again_for_late_money_only_if_the_pools_have_it(
        self, festival: Festival, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        lost = hold(festival.session, buyer=ana, ticket_type=festival.both.pk, quantity=1)
        holding.release(reservation_id=lost.pk, buyer=ana)
        taken = hold(festival.session, buyer=bruno, ticket_type=festival.sun.pk, quantity=3)

        def again() -> bool:
            with transaction.atomic():
                locked = locks.lock_reservation(reservation_id=lost.pk, buyer=None)
                return changes.sell_again(locked, sale=uuid.uuid4()) is not None

        assert not again()
        assert festival.left() == (3, 0)
        holding.release(reservation_id=taken.pk, buyer=bruno)
        assert again()
        assert festival.left() == (2, 2)

    def test_of_an_expired_hold_of_another_type_is_no_obstacle(
        self, festival: Festival, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        for _place in range(3):
            hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=1)
        Reservation.objects.update(expires_at=timezone.now())
        queued.allocate([request_for(festival.session, buyer=bruno, ticket_type=festival.both.pk, quantity=2)])
        assert Reservation.objects.get(buyer=bruno).status == Status.HELD
        assert Reservation.objects.filter(buyer=ana, status=Status.EXPIRED).count() == 2
        assert festival.left() == (0, 1)

    def test_is_announced_for_each_type_that_shares_a_pool(
        self, festival: Festival, hold: Hold, ana: uuid.UUID, told: dict[uuid.UUID, int]
    ) -> None:
        held = hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=2)
        assert told == {festival.sat.pk: 1, festival.both.pk: 1}
        holding.release(reservation_id=held.pk, buyer=ana)
        assert told == {festival.sat.pk: 3, festival.both.pk: 2}


class TestAdmission:
    def test_counts_queued_requests_for_each_pool(self, festival: Festival, enter: Enter) -> None:
        assert [enter(festival.both), enter(festival.both)] == [True, True]
        assert not enter(festival.both)  # its own two
        assert [enter(festival.sat), enter(festival.sat)] == [True, False]
        assert [enter(festival.sun, 2), enter(festival.sun)] == [False, True]

    def test_counts_no_request_twice_while_some_are_allocated(
        self, festival: Festival, enter: Enter, road: Road
    ) -> None:
        assert [enter(festival.sat), enter(festival.both)] == [True, True]
        allocate(road, 1)
        assert [enter(festival.both), enter(festival.sat)] == [True, False]
        allocate(road)
        assert [enter(festival.sat), enter(festival.sun), enter(festival.sun)] == [False, True, False]

    def test_gives_out_places_that_were_given_back(self, festival: Festival, enter: Enter, road: Road) -> None:
        assert enter(festival.both, 2)
        (first,) = allocate(road)
        assert not enter(festival.sun, 2)
        holding.release(reservation_id=first.id, buyer=first.buyer)
        assert [enter(festival.sun, 3), enter(festival.both)] == [True, False]

    def test_gives_out_places_of_a_request_given_up_in_the_queue(
        self, festival: Festival, enter: Enter, road: Road
    ) -> None:
        assert enter(festival.both, 2)
        (request,) = road.requests
        holding.release(reservation_id=request.id, buyer=request.buyer)
        assert enter(festival.sun, 3)

    def test_gives_out_places_of_a_request_that_no_queue_took(
        self, festival: Festival, enter: Enter, road: Road
    ) -> None:
        road.takes = 0
        with pytest.raises(QueueDown):
            enter(festival.both, 2)
        road.takes = 9
        assert [enter(festival.sun, 3), enter(festival.sat, 3)] == [True, True]

    def test_counts_a_neighbours_hold_that_ran_out_as_free(self, festival: Festival, enter: Enter, road: Road) -> None:
        assert enter(festival.sat, 3)
        (request,) = allocate(road)
        assert not enter(festival.both)
        Reservation.objects.update(expires_at=timezone.now())
        *_stock, holders = keys.stock_keys(festival.session.pk, festival.days["sat"].pk)
        claims.client().zadd(holders, {f"{request.id}:3": 1})
        assert enter(festival.both)
        allocate(road)
        assert festival.left() == (2, 2)

    def test_reads_again_the_levels_that_redis_forgot(self, festival: Festival, enter: Enter, road: Road) -> None:
        assert [enter(festival.sat), enter(festival.both)] == [True, True]
        allocate(road)
        forget_redis()
        sale_facts.forget()
        assert [enter(festival.sat), enter(festival.both)] == [True, False]

    def test_corrects_a_level_that_drifted(self, festival: Festival, enter: Enter, road: Road) -> None:
        """The next commit brings the right number."""
        pool = keys.stock_keys(festival.session.pk, festival.days["sat"].pk)[0]
        assert enter(festival.sat)
        claims.client().hset(pool, "available", 99)
        allocate(road)
        assert [enter(festival.sat, 3), enter(festival.sat, 2)] == [False, True]

    def test_is_not_needed_for_the_same_outcome(
        self, festival: Festival, monkeypatch: pytest.MonkeyPatch, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        def away(*_admit_one: Any, **_more: Any) -> None:
            raise NoClaims

        monkeypatch.setattr(claims, "admit", away)
        monkeypatch.setattr(standings, "upkeep", away)
        assert hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=3).status == Status.HELD
        assert hold(festival.session, buyer=bruno, ticket_type=festival.both.pk, quantity=1).reason == "sold_out"


class TestSaleOfType:
    """Admission checks a type's rules; allocation checks again what an older copy of the facts admitted."""

    @pytest.fixture
    def kind(self, festival: Festival) -> TicketType:
        return festival.sat

    def rule(self, kind: TicketType, **rules: Any) -> None:
        TicketType.objects.filter(pk=kind.pk).update(**rules)
        sale_facts.forget()

    def allocated(self, kind: TicketType, buyer: uuid.UUID, quantity: int = 1) -> Reservation:
        request = request_for(kind.session, buyer=buyer, ticket_type=kind.pk, quantity=quantity)
        queued.allocate([request])
        return Reservation.objects.select_related("session").get(pk=request.id)

    def test_begins_at_its_time(self, kind: TicketType, hold: Hold, ana: uuid.UUID) -> None:
        opens = timezone.now() + dt.timedelta(hours=1)
        self.rule(kind, sells_from=opens)
        with pytest.raises(SaleNotOpen) as refused:
            hold(kind.session, buyer=ana, ticket_type=kind.pk, quantity=1)
        assert refused.value.on_sale_at == opens
        late = self.allocated(kind, ana)
        assert late.reason == "sale_not_open"
        error = refusal(reservation_body(late))
        assert isinstance(error, SaleNotOpen)
        assert error.on_sale_at == opens

    def test_ends_at_its_time(self, kind: TicketType, hold: Hold, ana: uuid.UUID) -> None:
        self.rule(kind, sells_until=timezone.now())
        with pytest.raises(SaleClosed):
            hold(kind.session, buyer=ana, ticket_type=kind.pk, quantity=1)
        assert self.allocated(kind, ana).reason == "sale_closed"

    def test_leaves_other_types_alone(self, festival: Festival, kind: TicketType, hold: Hold, ana: uuid.UUID) -> None:
        self.rule(kind, sells_until=timezone.now(), max_per_buyer=1)
        assert hold(kind.session, buyer=ana, ticket_type=festival.sun.pk, quantity=3).status == Status.HELD
        assert hold(kind.session, "A1", buyer=ana).status == Status.HELD

    @pytest.mark.parametrize("rule", ["max_per_order", "max_per_buyer"])
    def test_takes_no_larger_order(self, kind: TicketType, hold: Hold, ana: uuid.UUID, rule: str) -> None:
        self.rule(kind, **{rule: 2})
        with pytest.raises(TooManySeats) as refused:
            hold(kind.session, buyer=ana, ticket_type=kind.pk, quantity=3)
        assert (refused.value.limit, refused.value.field) == (2, "quantity")
        assert hold(kind.session, buyer=ana, ticket_type=kind.pk, quantity=2).status == Status.HELD

    def test_takes_no_larger_order_under_the_locks(self, kind: TicketType, ana: uuid.UUID) -> None:
        self.rule(kind, max_per_order=2)
        late = self.allocated(kind, ana, 3)
        assert late.reason == "too_many_seats"
        error = refusal(reservation_body(late))
        assert isinstance(error, TooManySeats)
        assert error.limit == 2
        assert "more places than one order" in orders.said_of(late.status, late.reason)

    def test_counts_a_buyers_places_of_the_type(
        self, festival: Festival, kind: TicketType, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        self.rule(kind, max_per_buyer=2)
        first = hold(kind.session, buyer=ana, ticket_type=kind.pk, quantity=1)
        hold(kind.session, buyer=ana, ticket_type=festival.sun.pk, quantity=2)
        with pytest.raises(LimitReached) as refused:
            hold(kind.session, buyer=ana, ticket_type=kind.pk, quantity=2)
        assert refused.value.limit == 2
        forget_redis()
        late = self.allocated(kind, ana, 2)
        assert late.reason == "limit_reached"
        error = refusal(reservation_body(late))
        assert isinstance(error, LimitReached)
        assert error.limit == 2
        assert hold(kind.session, buyer=bruno, ticket_type=kind.pk, quantity=1).status == Status.HELD
        holding.release(reservation_id=first.pk, buyer=ana)
        assert hold(kind.session, buyer=ana, ticket_type=kind.pk, quantity=2).status == Status.HELD

    def test_counts_within_one_batch(self, kind: TicketType, ana: uuid.UUID) -> None:
        self.rule(kind, max_per_buyer=2)
        requests = [request_for(kind.session, buyer=ana, arrival=n, ticket_type=kind.pk, quantity=1) for n in range(3)]
        queued.allocate(requests)
        assert Reservation.objects.filter(reason="limit_reached").count() == 1


class TestTypesSoldAtOnce:
    """Some types can't be held."""

    @pytest.fixture
    def kind(self, festival: Festival) -> TicketType:
        TicketType.objects.filter(pk=festival.sat.pk).update(holds=False)
        return festival.sat

    def order(self, buyer: uuid.UUID, kind: TicketType, **more: Any) -> Any:
        body = {"ticket_type": str(kind.pk), "quantity": 1, **more}
        return post(client_of(buyer), "/orders", body, idempotency_key=uuid.uuid4().hex)

    def test_refuse_a_hold_and_tell_the_next_step(self, kind: TicketType, ana: uuid.UUID) -> None:
        body = {"session": str(kind.session_id), "ticket_type": str(kind.pk), "quantity": 1}
        problem = assert_problem(post(client_of(ana), "/reservations", body), 400, "sold_at_once")
        (error,) = problem["errors"]
        assert error["field"] == "ticket_type"
        assert "POST /orders" in error["message"]
        assert not Reservation.objects.exists()

    def test_accept_orders_with_a_payment(self, kind: TicketType, ana: uuid.UUID) -> None:
        problem = assert_problem(self.order(ana, kind), 400, "payment_needed")
        assert problem["errors"][0]["field"] == "payment"
        assert self.order(ana, kind, payment={"method": "fake", "token": "ok"}).status_code == 202
        assert Reservation.objects.get().status == Status.CONFIRMED

    def test_need_no_payment_if_they_are_free(self, kind: TicketType, ana: uuid.UUID) -> None:
        TicketType.objects.filter(pk=kind.pk).update(price=0)
        assert self.order(ana, kind).status_code == 202
        assert Reservation.objects.get().status == Status.CONFIRMED

    def test_are_judged_again_under_the_locks(self, kind: TicketType, ana: uuid.UUID) -> None:
        for scope, reason in ((HOLD_SCOPE, "sold_at_once"), (ORDER_SCOPE, "payment_needed")):
            request = request_for(kind.session, buyer=ana, ticket_type=kind.pk, quantity=1, scope=scope)
            queued.allocate([request])
            assert Reservation.objects.get(pk=request.id).reason == reason

    def test_are_sold_at_the_counter_like_other_types(self, kind: TicketType, ana: uuid.UUID) -> None:
        ask = Ask(session=kind.session_id, ticket_type=kind.pk, quantity=1, scope=COUNTER_SCOPE)
        admitted = front_door.admit(ask, buyer=ana)
        assert Reservation.objects.get(pk=admitted.id).status == Status.HELD


class TestAccountsRequired:
    @pytest.fixture
    def members(self, festival: Festival) -> Session:
        Session.objects.filter(pk=festival.session.pk).update(accounts_required=True)
        return festival.session

    def test_refuses_a_guest_before_anything_is_queued(
        self, members: Session, festival: Festival, ana: uuid.UUID
    ) -> None:
        client = client_of(ana)
        assert_problem(
            post(client, "/reservations", {"session": str(members.pk), "seats": ["A1"]}), 403, "account_required"
        )
        order = {"ticket_type": str(festival.sat.pk), "quantity": 1}
        assert_problem(post(client, "/orders", order, idempotency_key="k"), 403, "account_required")
        assert not Reservation.objects.exists()

    def test_lets_people_with_an_account_in(self, members: Session) -> None:
        client = client_of(UserFactory.create())
        assert post(client, "/reservations", {"session": str(members.pk), "seats": ["A1"]}).status_code == 202

    def test_asks_guests_on_the_page_to_sign_in_and_brings_them_back(self, members: Session, client: Client) -> None:
        page = client.get(f"/sessions/{members.pk}").content.decode()
        assert f"/sign-in?next=/sessions/{members.pk}" in page
        refused = client.post(f"/sessions/{members.pk}/hold", {"way": "seats", "seats": ["A1"]}, follow=True)
        assert "sign in to buy" in refused.content.decode()
        form = {
            "username": UserFactory.create().username,
            "password": "frontrow-demo",
            "next": f"/sessions/{members.pk}",
        }
        back = client.post("/sign-in", form)
        assert back["Location"] == f"/sessions/{members.pk}"
        assert "sign in to buy" not in client.get(back["Location"]).content.decode()
        held = client.post(f"/sessions/{members.pk}/hold", {"way": "seats", "seats": ["A1"]})
        assert held["Location"].startswith("/reservations/")
