"""Check how many payments of orders a session starts per second."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from prometheus_client import REGISTRY

from base.clock import db_now
from reservations.models import Reservation, Status
from sessions_app.models import Session, TicketType
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.reservations.allocation.test_standby import order
from ticketing.models import Payment
from ticketing.orders import orders
from ticketing.payments import starting

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stock(session: Session) -> TicketType:
    Session.objects.filter(pk=session.pk).update(payment_rate=2)
    made: TicketType = StockFactory.create(session=session, capacity=50)
    return made


@pytest.fixture(autouse=True)
def _rung_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reservations.orders.pay_in_process", lambda _some: None)


def begin_in_advance(session: Session, *, seconds: float) -> dt.datetime:
    """Use up this many seconds' worth in advance, and return until when."""
    until = db_now() + dt.timedelta(seconds=seconds)
    Session.objects.filter(pk=session.pk).update(payments_full_at=until)
    return until


def ring(*some: Reservation) -> int:
    return orders.pay([(row.pk, "") for row in some])


def statuses(*some: Reservation) -> list[str]:
    found = dict(Reservation.objects.filter(pk__in=[row.pk for row in some]).values_list("pk", "status"))
    return [found[row.pk] for row in some]


def put_off() -> float:
    return REGISTRY.get_sample_value("frontrow_put_off_total", {"rate": "payment"}) or 0.0


def test_rate_starts_a_second_s_worth_and_the_others_wait_with_their_means(stock: TicketType) -> None:
    some = [order(stock) for _buyer in range(5)]
    before = put_off()
    assert ring(*some) == 2
    assert statuses(*some) == ["confirmed"] * 2 + ["held"] * 3
    assert put_off() == before + 3
    assert Payment.objects.count() == 2


def test_sweep_takes_as_many_as_are_due_in_order(stock: TicketType) -> None:
    some = [order(stock) for _buyer in range(5)]
    assert ring(*some) == 2
    begin_in_advance(stock.session, seconds=60)
    assert orders.sweep() == 0
    for due in (2, 1):
        begin_in_advance(stock.session, seconds=0)
        assert orders.sweep() == due
    assert statuses(*some) == ["confirmed"] * 5


def test_removed_rate_leaves_the_rest_to_the_sweep_almost_at_once(stock: TicketType) -> None:
    some = [order(stock) for _buyer in range(5)]
    ring(*some)
    Session.objects.filter(pk=stock.session_id).update(payment_rate=None)
    assert ring(*some) == 3
    assert statuses(*some) == ["confirmed"] * 5


def test_rate_counts_payments_by_hand_and_refuses_none_of_them(
    stock: TicketType, session: Session, hold: Hold, ana: uuid.UUID
) -> None:
    waits = order(stock)
    until = begin_in_advance(session, seconds=60)
    held = hold(session, "A1", buyer=ana)
    assert starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token="ok")
    session.refresh_from_db()
    assert session.payments_full_at == until + dt.timedelta(seconds=0.5)
    assert ring(waits) == 0
    assert Reservation.objects.get(pk=waits.pk).status == Status.HELD
    begin_in_advance(session, seconds=0)
    assert ring(waits) == 1


def test_rate_of_one_session_delays_no_other(stock: TicketType) -> None:
    other = StockFactory.create(name="Meia", capacity=50)
    some = [*(order(stock) for _buyer in range(3)), *(order(other) for _buyer in range(3))]
    assert ring(*some) == 5
