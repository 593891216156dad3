"""Around the end of a hold: its payment, its sweep, its release and late money race. One wins, and no money is lost."""

from __future__ import annotations

import datetime as dt
import random
import threading
import uuid
from functools import partial

import pytest
from django.db import IntegrityError
from django.db.models import F, Sum
from django.db.models.functions import Now
from django.utils import timezone

from realtime.clock import db_now
from realtime.models import Event
from reservations import allocation
from reservations.announcements import Announcements
from reservations.models import Reservation, Status
from reservations.operations import (
    AlreadyPaid,
    NotHeld,
    PaymentInProgress,
    ReservationExpired,
    expire_holds,
    release,
)
from sessions_app.models import Seat, Session
from tests.conftest import Hold
from tests.race.racing import ROUNDS, race
from tests.ticketing.test_audit import audit
from tests.ticketing.test_paying import pay
from ticketing import operations, webhooks
from ticketing.gateways import fake
from ticketing.models import LedgerEntry, Payment, Sale, SandboxCharge, SandboxEvent

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]

AT_ONCE = 5  # interleavings a round: with 200 rounds, 1,000
WINS_OR_LOSES = (str, AlreadyPaid, NotHeld, PaymentInProgress, ReservationExpired)


@pytest.fixture(autouse=True)
def _the_gateway_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "DEADLINE_SECONDS", 0)


def start_alone(reservation: Reservation) -> Payment:
    """As another process would: its own transaction, whoever else asks meanwhile. Raises what it raises."""
    ask = operations._Start(  # noqa: SLF001 past the batches, which would line the threads up
        reservation=reservation.pk, buyer=reservation.buyer, method="fake", token="ok", email="", language="en"
    )
    (outcome,) = operations._start_all([ask])  # noqa: SLF001
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def pay_alone(reservation: Reservation) -> str:
    operations.settle_payment(payment_id=start_alone(reservation).pk)
    return "paid"


def release_it(reservation: Reservation) -> str:
    release(reservation_id=reservation.pk, buyer=reservation.buyer)
    return "released"


def sweep(reservation: Reservation) -> str:
    while Reservation.objects.filter(pk=reservation.pk, status=Status.HELD).exists():
        expire_holds()
    return "swept"


def late_money(payment: Payment) -> str:
    event = SandboxEvent.objects.get(attempt=payment.pk)
    SandboxCharge.objects.filter(pk=payment.pk).update(status="captured")
    body, headers = fake.signed(event)
    webhooks.receive("fake", body=body, headers=headers)
    operations.settle_payment(payment_id=payment.pk)
    return "told"


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_has_one_winner_and_conserves_money(session: Session, hold: Hold, _round: int) -> None:
    holds = [hold(session, f"{'ABCD'[n % 4]}{1 + n // 4}", buyer=uuid.uuid4()) for n in range(AT_ONCE)]
    late = [pay(held, "webhook_late") for held in holds[::2]]
    now, chance = db_now(), random.Random(_round)  # noqa: S311 the same dice in every run, no secrets
    for number, held in enumerate(holds):
        ends = now + dt.timedelta(milliseconds=chance.randrange(10, 90) + number)
        Reservation.objects.filter(pk=held.pk).update(expires_at=ends)
        Seat.objects.filter(reservation_id=held.pk).update(held_until=ends)
    runners = [partial(step, held) for held in holds for step in (pay_alone, sweep, release_it)]
    outcomes = race([*runners, *(partial(late_money, payment) for payment in late)])
    for outcome in outcomes:
        assert isinstance(outcome, WINS_OR_LOSES), outcome

    Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=2))
    operations.sweep_payments()
    Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=2))
    for held in holds:
        kept = Sale.objects.filter(buyer=held.buyer)
        seat = Seat.objects.get(session=session, label=held.seats[0])
        assert (kept.count(), seat.status) in {(1, "s"), (0, "f")}
    captured = SandboxCharge.objects.filter(status="captured").aggregate(
        kept=Sum(F("amount") - F("refunded"), default=0)
    )
    sold = Sale.objects.aggregate(total=Sum("total", default=0))["total"]
    posted = LedgerEntry.objects.filter(account="gateway").aggregate(kept=Sum("amount", default=0))["kept"]
    assert captured["kept"] == sold == posted
    assert not SandboxCharge.objects.filter(status="authorised").exists()
    Event.objects.update(published_at=Now())
    assert audit()["findings"] == []


def test_of_fifty_payments_at_once_is_one_capture(session: Session, hold: Hold, ana: uuid.UUID) -> None:
    held = hold(session, "A1", buyer=ana)
    outcomes = race([partial(pay_alone, held)] * 50)
    assert outcomes.count("paid") == 1
    assert all(isinstance(outcome, WINS_OR_LOSES) for outcome in outcomes)
    assert (Sale.objects.count(), SandboxCharge.objects.count()) == (1, 1)


def test_without_the_lock_two_payments_would_begin(
    session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: both have looked before either writes, and only the constraint keeps one out."""
    held = hold(session, "A1", buyer=ana)
    looked = threading.Barrier(2)

    def look(ids: list[uuid.UUID]) -> dict[uuid.UUID, allocation.Locked]:
        (reservation,) = Reservation.objects.select_related("session").filter(pk__in=ids)
        now = db_now()
        looked.wait(10)
        return {reservation.pk: allocation.Locked(reservation, reservation.session, now, Announcements(now=now))}

    monkeypatch.setattr(allocation, "lock_reservations", look)
    outcomes = race([partial(start_alone, held)] * 2)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["IntegrityError", "Payment"]
    assert any(
        "payment_one_open_attempt_a_reservation" in str(outcome)
        for outcome in outcomes
        if isinstance(outcome, IntegrityError)
    )
