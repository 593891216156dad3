"""Limit how much is held at once and not paid for. See Note [What counts as held] in `reservations/hold_caps.py`."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any
from uuid import UUID

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from base.breaker import BreakerOpen
from base.ids import uuid7
from reservations import hold_caps
from reservations.admission import front_door
from reservations.claims import claims, keys, standings
from reservations.hold_request import Ask
from reservations.models import Reservation, Status, Voucher
from reservations.operations import holding, sweeps
from reservations.queueing import liveness
from reservations.refusals import TooManyHolds
from sessions_app.models import Seat, Session, TicketType
from tests.api import assert_problem, client_of, get, post
from tests.conftest import forget_redis
from tests.factories import SessionFactory, StockFactory, UserFactory
from ticketing.models import Sale, Ticket, User
from ticketing.payments import refunds, starting, steps
from ticketing.people import accounts
from ticketing.tickets import doors

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]

HOME, ELSEWHERE = "203.0.113.9", "198.51.100.7"


@pytest.fixture(autouse=True)
def limits(settings: LazySettings) -> LazySettings:
    settings.RATE_LIMITS = True
    settings.HOLDS_ADDRESS, settings.HOLDS_ADDRESS_PERCENT = 4, 5
    settings.HOLDS_BUYER, settings.HOLDS_LAPSES, settings.HOLDS_LONGEST_WAIT = 6, 2, 60
    return settings


@pytest.fixture
def hall(transactional_db: None) -> Session:
    """Put on twenty rows of ten, so that 5 % of the hall is ten seats."""
    made: Session = SessionFactory.create(seats=(20, 10), max_per_buyer=5)
    return made


def ask(session: Session, *seats: str, guest: UUID | None = None, address: str = HOME, **more: Any) -> Reservation:
    """Ask as a guest, a new one unless one is named; return the reservation as it is allocated."""
    asked = Ask(session=session.pk, seats=seats, **more)
    admission = front_door.admit(asked, buyer=guest or uuid.uuid4(), is_guest=True, address=address)
    return Reservation.objects.get(pk=admission.id)


def ended(held: Reservation, *, after: float = 30) -> None:
    """Let a hold run out that lasted this long; PostgreSQL's clock decides, so the rows are turned back."""
    now = timezone.now()
    begun = now - dt.timedelta(seconds=after)
    Reservation.objects.filter(pk=held.pk).update(held_at=begun, expires_at=now - dt.timedelta(milliseconds=1))
    Seat.objects.filter(reservation_id=held.pk).update(held_until=now - dt.timedelta(milliseconds=1))
    sweeps.expire_holds()


def buy(held: Reservation) -> None:
    payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
    steps.finish_payment(payment_id=payment.pk)
    held.refresh_from_db()
    assert held.status == Status.CONFIRMED


def row_of(letter: str, count: int, *, start: int = 1) -> list[str]:
    return [f"{letter}{number}" for number in range(start, start + count)]


class TestAddress:
    def test_holds_no_more_than_its_share_with_however_many_guests(self, hall: Session) -> None:
        for letter in "AB":
            ask(hall, *row_of(letter, 5))
        with pytest.raises(TooManyHolds) as refusal:
            ask(hall, "C1")
        assert 28 < refusal.value.retry_after <= 30
        assert ask(hall, "C1", address=ELSEWHERE).status == Status.HELD
        assert Seat.objects.filter(session=hall, status="h").count() == 11

    def test_is_judged_by_postgresql_when_redis_forgot(self, hall: Session) -> None:
        for letter in "AB":
            ask(hall, *row_of(letter, 5))
        forget_redis()
        refused = ask(hall, "C1")
        assert (refused.status, refused.reason, refused.origin) == (Status.REJECTED, "too_many_holds", "")
        assert ask(hall, "C1", address=ELSEWHERE).status == Status.HELD

    def test_is_judged_by_postgresql_while_redis_is_away(self, hall: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_args: object, **_more: object) -> None:
            raise BreakerOpen

        monkeypatch.setattr(claims, "_admit", away)
        monkeypatch.setattr(standings, "_upkeep", away)
        assert [ask(hall, *row_of(letter, 5)).status for letter in "AB"] == [Status.HELD] * 2
        assert ask(hall, "C1").reason == "too_many_holds"

    def test_counts_best_available_seats_too(self, hall: Session) -> None:
        for _guest in range(2):
            ask(hall, best_available=True, quantity=5)
        with pytest.raises(TooManyHolds):
            ask(hall, best_available=True, quantity=1)

    def test_has_a_separate_count_for_unnumbered_places(self, hall: Session) -> None:
        kind = StockFactory.create(session=hall, capacity=100)
        ask(hall, ticket_type=kind.pk, quantity=5)
        with pytest.raises(TooManyHolds):
            ask(hall, ticket_type=kind.pk, quantity=1)
        forget_redis()
        assert ask(hall, ticket_type=kind.pk, quantity=1).reason == "too_many_holds"
        assert ask(hall, "A1").status == Status.HELD

    def test_may_hold_a_few_of_the_smallest_room(self, session: Session) -> None:
        ask(session, "A1", "A2", "A3", "A4")
        with pytest.raises(TooManyHolds):
            ask(session, "B1")

    def test_may_hold_more_if_it_belongs_to_a_shared_network(self, hall: Session, limits: LazySettings) -> None:
        limits.HOLDS_SHARED_NETWORKS, limits.HOLDS_SHARED_PERCENT = ["203.0.113.0/24"], 10
        for letter in "ABCD":
            ask(hall, *row_of(letter, 5))
        with pytest.raises(TooManyHolds):
            ask(hall, "E1")

    def test_is_the_64_of_an_ipv6_address(self, hall: Session) -> None:
        for letter, address in (("A", "2001:db8:1:2::1"), ("B", "2001:db8:1:2:ffff::9")):
            ask(hall, *row_of(letter, 5), address=address)
        with pytest.raises(TooManyHolds):
            ask(hall, "C1", address="2001:db8:1:2:3::4")
        assert ask(hall, "C1", address="2001:db8:1:3::1").status == Status.HELD

    def test_counts_guests_and_new_accounts_only(self, hall: Session) -> None:
        long_ago = UUID(int=(1_700_000_000_000 << 80) | (7 << 76) | (2 << 62) | 1)
        for letter in "AB":
            ask(hall, *row_of(letter, 5))
        knows: dict[str, Any] = {"is_guest": False, "address": HOME}
        with pytest.raises(TooManyHolds):
            front_door.admit(Ask(session=hall.pk, seats=("C1",)), buyer=uuid7(), **knows)
        admitted = front_door.admit(Ask(session=hall.pk, seats=("C1",)), buyer=long_ago, **knows)
        assert Reservation.objects.get(pk=admitted.id).status == Status.HELD

    def test_is_kept_as_a_hash_until_it_is_paid_for(self, hall: Session) -> None:
        held = ask(hall, "A1")
        assert len(held.origin) == 24
        assert HOME not in held.origin
        buy(held)
        assert held.origin == ""

    def test_forgets_after_a_day_places_that_no_longer_count(self, hall: Session) -> None:
        old, lives = ask(hall, "A1"), ask(hall, "A2")
        ended(old)
        Reservation.objects.update(accepted_at=timezone.now() - dt.timedelta(hours=25))
        sweeps.forget_keys()
        old.refresh_from_db()
        lives.refresh_from_db()
        assert (old.origin, bool(lives.origin)) == ("", True)


class TestEnd:
    """The ends of a hold free its count at different times."""

    @pytest.fixture
    def full(self, hall: Session) -> list[Reservation]:
        return [ask(hall, *row_of(letter, 5)) for letter in "AB"]

    def test_by_buying_frees_the_count_at_once(self, hall: Session, full: list[Reservation]) -> None:
        buy(full[0])
        assert ask(hall, *row_of("C", 5)).status == Status.HELD
        with pytest.raises(TooManyHolds):
            ask(hall, "D1")

    @pytest.mark.parametrize("remembers", [True, False])
    def test_by_running_out_counts_as_long_again(self, hall: Session, full: list[Reservation], remembers: bool) -> None:
        ended(full[0], after=20)
        if remembers:
            with pytest.raises(TooManyHolds) as refusal:
                ask(hall, *row_of("C", 5))
            assert 18 < refusal.value.retry_after <= 21
        forget_redis()
        assert ask(hall, *row_of("C", 5)).reason == "too_many_holds"
        past = timezone.now() - dt.timedelta(seconds=21)
        Reservation.objects.filter(pk=full[0].pk).update(changed_at=past, held_at=past - dt.timedelta(seconds=20))
        assert ask(hall, *row_of("C", 5)).status == Status.HELD

    def test_without_a_sweep_counts_as_long_again_too(self, hall: Session, full: list[Reservation]) -> None:
        now = timezone.now()
        over = {"held_at": now - dt.timedelta(seconds=30), "expires_at": now - dt.timedelta(seconds=1)}
        Reservation.objects.filter(pk=full[0].pk).update(**over)
        forget_redis()
        assert ask(hall, *row_of("C", 5)).reason == "too_many_holds"

    def test_by_giving_back_is_no_way_around(self, hall: Session, full: list[Reservation]) -> None:
        past = timezone.now() - dt.timedelta(seconds=25)
        Reservation.objects.filter(pk=full[0].pk).update(held_at=past)
        holding.release(reservation_id=full[0].pk, buyer=full[0].buyer)
        with pytest.raises(TooManyHolds) as refusal:
            ask(hall, *row_of("A", 5))
        assert 20 < refusal.value.retry_after <= 30

    def test_by_giving_back_at_once_frees_the_count_soon(self, hall: Session, full: list[Reservation]) -> None:
        holding.release(reservation_id=full[0].pk, buyer=full[0].buyer)
        with pytest.raises(TooManyHolds) as refusal:
            ask(hall, *row_of("A", 5))
        assert refusal.value.retry_after < 5

    def test_by_the_box_office_frees_the_count_at_once(self, hall: Session, full: list[Reservation]) -> None:
        holding.release(reservation_id=full[0].pk, buyer=None, reason="box_office")
        assert ask(hall, *row_of("A", 5)).status == Status.HELD

    def test_later_by_extending_counts_on(self, hall: Session, full: list[Reservation]) -> None:
        past = timezone.now() - dt.timedelta(seconds=20)
        for held in full:
            Reservation.objects.filter(pk=held.pk).update(expires_at=past + dt.timedelta(seconds=30), held_at=past)
            holding.extend(reservation_id=held.pk, buyer=held.buyer)
        with pytest.raises(TooManyHolds) as refusal:
            ask(hall, "C1")
        assert refusal.value.retry_after > 25

    def test_again_and_again_counts_longer(self, hall: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hold_caps, "LAPSES_A_STEP", 10)
        for _time in range(2):
            ended(ask(hall, *row_of("A", 5)), after=20)
            forget_held()
        held = [ask(hall, *row_of(letter, 5)) for letter in "AB"]
        ended(held[0], after=20)
        with pytest.raises(TooManyHolds) as refusal:
            ask(hall, *row_of("C", 5))
        assert refusal.value.retry_after > 25  # the other's hold has ended; its own count goes on for 40

    def test_of_a_losing_request_counts_nothing(self, hall: Session) -> None:
        taken = ask(hall, *row_of("A", 5), address=ELSEWHERE)
        claims.client().delete(*(keys.claim_key(hall.pk, seat) for seat in taken.seats))
        for _guest in range(3):
            assert ask(hall, *row_of("A", 5)).reason == "seats_unavailable"
            claims.client().delete(*(keys.claim_key(hall.pk, seat) for seat in taken.seats))
        assert ask(hall, *row_of("B", 5)).status == Status.HELD


def forget_held() -> None:
    """Keep the history, and let all held places stop counting."""
    for name in claims.client().scan_iter(f"{keys.PREFIX}:held:*"):
        claims.client().delete(name)
    for name in claims.client().scan_iter(f"{keys.PREFIX}:held-tally:*"):
        claims.client().hdel(name, "places", "until")
    Reservation.objects.exclude(held_at=None).update(held_at=timezone.now())


class TestBuyer:
    def test_has_a_limit_for_all_sessions_together(self, hall: Session, session: Session) -> None:
        guest = uuid.uuid4()
        Session.objects.filter(pk=session.pk).update(max_per_buyer=5)
        ask(hall, *row_of("A", 4), guest=guest)
        ask(session, "A1", guest=guest)
        with pytest.raises(TooManyHolds):
            ask(session, "A2", "A3", guest=guest)
        forget_redis()
        assert ask(session, "A2", "A3", guest=guest).reason == "too_many_holds"
        assert ask(session, "A2", guest=guest).status == Status.HELD

    def test_may_hold_as_much_as_one_session_allows(self, limits: LazySettings, hall: Session) -> None:
        limits.HOLDS_BUYER = 1
        assert ask(hall, *row_of("A", 5)).status == Status.HELD

    def test_waits_longer_each_time_after_too_many_lapses(self, hall: Session) -> None:
        guest, waits = uuid.uuid4(), []
        for _time in range(5):
            ended(ask(hall, "A1", guest=guest), after=1)
            try:
                ask(hall, "A1", guest=guest)
            except TooManyHolds as refusal:
                waits.append(refusal.retry_after)
                claims.client().hdel(keys.cap_keys(guest, "", guest)[1], "until")
            else:
                waits.append(0)
                holding.release(reservation_id=Reservation.objects.latest("id").pk, buyer=guest)
        assert [round(wait) for wait in waits] == [0, 15, 30, 60, 60]

    def test_starts_anew_after_a_purchase(self, hall: Session) -> None:
        guest = uuid.uuid4()
        for _time in range(2):
            ended(ask(hall, "A1", guest=guest), after=1)
        buy(ask(hall, "A1", guest=guest))
        for _time in range(2):
            ended(ask(hall, "A2", guest=guest), after=1)
        assert ask(hall, "A3", guest=guest).status == Status.HELD

    def test_keeps_the_count_when_signing_in(self, hall: Session, session: Session) -> None:
        Session.objects.filter(pk=session.pk).update(max_per_buyer=5)
        guest, user = uuid.uuid4(), UserFactory.create()
        held = ask(hall, *row_of("B", 5), guest=guest)
        adopted(guest, user)
        held.refresh_from_db()
        assert held.buyer == user.pk
        with pytest.raises(TooManyHolds):
            front_door.admit(Ask(session=session.pk, seats=("C1", "C2")), buyer=user.pk)
        front_door.admit(Ask(session=session.pk, seats=("C1",)), buyer=user.pk)

    def test_waits_on_after_signing_in(self, hall: Session) -> None:
        guest, user = uuid.uuid4(), UserFactory.create()
        for _time in range(3):
            ended(ask(hall, "A1", guest=guest), after=1)
        adopted(guest, user)
        with pytest.raises(TooManyHolds) as refusal:
            front_door.admit(Ask(session=hall.pk, seats=("C1",)), buyer=user.pk)
        assert 10 < refusal.value.retry_after <= 15


def adopted(guest: UUID, user: User) -> None:
    accounts.adopt_guest(guest=guest, user=user)


def order(kind: TicketType, quantity: int, guest: UUID | None = None, **client: str) -> Any:
    body = {"ticket_type": str(kind.pk), "quantity": quantity}
    asks = client_of(guest or uuid.uuid4())
    asks.defaults |= client
    return post(asks, "/orders", body, idempotency_key=uuid.uuid4().hex)


class TestPlaceToPayAtTheDoor:
    """A place that is paid at the door counts as held until its money is collected."""

    @pytest.fixture
    def kind(self, hall: Session) -> TicketType:
        made: TicketType = StockFactory.create(session=hall, capacity=100, pay_at_door=True)
        return made

    def test_counts_until_it_is_collected(self, kind: TicketType) -> None:
        answers = [order(kind, 2).status_code for _guest in range(5)]
        assert answers == [202, 202, 429, 429, 429]
        kind.refresh_from_db()
        assert kind.available == 96
        forget_redis()
        late = order(kind, 2, guest := uuid.uuid4())
        made = get(client_of(guest), f"/orders/{late.json()['id']}").json()
        assert (made["status"], made["reason"]) == ("FAILED", "too_many_holds")
        assert (
            made["message"]
            == "You, or other buyers on your network, already had too many unpaid or free places. Nothing was charged."
        )

    def test_counts_no_more_when_its_money_is_collected(self, kind: TicketType) -> None:
        order(kind, 4)
        assert order(kind, 2).status_code == 429
        staff = UserFactory.create()
        for ticket in Ticket.objects.all():
            assert Reservation.objects.get().due
            doors.check_in(code=ticket.code, by=staff, paid=True)
        bought = Reservation.objects.get()
        assert (bought.due, bought.origin) == (False, "")
        assert order(kind, 2).status_code == 202

    def test_counts_no_more_when_its_session_is_over(self, kind: TicketType) -> None:
        order(kind, 4)
        now = timezone.now()
        Reservation.objects.update(accepted_at=now - dt.timedelta(days=2))
        sweeps.forget_keys()
        assert Reservation.objects.get().due
        Session.objects.filter(pk=kind.session_id).update(
            starts_at=now - dt.timedelta(hours=3), ends_at=now - dt.timedelta(hours=1)
        )
        sweeps.forget_keys()
        over = Reservation.objects.get()
        assert (over.due, over.origin) == (False, "")


class TestFreePlace:
    """A free place is bought at once, and counts for its address as long as it is kept."""

    @pytest.fixture
    def kind(self, hall: Session) -> TicketType:
        made: TicketType = StockFactory.create(session=hall, capacity=100, price=0)
        return made

    def give_back_all(self) -> None:
        for sale in Sale.objects.filter(tickets__status="valid").distinct():
            refunds.ask_refund(sale_id=sale.pk, buyer=None)

    def test_counts_for_its_address(self, kind: TicketType) -> None:
        answers = [order(kind, 2).status_code for _guest in range(5)]
        assert answers == [202, 202, 429, 429, 429]
        assert Reservation.objects.filter(status=Status.CONFIRMED).count() == 2
        assert order(kind, 2, REMOTE_ADDR=ELSEWHERE).status_code == 202
        forget_redis()
        late = order(kind, 2, guest := uuid.uuid4())
        made = get(client_of(guest), f"/orders/{late.json()['id']}").json()
        assert (made["status"], made["reason"]) == ("FAILED", "too_many_holds")
        kind.refresh_from_db()
        assert kind.available == 94

    def test_counts_if_it_is_numbered_too(self, hall: Session) -> None:
        TicketType.objects.update(price=0)
        for letter in "AB":
            buy(ask(hall, *row_of(letter, 5)))
        with pytest.raises(TooManyHolds):
            ask(hall, "C1")
        forget_redis()
        assert ask(hall, "C1").reason == "too_many_holds"

    def test_counts_if_a_voucher_paid_for_it(self, hall: Session) -> None:
        Voucher.objects.create(code="GIFT", percent_off=100)
        for letter in "AB":
            buy(ask(hall, *row_of(letter, 5), voucher="GIFT"))
        with pytest.raises(TooManyHolds):
            ask(hall, "C1")

    def test_counts_no_more_when_it_is_given_back(self, kind: TicketType) -> None:
        order(kind, 4)
        assert order(kind, 2).status_code == 429
        self.give_back_all()
        assert order(kind, 4).status_code == 202
        forget_redis()
        self.give_back_all()
        assert order(kind, 4).status_code == 202
        assert Reservation.objects.filter(status=Status.CONFIRMED).count() == 3

    def test_does_not_count_for_the_buyer(self, kind: TicketType) -> None:
        other: TicketType = StockFactory.create(capacity=100, price=0)
        guest = uuid.uuid4()
        for one in (kind, other):
            assert order(one, 4, guest).status_code == 202
        forget_redis()
        third: TicketType = StockFactory.create(capacity=100, price=0)
        assert order(third, 4, guest).status_code == 202
        assert Reservation.objects.filter(status=Status.CONFIRMED).count() == 3

    def test_counts_no_more_when_its_session_is_over(self, kind: TicketType) -> None:
        order(kind, 4)
        now = timezone.now()
        Reservation.objects.update(accepted_at=now - dt.timedelta(days=2))
        sweeps.forget_keys()
        assert Reservation.objects.get().origin
        Session.objects.filter(pk=kind.session_id).update(
            starts_at=now - dt.timedelta(hours=3), ends_at=now - dt.timedelta(hours=1)
        )
        sweeps.forget_keys()
        assert Reservation.objects.get().origin == ""


class TestAnswer:
    def test_of_the_api_tells_when_to_come_again(self, session: Session) -> None:
        body = {"session": str(session.pk), "seats": ["A1", "A2", "A3", "A4"]}
        assert post(client_of(uuid.uuid4()), "/reservations", body).status_code == 202
        refused = post(client_of(uuid.uuid4()), "/reservations", {**body, "seats": ["B1"]})
        assert_problem(refused, 429, "too_many_holds")
        assert 25 < int(refused["Retry-After"]) <= 30

    def test_of_the_api_after_waiting_tells_the_same(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
        body = {"session": str(session.pk), "seats": ["A1", "A2", "A3", "A4"]}
        post(client_of(uuid.uuid4()), "/reservations", body)
        forget_redis()
        refused = post(client_of(uuid.uuid4()), "/reservations", {**body, "seats": ["B1"]}, prefer="wait=5")
        assert_problem(refused, 429, "too_many_holds")
        assert refused["Retry-After"] == "30"

    def test_of_a_form_is_shown_on_the_page(self, session: Session) -> None:
        Client().post(f"/sessions/{session.pk}/hold", {"seats": ["A1", "A2", "A3", "A4"]})
        page = Client().post(f"/sessions/{session.pk}/hold", {"seats": "B1"}, follow=True)
        said = page.content.decode()
        assert "have too many unpaid or free places" in said
        assert re.search("Try again in (30|29) seconds", said)
        assert Reservation.objects.count() == 1

    def test_of_another_address_is_a_hold(self, session: Session) -> None:
        body = {"session": str(session.pk), "seats": ["A1", "A2", "A3", "A4"]}
        post(client_of(uuid.uuid4()), "/reservations", body)
        client: APIClient = client_of(uuid.uuid4())
        client.defaults["REMOTE_ADDR"] = ELSEWHERE
        assert post(client, "/reservations", {**body, "seats": ["B1"]}).status_code == 202

    def test_is_the_same_for_all_while_limits_are_off(self, session: Session, limits: LazySettings) -> None:
        limits.RATE_LIMITS = False
        for letter in "ABCD":
            ask(session, *row_of(letter, 4))
        assert set(Reservation.objects.values_list("origin", flat=True)) == {""}
        assert not list(claims.client().scan_iter(f"{keys.PREFIX}:held*"))
