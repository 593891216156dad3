"""A guest becomes a user while a worker allocates what the guest asked for: real threads on real PostgreSQL."""

from __future__ import annotations

import threading
import time
import uuid
from functools import partial

import pytest
from django.db import transaction

from reservations import people
from reservations.allocation import locks, statements
from reservations.models import Reservation
from reservations.operations import queued
from sessions_app.models import Session
from tests.factories import UserFactory
from tests.race.racing import ROUNDS, race
from tests.reservations.test_holding import request_for
from tests.ticketing.test_paying import pay
from ticketing.models import Ticket, User
from ticketing.people import accounts
from ticketing.tickets import transfers

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]


class TestJoining:
    @pytest.mark.parametrize("_round", range(ROUNDS))
    def test_leaves_nothing_with_the_guest(self, session: Session, _round: int) -> None:
        guests = [uuid.uuid4() for _guest in range(4)]
        user: User = UserFactory.create()
        requests = [request_for(session, f"{row}1", buyer=guest) for row, guest in zip("ABCD", guests, strict=True)]
        outcomes = race(
            [
                *(partial(queued.allocate, [request]) for request in requests),
                *(partial(accounts.adopt_guest, guest=guest, user=user) for guest in guests),
                partial(queued.allocate, requests),
            ]
        )
        assert outcomes == [None] * 9
        assert list(Reservation.objects.values_list("buyer", flat=True)) == [user.pk] * 4

    def test_waits_between_reading_and_writing(self, session: Session) -> None:
        assert self.joined_between_reading_and_writing(session) == {"account"}

    def test_would_lose_the_reservation_without_the_lock(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Control: the same parking, without a lock of the person."""
        monkeypatch.setattr(statements, "lock_numbers", lambda _people: [])
        monkeypatch.setattr(people, "lock_alone", lambda _person: None)
        assert self.joined_between_reading_and_writing(session) == {"guest"}

    @staticmethod
    def joined_between_reading_and_writing(session: Session) -> set[str]:
        """Return the buyer that the reservation has in the end."""
        guest, has_read, has_joined = uuid.uuid4(), threading.Event(), threading.Event()
        user: User = UserFactory.create()
        request = request_for(session, "A1", buyer=guest)

        def allocate() -> None:
            with pytest.MonkeyPatch.context() as parking:
                written = statements.write

                def write_late(*said: object) -> None:
                    has_read.set()
                    has_joined.wait(timeout=0.5)  # with the lock no guest joins before this commits
                    written(*said)  # type: ignore[arg-type]

                parking.setattr(statements, "write", write_late)
                queued.allocate([request])

        def join() -> None:
            assert has_read.wait(timeout=10)
            accounts.adopt_guest(guest=guest, user=user)
            has_joined.set()

        assert race([allocate, join]) == [None, None]
        return {{guest: "guest", user.pk: "account"}[row.buyer] for row in Reservation.objects.all()}

    def test_waits_for_a_payment_without_a_deadlock(self, session: Session) -> None:
        """Joining locks the sessions first, as every other change does."""
        guest = uuid.uuid4()
        user: User = UserFactory.create()
        queued.allocate([request_for(session, "A1", buyer=guest)])
        locked, ended = threading.Event(), []

        def keep() -> None:
            with transaction.atomic():
                locks.lock_sessions([session.pk])
                locked.set()
                time.sleep(0.2)  # the other transaction has to run into the lock meanwhile
                Reservation.objects.select_for_update(no_key=True).get()
                ended.append("payment")

        def join() -> None:
            assert locked.wait(timeout=10)
            accounts.adopt_guest(guest=guest, user=user)
            ended.append("joining")

        assert race([keep, join]) == [None, None]
        assert ended == ["payment", "joining"]
        assert Reservation.objects.get().buyer == user.pk

    @pytest.mark.parametrize("_round", range(max(ROUNDS // 4, 1)))
    def test_moves_a_ticket_that_is_passed_on_meanwhile(self, session: Session, _round: int) -> None:
        giver, guest = uuid.uuid4(), uuid.uuid4()
        user: User = UserFactory.create()
        queued.allocate([request_for(session, "A1", buyer=giver)])
        pay(Reservation.objects.get())
        ticket = Ticket.objects.get()

        def pass_on() -> None:
            transfers.pass_on(ticket_id=ticket.pk, giver=giver, receiver=guest)

        def join() -> None:
            accounts.adopt_guest(guest=guest, user=user)

        assert race([pass_on, join]) == [None, None]
        assert Ticket.objects.get().holder == user.pk
