"""One ticket is scanned at several gates at once: one person comes in, and the first scan counts."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from functools import partial

import pytest
from django.db import IntegrityError

from realtime.models import Event
from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.race.racing import ROUNDS, race
from tests.ticketing.test_paying import pay
from ticketing.models import CheckIn, Sale, Ticket, User
from ticketing.refusals import AlreadyUsed
from ticketing.tickets import doors

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]

GATES = 8


@pytest.fixture
def gabi() -> User:
    made: User = UserFactory.create(username="gabi", is_staff=True)
    return made


def sold(session: Session, hold: Hold, seat: str = "A1") -> Ticket:
    """Sell a ticket, a copy of which another person shows."""
    payment = pay(hold(session, seat, buyer=uuid.uuid4()))
    return Sale.objects.get(payment=payment).tickets.get()


def scan(ticket: Ticket, by: User, gate: int, seconds_ago: int = 0) -> str:
    doors.check_in(code=ticket.signed_code, by=by, gate=f"Door {gate}", seconds_ago=seconds_ago)
    return f"Door {gate}"


def kinds(outcomes: list[str | Exception]) -> Counter[str]:
    return Counter(type(outcome).__name__ for outcome in outcomes)


def test_first_of_scans_at_the_same_instant_lets_a_person_in(session: Session, hold: Hold, gabi: User) -> None:
    for number in range(min(ROUNDS, 16)):
        ticket = sold(session, hold, f"{'ABCD'[number // 4]}{1 + number % 4}")
        outcomes = race([partial(scan, ticket, gabi, gate) for gate in range(GATES)])
        assert kinds(outcomes) == {"str": 1, "AlreadyUsed": GATES - 1}
        ticket.refresh_from_db()
        first = ticket.check_ins.earliest("scanned_at")
        assert (first.outcome, first.gate, ticket.used_gate) == ("admitted", ticket.used_gate, first.gate)
        assert first.gate in outcomes
        assert {error.gate for error in outcomes if isinstance(error, AlreadyUsed)} == {first.gate}


def test_earliest_scan_counts_when_scans_arrive_late_in_any_order(session: Session, hold: Hold, gabi: User) -> None:
    ticket = sold(session, hold)
    race([partial(scan, ticket, gabi, gate, seconds_ago=60 * gate) for gate in range(GATES)])
    ticket.refresh_from_db()
    assert (ticket.status, ticket.used_gate) == ("used", f"Door {GATES - 1}")
    assert CheckIn.objects.get(outcome="admitted").gate == f"Door {GATES - 1}"
    assert CheckIn.objects.filter(outcome="already_used").count() == GATES - 1
    assert Event.objects.filter(name="ticket.let_in_twice").exists()


def test_two_people_would_come_in_without_the_lock(
    session: Session, hold: Hold, gabi: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: both have looked before either writes, and only the constraint keeps one out."""
    ticket = sold(session, hold)
    looked = threading.Barrier(2)

    def look(_short: str) -> Ticket:
        found = Ticket.objects.select_related("sale", "seat", "ticket_type", "session__show").get(pk=ticket.pk)
        looked.wait(10)
        return found

    monkeypatch.setattr(doors, "_lock", look)
    outcomes = race([partial(scan, ticket, gabi, gate) for gate in (1, 2)])
    assert kinds(outcomes) == {"str": 1, "IntegrityError": 1}
    refused = next(outcome for outcome in outcomes if isinstance(outcome, IntegrityError))
    assert "check_in_one_admission_a_ticket" in str(refused)
