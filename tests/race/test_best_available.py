"""Parties that ask for the best seats at the same instant, each in a transaction of its own."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from django.db import transaction

from reservations.allocation import best_available
from reservations.models import Reservation, Status
from sessions_app.models import Seat, Session
from tests.race.racing import ROUNDS, race
from tests.reservations.allocation.test_best_available import allocate, best, seats_of

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_nine_pairs_for_sixteen_seats_leave_one_pair_without_seats(session: Session, _round: int) -> None:
    race([partial(allocate, best(session, 2, arrival=n)) for n in range(9)])
    held = Reservation.objects.filter(status=Status.HELD)
    assert (len(held), len(set(seats_of(held)))) == (8, 16)
    assert [refused.reason for refused in Reservation.objects.exclude(status=Status.HELD)] == ["sold_out"]


def test_two_parties_would_have_the_same_seats_without_the_lock(session: Session) -> None:
    """Control: the same look and choice, both parked before they write."""
    both_chose = threading.Barrier(2)

    def choose_without_lock() -> list[str]:
        with transaction.atomic():
            chosen = best_available.choose(Seat.objects.of(session.pk).order_by("position"), quantity=2)
            both_chose.wait(timeout=10)
            Seat.objects.filter(pk__in=[seat.pk for seat in chosen]).update(status="b")
        return [seat.label for seat in chosen]

    first, second = race([choose_without_lock] * 2)
    assert first == second
