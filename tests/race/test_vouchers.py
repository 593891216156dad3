"""Forty buyers use a voucher with five uses at once, in sessions of their own: the voucher's lock alone decides."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from reservations.allocation import changes, locks
from reservations.allocation.terms import Uses
from reservations.hold_request import ORDER_SCOPE, HoldRequest
from reservations.models import Reservation, Status, Voucher
from reservations.operations import holding, queued
from reservations.refusals import VoucherUsedUp
from tests.conftest import Hold
from tests.factories import SessionFactory, VoucherFactory
from tests.race.racing import race
from tests.reservations.test_holding import request_for

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]

BUYERS = 40
USES = 5


@pytest.fixture
def voucher(transactional_db: None) -> Voucher:
    made: Voucher = VoucherFactory.create(code="FIVE", uses=USES)
    return made


@pytest.fixture
def held(hold: Hold, voucher: Voucher) -> list[Reservation]:
    """Return one hold a buyer, five in each of eight sessions."""
    sessions = [SessionFactory.create(seats=(1, 5)) for _session in range(8)]
    return [hold(session, f"A{seat}", buyer=uuid.uuid4()) for session in sessions for seat in range(1, BUYERS // 8 + 1)]


def put_on(reservation: Reservation) -> str:
    try:
        holding.price(reservation_id=reservation.pk, buyer=reservation.buyer, voucher="FIVE")
    except VoucherUsedUp:
        return "used up"
    return "put on"


def allocated(request: HoldRequest) -> str:
    queued.allocate([request])
    reservation = Reservation.objects.get(pk=request.id)
    return reservation.reason or reservation.status


def uses() -> int:
    return Reservation.objects.filter(voucher__code="FIVE", status=Status.HELD).count()


class TestFiveUses:
    @pytest.mark.parametrize("_round", range(2))
    def test_are_five_among_forty_holds(self, held: list[Reservation], _round: int) -> None:
        outcomes = race([partial(put_on, reservation) for reservation in held])
        assert (outcomes.count("put on"), outcomes.count("used up")) == (USES, BUYERS - USES)
        assert uses() == USES

    @pytest.mark.parametrize("_round", range(2))
    def test_are_five_among_forty_orders(self, voucher: Voucher, _round: int) -> None:
        sessions = [SessionFactory.create(seats=(1, 5)) for _session in range(8)]
        requests = [
            request_for(session, f"A{n}", buyer=uuid.uuid4(), arrival=n, scope=ORDER_SCOPE, voucher="FIVE")
            for session in sessions
            for n in range(1, BUYERS // 8 + 1)
        ]
        outcomes = race([partial(allocated, request) for request in requests])
        assert (outcomes.count(Status.HELD), outcomes.count("voucher_used_up")) == (USES, BUYERS - USES)
        assert uses() == USES

    def test_are_five_when_buyers_give_them_back_and_take_them_again(self, held: list[Reservation]) -> None:
        def now_and_again(reservation: Reservation) -> str:
            outcome = put_on(reservation)
            if outcome == "put on":
                holding.price(reservation_id=reservation.pk, buyer=reservation.buyer, voucher="")
                outcome = put_on(reservation)
            assert uses() <= USES
            return outcome

        outcomes = race([partial(now_and_again, reservation) for reservation in held[:20]])
        assert outcomes.count("put on") == uses() <= USES
        assert outcomes.count("put on") + outcomes.count("used up") == 20


class TestWithoutTheLock:
    def test_two_buyers_would_have_the_last_use(self, held: list[Reservation], monkeypatch: pytest.MonkeyPatch) -> None:
        """Control: the same steps without the lock, both parked after they counted."""
        Voucher.objects.update(uses=1)
        both_counted = threading.Barrier(2)
        count = Uses.of

        def only_read(codes: Collection[str]) -> dict[str, Voucher]:
            return {voucher.code: voucher for voucher in Voucher.objects.filter(code__in=codes)}

        def counted(vouchers: Any, **but: Any) -> Uses:
            uses = count(vouchers, **but)
            both_counted.wait(timeout=10)
            return uses

        monkeypatch.setattr(locks, "lock_vouchers", only_read)
        monkeypatch.setattr(Uses, "of", counted)
        first, other = held[0], held[-1]
        assert first.session_id != other.session_id
        assert race([partial(put_on, first), partial(put_on, other)]) == ["put on", "put on"]
        assert uses() == 2

    def test_second_buyer_never_gets_to_count_with_the_lock(self, held: list[Reservation]) -> None:
        """Park the same way with the lock: the second request waits for the first's end, and counts it."""
        Voucher.objects.update(uses=1)
        first, other = held[0], held[-1]
        waits = threading.Thread(target=lambda: outcomes.append(*race([partial(put_on, other)])))
        outcomes: list[Any] = []
        with transaction.atomic():
            locked = locks.lock_reservation(reservation_id=first.pk, buyer=first.buyer)
            changes.reprice(locked, concessions=None, voucher="FIVE")
            waits.start()
            waits.join(timeout=0.3)
            assert outcomes == []
        waits.join(timeout=10)
        assert outcomes == ["used up"]
