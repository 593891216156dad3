"""Staff moves a buyer to a seat while another buyer asks for it: one of the two gets it, and the books are right."""

from __future__ import annotations

import threading
import uuid
from functools import partial

import pytest
from django.db import transaction

from reservations.allocation.changes import CannotMove
from reservations.models import Reservation, Status
from sessions_app.models import Seat, SeatStatus, Session
from tests.conftest import Hold
from tests.race.racing import ROUNDS, race
from tests.race.test_allocating import allocate
from tests.reservations.test_holding import request_for
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.models import Ticket
from ticketing.payments import selling

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]


def move(reservation: Reservation, seat: str, to: str) -> str:
    selling.move_seats(reservation_id=reservation.pk, seats=[seat], to=[to])
    return "moved"


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_seat_goes_to_the_moved_buyer_or_to_the_one_who_asks_for_it(
    session: Session, hold: Hold, ana: uuid.UUID, _round: int
) -> None:
    bought = hold(session, "A1", buyer=ana)
    pay(bought)
    requests = [request_for(session, "B1", buyer=uuid.uuid4(), arrival=n) for n in range(2, 8)]
    moved, *asked = race([partial(move, bought, "A1", "B1"), *(partial(allocate, request) for request in requests)])
    owner = Seat.objects.get(session=session, label="B1").reservation_id
    if moved == "moved":
        assert (owner, asked.count(Status.REJECTED)) == (bought.pk, 6)
    else:
        assert isinstance(moved, CannotMove)
        assert (moved.conflicts, asked.count(Status.HELD)) == ({"B1": "held"}, 1)
    assert Ticket.objects.get().seat == Seat.objects.get(session=session, reservation_id=bought.pk)
    found: list[dict[str, object]] = audit()["findings"]  # type: ignore[assignment]
    assert [finding for finding in found if finding["check"] != "overtaken"] == []  # the winner of a race


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_one_of_two_buyers_moved_to_a_seat_has_it(
    session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, _round: int
) -> None:
    first, second = hold(session, "A1", buyer=ana), hold(session, "A2", buyer=bruno)
    outcomes = race([partial(move, first, "A1", "B1"), partial(move, second, "A2", "B1")])
    assert outcomes.count("moved") == 1
    assert Seat.objects.filter(session=session, status=SeatStatus.HELD).count() == 2


def test_both_buyers_would_have_the_seat_without_the_lock(session: Session) -> None:
    """Control: the same look-then-write, both parked after they looked."""
    both_looked = threading.Barrier(2)

    def move_without_lock(reservation: uuid.UUID) -> bool:
        with transaction.atomic():
            free = Seat.objects.get(session=session, label="B1").status == SeatStatus.FREE
            both_looked.wait(timeout=10)
            Seat.objects.filter(session=session, label="B1").update(
                status=SeatStatus.SOLD, reservation_id=reservation, held_until=None
            )
        return free

    assert race([partial(move_without_lock, uuid.uuid4()) for _mover in range(2)]) == [True, True]
