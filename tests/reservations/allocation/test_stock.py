"""Admission lets in as many requests for unnumbered places as are left, no more and no fewer."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable

import pytest

from reservations.admission import front_door, sale_facts
from reservations.admission.front_door import FrontDoor
from reservations.claims import claims, keys, standings
from reservations.claims.claims import StockLevel
from reservations.claims.standings import Told
from reservations.hold_request import Ask, HoldRequest
from reservations.models import Reservation
from reservations.operations import holding, queued
from reservations.refusals import SoldOut
from sessions_app.models import Session, TicketType
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.reservations.admission.test_front_door import Road

pytestmark = pytest.mark.django_db(transaction=True)

Enter = Callable[..., bool]


@pytest.fixture
def stock(session: Session) -> TicketType:
    made: TicketType = StockFactory.create(session=session, capacity=5)
    return made


@pytest.fixture
def road() -> Road:
    return Road("inbox")


@pytest.fixture
def enter(road: Road, stock: TicketType, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Ask while no worker allocates; return whether admission let the request in."""
    door = FrontDoor(queue=road, fallback=None)
    monkeypatch.setattr(front_door, "door", lambda: door)

    def enter(quantity: int = 1) -> bool:
        ask = Ask(session=stock.session_id, ticket_type=stock.pk, quantity=quantity)
        try:
            front_door.admit(ask, buyer=uuid.uuid4())
        except SoldOut:
            return False
        return True

    return enter


def allocate(road: Road, number: int | None = None) -> list[HoldRequest]:
    """Allocate the first requests of the queue, or all."""
    some = road.requests[:number]
    road.said[:] = road.requests[len(some) :]
    queued.allocate(some)
    return some


class TestAdmission:
    def test_admits_as_many_requests_as_places_are_left(self, enter: Enter, road: Road) -> None:
        assert [enter() for _one in range(7)] == [True] * 5 + [False] * 2
        allocate(road)
        assert not enter()

    def test_counts_no_request_twice_while_some_are_allocated(self, enter: Enter, road: Road) -> None:
        assert [enter() for _one in range(3)] == [True] * 3
        allocate(road, 2)
        assert [enter() for _one in range(3)] == [True, True, False]

    def test_admits_a_smaller_request(self, enter: Enter) -> None:
        assert [enter(3), enter(3), enter(2), enter(1)] == [True, False, True, False]

    def test_ignores_an_older_copy_of_the_facts(self, enter: Enter, road: Road, stock: TicketType) -> None:
        """This process read the facts when everything was free, and they are fresh enough still."""
        assert [enter() for _one in range(5)] == [True] * 5
        allocate(road)
        assert sale_facts.facts_of(stock.session_id, max_age=60).stock[stock.pk].levels == (StockLevel(stock.pk, 0, 5),)
        assert not enter()

    def test_gives_out_places_that_were_given_back(self, enter: Enter, road: Road) -> None:
        assert [enter() for _one in range(5)] == [True] * 5
        first, *_others = allocate(road)
        holding.release(reservation_id=first.id, buyer=first.buyer)
        assert [enter(), enter()] == [True, False]

    def test_gives_out_places_of_a_refused_request(self, enter: Enter, road: Road) -> None:
        assert enter(5)
        (request,) = road.requests
        holding.release(reservation_id=request.id, buyer=request.buyer)
        allocate(road)
        assert [enter(5), enter()] == [True, False]

    def test_counts_a_hold_that_ran_out_as_free_at_its_instant(
        self, enter: Enter, road: Road, stock: TicketType
    ) -> None:
        """No sweep has ended it yet; allocation will."""
        assert enter(5)
        (request,) = allocate(road)
        past = dt.timedelta(seconds=60)
        Reservation.objects.filter(pk=request.id).update(expires_at=request.accepted_at - past)
        *_stock, holders = keys.stock_keys(stock.session_id, stock.pk)
        claims.client().zadd(holders, {f"{request.id}:5": 1})
        assert [enter(3), enter(3), enter(2)] == [True, False, True]
        allocate(road)
        stock.refresh_from_db()
        assert stock.available == 0
        assert not enter()

    def test_reads_again_the_level_that_redis_forgot(self, enter: Enter, road: Road, stock: TicketType) -> None:
        assert [enter() for _one in range(4)] == [True] * 4
        allocate(road, 3)
        claims.client().delete(keys.stock_keys(stock.session_id, stock.pk)[0])
        sale_facts.forget()
        assert [enter(), enter()] == [True, False]

    def test_corrects_a_level_that_redis_never_heard(self, enter: Enter, road: Road, stock: TicketType) -> None:
        """A process died between its commit and its message to Redis: admission's own read counts after a while."""
        assert enter(5)
        (request,) = allocate(road)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(standings, "upkeep", lambda *_said, **_more: None)
            holding.release(reservation_id=request.id, buyer=request.buyer)
        sale_facts.forget()
        assert not enter()
        claims.client().hincrby(keys.stock_keys(stock.session_id, stock.pk)[0], "since", -6_000)
        assert [enter(5), enter()] == [True, False]


class TestUpkeep:
    def test_ignores_an_older_number(self, enter: Enter, road: Road, stock: TicketType) -> None:
        assert enter(5)
        allocate(road)
        standings.upkeep([], [Told(stock.session_id, StockLevel(stock.pk, version=0, available=5))])
        assert not enter()

    def test_counts_each_change_in_the_version(
        self, session: Session, hold: Hold, stock: TicketType, ana: uuid.UUID
    ) -> None:
        held = hold(session, buyer=ana, ticket_type=stock.pk, quantity=2)
        holding.release(reservation_id=held.pk, buyer=ana)
        stock.refresh_from_db()
        assert (stock.available, stock.stock_version) == (5, 2)
