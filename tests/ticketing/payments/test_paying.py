"""Pay as the API, the pages and the counter do it: from the start to the outcome."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from reservations.hold_request import Means
from reservations.models import Reservation
from reservations.refusals import PaymentDeclined
from sessions_app.models import Session
from tests.conftest import Hold
from ticketing.models import Payment, Sale
from ticketing.payments import bells, paying
from ticketing.payments.gateways import GatewayTimeout, cash

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def held(session: Session, hold: Hold, ana: uuid.UUID) -> Reservation:
    return hold(session, "A1", buyer=ana)


CARD = Means(method="fake", token="ok")
CASH = Means(method="cash")


def pay(held: Reservation, means: Means = CARD, **more: Any) -> paying.Progress:
    asked: dict[str, Any] = {"on_start": lambda _payment: None, "wait": 1.0, **more}
    return paying.pay(reservation_id=held.pk, buyer=held.buyer, means=means, **asked)


def test_payment_that_is_waited_for_brings_its_sale(held: Reservation) -> None:
    made = pay(held)
    assert made.sale is not None
    assert made.sale["id"] == str(Sale.objects.get(payment=made.payment).pk)


def test_payment_that_is_not_waited_for_is_under_way(held: Reservation) -> None:
    made = pay(held, wait=0.0)
    assert made.sale is None
    assert Payment.objects.get().pk == made.payment.pk


def test_caller_hears_of_the_payment_before_its_worker(held: Reservation, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(paying, "ring_payment", lambda *_a, **_more: heard.append("worker"))
    pay(held, on_start=lambda payment: heard.append(payment.status))
    assert heard == ["started", "worker"]


def test_declined_payment_is_refused_with_its_reason(held: Reservation) -> None:
    with pytest.raises(PaymentDeclined) as refused:
        pay(held, Means(method="fake", token="declined"))
    assert refused.value.facts()["reason"] == "card_declined"


def test_payment_at_the_counter_needs_no_worker(held: Reservation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "courier", lambda: pytest.fail("a worker was rung"))
    made = pay(held, CASH, at_the_counter=True)
    assert made.sale is not None
    assert made.sale["payment"]["status"] == "captured"


def test_payment_at_the_counter_that_stays_open_is_under_way(
    held: Reservation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_silent(_attempt: object) -> None:
        raise GatewayTimeout

    for question in ("authorise", "find", "void"):
        monkeypatch.setattr(cash, question, be_silent)
    assert pay(held, CASH, at_the_counter=True).sale is None
