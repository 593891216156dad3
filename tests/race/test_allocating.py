"""Real threads allocate real batches on real PostgreSQL, with Redis out of the way: the locks alone decide."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from base.clock import db_now
from reservations.allocation import locks
from reservations.hold_request import HoldRequest
from reservations.models import Reservation, Status
from reservations.operations import queued, sweeps
from reservations.refusals import ReservationExpired
from sessions_app.models import Seat, SeatStatus, Session
from tests.conftest import Hold
from tests.factories import SessionFactory, StockFactory
from tests.race.racing import ROUNDS, race
from tests.reservations.test_holding import request_for, run_out
from ticketing.models import Sale, SandboxCharge
from ticketing.payments import starting, steps

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]


def allocate(request: HoldRequest) -> str:
    queued.allocate([request])
    return Reservation.objects.get(pk=request.id).status


class TestOneSeat:
    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_has_one_holder_among_forty_buyers(self, session: Session, _round: int) -> None:
        requests = [request_for(session, "A1", buyer=uuid.uuid4(), arrival=n) for n in range(40)]
        outcomes = race([partial(allocate, request) for request in requests])
        assert (outcomes.count(Status.HELD), outcomes.count(Status.REJECTED)) == (1, 39)
        loser = Reservation.objects.filter(status=Status.REJECTED).first()
        assert loser is not None
        assert loser.conflicts == [{"seat": "A1", "reason": "held"}]

    def test_would_have_two_holders_without_the_lock(self, session: Session) -> None:
        """Control: the same look-then-write, both parked after they looked."""
        both_looked = threading.Barrier(2)

        def take_without_lock(buyer: uuid.UUID) -> bool:
            with transaction.atomic():
                free = Seat.objects.of(session.pk).claimable().filter(label="A1").exists()
                both_looked.wait(timeout=10)
                Seat.objects.of(session.pk).filter(label="A1").update(
                    status=SeatStatus.HELD, reservation_id=buyer, held_until=timezone.now()
                )
            return free

        assert race([partial(take_without_lock, uuid.uuid4()) for _buyer in range(2)]) == [True, True]

    def test_makes_the_second_buyer_wait_for_the_lock(self, session: Session, ana: uuid.UUID) -> None:
        """Park the same way with the lock: the second never gets to look."""
        held = threading.Event()
        done = threading.Event()

        def keep_the_lock() -> None:
            with transaction.atomic():
                locks.lock_sessions([session.pk])
                held.set()
                assert not done.wait(timeout=0.3)

        def allocate_then_say() -> str:
            assert held.wait(timeout=10)
            status = allocate(request_for(session, "A1", buyer=ana))
            done.set()
            return status

        assert race([keep_the_lock, allocate_then_say]) == [None, Status.HELD]


class TestCrosswiseHolds:
    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_neither_deadlock_nor_fail(self, session: Session, _round: int) -> None:
        ways = [("A1", "A3"), ("A3", "A1")]
        requests = [request_for(session, *ways[n % 2], buyer=uuid.uuid4(), arrival=n) for n in range(50)]
        outcomes = race([partial(allocate, request) for request in requests])
        assert (outcomes.count(Status.HELD), outcomes.count(Status.REJECTED)) == (1, 49)

    @pytest.mark.parametrize("_round", range(max(ROUNDS // 4, 1)))
    def test_over_two_sessions_neither_deadlock_nor_fail(self, session: Session, _round: int) -> None:
        other = SessionFactory.create()
        batches = []
        for n in range(10):
            pair = [
                request_for(session, "A1", buyer=uuid.uuid4(), arrival=n),
                request_for(other, "A1", buyer=uuid.uuid4(), arrival=n),
            ]
            batches.append(pair if n % 2 else pair[::-1])
        outcomes = race([partial(queued.allocate, batch) for batch in batches])
        assert outcomes == [None] * 10
        assert Reservation.objects.filter(status=Status.HELD).count() == 2


class TestStock:
    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_never_goes_below_zero(self, session: Session, _round: int) -> None:
        stock = StockFactory.create(session=session, capacity=5)
        requests = [
            request_for(session, buyer=uuid.uuid4(), ticket_type=stock.pk, quantity=1 + n % 2, arrival=n)
            for n in range(20)
        ]
        race([partial(allocate, request) for request in requests])
        stock.refresh_from_db()
        held = sum(Reservation.objects.filter(status=Status.HELD).values_list("quantity", flat=True))
        assert stock.available >= 0
        assert stock.available + held == 5


class TestKey:
    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_names_one_reservation_after_redis_forgot_it(self, session: Session, ana: uuid.UUID, _round: int) -> None:
        requests = [request_for(session, "A1", buyer=ana, key="k", arrival=n) for n in range(10)]
        outcomes = race([partial(allocate, request) for request in requests])
        assert (outcomes.count(Status.HELD), outcomes.count(Status.REJECTED)) == (1, 9)


class TestEndOfHold:
    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_goes_to_the_payment_or_to_the_sweep(
        self, session: Session, hold: Hold, ana: uuid.UUID, _round: int
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        Reservation.objects.filter(pk=held.pk).update(expires_at=db_now() + dt.timedelta(milliseconds=15))

        def pay() -> str:
            payment = starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token="ok")
            steps.finish_payment(payment_id=payment.pk)
            return "paid"

        def sweep() -> str:
            while Reservation.objects.filter(pk=held.pk, status=Status.HELD).exists():
                sweeps.expire_holds()
            return "swept"

        paid, _swept = race([pay, sweep])
        held.refresh_from_db()
        if paid == "paid":
            assert (held.status, Sale.objects.count()) == (Status.CONFIRMED, 1)
        else:
            assert isinstance(paid, ReservationExpired)
            assert (held.status, Sale.objects.count(), SandboxCharge.objects.count()) == (Status.EXPIRED, 0, 0)

    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_is_swept_once_by_sweeps_at_once(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, _round: int
    ) -> None:
        for held in (hold(session, "A1", buyer=ana), hold(session, "A2", buyer=bruno)):
            run_out(held)
        outcomes = race([sweeps.expire_holds] * 4)
        assert sum(outcome for outcome in outcomes if isinstance(outcome, int)) == 2

    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_is_paid_once_by_payments_at_once(self, session: Session, hold: Hold, ana: uuid.UUID, _round: int) -> None:
        held = hold(session, "A1", buyer=ana)

        def pay() -> str:
            payment = starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token="ok")
            steps.finish_payment(payment_id=payment.pk)
            return "paid"

        assert race([pay] * 12).count("paid") == 1
        assert (Sale.objects.count(), SandboxCharge.objects.count()) == (1, 1)
