"""Sign a guest in or up while a request is anywhere on its way: request and key belong to the account then."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.test import Client
from rest_framework.test import APIClient

from reservations import orders
from reservations import queries as reservations
from reservations.admission import entries, front_door
from reservations.admission.front_door import FrontDoor
from reservations.claims import claims, joined
from reservations.hold_request import HoldRequest
from reservations.models import InboxRequest, JoinedGuest, Reservation, Status
from reservations.operations import joining, queued
from reservations.queueing import queues
from reservations.queueing.queues import InboxQueue
from reservations.refusals import LimitReached
from sessions_app.models import Session, TicketType, shard_of
from tests.api import assert_problem, client_of, get, post
from tests.conftest import forget_redis
from tests.factories import StockFactory, UserFactory
from tests.reservations.test_holding import request_for
from ticketing import identity
from ticketing.models import Payment, PaymentStatus, Sale, Ticket, User
from ticketing.orders import orders as paying
from ticketing.payments import starting, steps
from ticketing.people import accounts
from ticketing.tickets import transfers

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "poltrona-da-frente-7"
STAGES = ("rabbitmq", "inbox", "held", "paying")


@dataclasses.dataclass
class Queue:
    """Simulate RabbitMQ: keep messages until the test hands them to the worker."""

    name: str = "rabbitmq"
    is_down: bool = False
    requests: list[HoldRequest] = dataclasses.field(default_factory=list)

    def open_epoch(self, shards: Collection[int]) -> None:
        """Find nothing in the inbox."""

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        self.requests += requests

    def deliver(self) -> None:
        requests, self.requests = self.requests, []
        queued.receive(requests)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    door = FrontDoor(queue=queue, fallback=None)
    monkeypatch.setattr(front_door, "door", lambda: door)
    return queue


@pytest.fixture
def stock(transactional_db: None) -> TicketType:
    made: TicketType = StockFactory.create(capacity=20)
    return made


@dataclasses.dataclass
class Person:
    """Act as a guest who asks, then becomes an account; `enter` is the way in."""

    client: APIClient
    guest: UUID
    enter: Callable[[Person], User]

    def order(self, stock: TicketType, *, quantity: int = 2, key: str = "k") -> Any:
        body = {"ticket_type": str(stock.pk), "quantity": quantity, "payment": {"method": "fake", "token": "ok"}}
        return post(self.client, "/orders", body, idempotency_key=key)

    def become_a_user(self) -> User:
        return self.enter(self)


def by_api(path: str) -> Callable[[Person], User]:
    def enter(person: Person) -> User:
        if path == "/auth/token":
            UserFactory.create(username="carla", password=PASSWORD)
        answer = post(person.client, path, {"username": "carla", "password": PASSWORD})
        assert answer.status_code < 300, answer.json()
        person.client = APIClient()
        person.client.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['access']}")
        return User.objects.get(username="carla")

    return enter


def by_page(path: str) -> Callable[[Person], User]:
    def enter(person: Person) -> User:
        browser = Client()
        browser.cookies = person.client.cookies
        if path == "/sign-in":
            UserFactory.create(username="carla", password=PASSWORD)
        fields = {"username": "carla", "password": PASSWORD, "password1": PASSWORD, "password2": PASSWORD}
        assert browser.post(path, fields).status_code == 302
        person.client.cookies = browser.cookies
        return User.objects.get(username="carla")

    return enter


WAYS = {
    "signing in by API": by_api("/auth/token"),
    "registering by API": by_api("/auth/register"),
    "signing in on the page": by_page("/sign-in"),
    "registering on the page": by_page("/register"),
}
SIGNING_IN = WAYS["signing in by API"]


@pytest.fixture(params=WAYS)
def person(request: pytest.FixtureRequest, ana: UUID) -> Person:
    """Act by token for the API, by cookie for the page."""
    if "API" in request.param:
        return Person(client_of(ana), ana, WAYS[request.param])
    client = APIClient()
    client.cookies["buyer"] = cookie_of(ana)
    return Person(client, ana, WAYS[request.param])


def cookie_of(guest: UUID) -> str:
    response = HttpResponse()
    identity.write_cookie(response, identity.Buyer(id=guest, is_guest=True))
    return response.cookies["buyer"].value


@pytest.mark.usefixtures("queue")
class TestAnOrder:
    """Check a guest's order: the guest becomes a user at each stage of it."""

    @pytest.mark.parametrize("stage", STAGES)
    def test_order_is_the_accounts_and_replays_by_its_key(
        self, stage: str, person: Person, stock: TicketType, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = person.order(stock)
        assert first.status_code == 202, first.json()
        go_to(stage, queue, monkeypatch)
        user = person.become_a_user()
        assert get(person.client, f"/orders/{first.json()['id']}").status_code == 200
        assert [one["id"] for one in get(person.client, "/orders").json()["results"]] == [first.json()["id"]]
        again = person.order(stock)
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert again["Idempotent-Replayed"] == "true"
        assert_problem(person.order(stock, quantity=1), 422, "idempotency_mismatch")
        go_on(queue)
        assert Reservation.objects.get().buyer == user.pk
        assert Sale.objects.get().buyer == user.pk
        assert Payment.objects.get().status == PaymentStatus.CAPTURED
        assert get(person.client, f"/orders/{first.json()['id']}").json()["status"] == "COMPLETED"
        assert person.order(stock).json()["id"] == first.json()["id"]
        assert Sale.objects.count() == 1

    def test_order_that_the_guest_sends_again_with_the_old_token_is_that_order(
        self, ana: UUID, stock: TicketType, queue: Queue
    ) -> None:
        before, person = client_of(ana), Person(client_of(ana), ana, SIGNING_IN)
        first = person.order(stock)
        user = person.become_a_user()
        late = Person(before, ana, person.enter)
        assert late.order(stock).json()["id"] == first.json()["id"]
        another = late.order(stock, key="another")
        assert another.status_code == 202
        go_on(queue)
        assert set(Reservation.objects.values_list("buyer", flat=True)) == {user.pk}
        assert_problem(get(before, f"/orders/{another.json()['id']}"), 404, "not_found")
        assert get(before, "/orders").json()["results"] == []

    def test_order_that_the_guest_sends_long_after_signing_in_is_refused(
        self, ana: UUID, stock: TicketType, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, person = client_of(ana), Person(client_of(ana), ana, SIGNING_IN)
        first = person.order(stock)
        person.become_a_user()
        monkeypatch.setattr(entries, "LATE_SECONDS", -1)
        late = Person(before, ana, person.enter)
        assert late.order(stock).json()["id"] == first.json()["id"]
        refused = late.order(stock, key="another")
        assert_problem(refused, 401, "bad_token")
        assert "account" in refused.json()["detail"]
        assert_problem(late.order(stock, quantity=1), 422, "idempotency_mismatch")
        assert len(queue.requests) == 1

    def test_order_keeps_its_key_where_redis_forgot(self, ana: UUID, stock: TicketType, queue: Queue) -> None:
        person = Person(client_of(ana), ana, SIGNING_IN)
        first = person.order(stock)
        person.become_a_user()
        forget_redis()
        again = person.order(stock)
        go_on(queue)
        assert get(person.client, f"/orders/{again.json()['id']}").json()["reason"] == "duplicate"
        assert get(person.client, f"/orders/{first.json()['id']}").json()["status"] == "COMPLETED"
        assert Sale.objects.count() == 1


def go_to(stage: str, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    match stage:
        case "inbox":
            monkeypatch.setattr(queues, "_ring", lambda _shard: None)
            InboxQueue().publish(queue.requests)
            queue.requests.clear()
        case "held":
            with monkeypatch.context() as silence:
                silence.setattr(orders, "pay_in_process", None)
                queue.deliver()
        case "paying":
            with monkeypatch.context() as silence:
                silence.setattr(orders, "pay_in_process", None)
                queue.deliver()
            begun = starting.start_orders(list(Reservation.objects.filter(status=Status.HELD)))
            assert [payment.status for payment in begun] == [PaymentStatus.STARTED]


def go_on(queue: Queue) -> None:
    """Continue as workers and sweeps would."""
    queue.deliver()
    for row in InboxRequest.objects.all():
        queued.drain_inbox(shard=row.shard)
    paying.pay([(order, "") for order in Reservation.objects.filter(status=Status.HELD).values_list("pk", flat=True)])
    for payment in Payment.objects.filter(status=PaymentStatus.STARTED):
        steps.finish_payment(payment_id=payment.pk)


class TestAHold:
    def test_hold_replays_for_the_account(self, person: Person, session: Session, queue: Queue) -> None:
        body = {"session": str(session.pk), "seats": ["A1"]}
        first = post(person.client, "/reservations", body, idempotency_key="k")
        user = person.become_a_user()
        again = post(person.client, "/reservations", body, idempotency_key="k")
        assert (again.json()["id"], again["Idempotent-Replayed"]) == (first.json()["id"], "true")
        queue.deliver()
        assert post(person.client, "/reservations", body, idempotency_key="k").json()["id"] == first.json()["id"]
        assert Reservation.objects.get().buyer == user.pk

    def test_hold_is_paid_for_once_however_often_the_account_asks(self, person: Person, session: Session) -> None:
        held = post(person.client, "/reservations", {"session": str(session.pk), "seats": ["A1"]}).json()
        pay = f"/reservations/{held['id']}/pay"
        body = {"payment": {"method": "fake", "token": "ok"}}
        first = post(person.client, pay, body, idempotency_key="k", prefer="wait=5")
        person.become_a_user()
        again = post(person.client, pay, body, idempotency_key="k", prefer="wait=5")
        assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (200, first.json(), "true")
        other = {"payment": {"method": "fake", "token": "slow"}}
        assert_problem(post(person.client, pay, other, idempotency_key="k"), 422, "idempotency_mismatch")
        assert Sale.objects.count() == Payment.objects.count() == 1

    def test_hold_given_up_in_the_queue_stays_given_up(self, person: Person, session: Session, queue: Queue) -> None:
        asked = post(person.client, "/reservations", {"session": str(session.pk), "seats": ["A1"]}).json()
        person.become_a_user()
        assert person.client.delete(f"/api/v1/reservations/{asked['id']}").status_code == 204
        queue.deliver()
        assert Reservation.objects.get().status == Status.CANCELLED

    def test_hold_that_is_poison_is_refused_to_the_account(self, ana: UUID, session: Session) -> None:
        user = UserFactory.create()
        request = request_for(session, "A1", buyer=ana)
        accounts.adopt_guest(guest=ana, user=user)
        queued.refuse(request, reason="failed")
        assert Reservation.objects.get().buyer == user.pk

    def test_hold_parked_by_way_of_the_inbox_is_the_accounts(self, ana: UUID, session: Session) -> None:
        Session.objects.filter(pk=session.pk).update(settle_rate=100)
        request = request_for(session, "A1", buyer=ana)
        user = UserFactory.create()
        accounts.adopt_guest(guest=ana, user=user)
        queued.receive([request])
        assert Reservation.objects.get().buyer == user.pk


class TestLimits:
    """Check that joining is no way around a limit."""

    @pytest.fixture(autouse=True)
    def _few(self, stock: TicketType) -> None:
        Session.objects.filter(pk=stock.session_id).update(max_per_buyer=10)

    def test_limits_count_what_the_guest_has_at_the_door(self, ana: UUID, stock: TicketType) -> None:
        user = UserFactory.create(username="carla", password=PASSWORD)
        Person(client_of(user), user.pk, SIGNING_IN).order(stock, quantity=10)
        Person(client_of(ana), ana, SIGNING_IN).order(stock, quantity=5, key="guest")
        accounts.adopt_guest(guest=ana, user=user)  # 15, which is legal: both were within the limit when they bought
        late = Person(client_of(ana), ana, SIGNING_IN)
        now = Person(client_of(user), user.pk, SIGNING_IN)
        assert_problem(now.order(stock, quantity=1, key="more"), 409, "limit_reached")
        assert_problem(late.order(stock, quantity=1, key="more"), 409, "limit_reached")

    def test_limits_count_what_is_in_the_queue(self, ana: UUID, stock: TicketType, queue: Queue) -> None:
        user = UserFactory.create()
        Person(client_of(ana), ana, SIGNING_IN).order(stock, quantity=6, key="guest")
        accounts.adopt_guest(guest=ana, user=user)
        now = Person(client_of(user), user.pk, SIGNING_IN)
        assert_problem(now.order(stock, quantity=5), 409, "limit_reached")
        assert now.order(stock, quantity=4).status_code == 202

    def test_limits_count_together_in_allocation_where_redis_forgot(
        self, ana: UUID, stock: TicketType, queue: Queue
    ) -> None:
        user = UserFactory.create()
        Person(client_of(ana), ana, SIGNING_IN).order(stock, quantity=6, key="guest")
        Person(client_of(user), user.pk, SIGNING_IN).order(stock, quantity=6, key="account")
        accounts.adopt_guest(guest=ana, user=user)
        forget_redis()
        go_on(queue)
        assert list(Reservation.objects.order_by("arrival").values_list("status", "reason")) == [
            (Status.CONFIRMED, ""),
            (Status.REJECTED, "limit_reached"),
        ]

    def test_limits_free_what_the_guest_gives_back(self, ana: UUID, stock: TicketType, queue: Queue) -> None:
        user = UserFactory.create()
        guest = Person(client_of(ana), ana, SIGNING_IN)
        held = post(
            guest.client,
            "/reservations",
            {"session": str(stock.session_id), "ticket_type": str(stock.pk), "quantity": 8},
        ).json()
        accounts.adopt_guest(guest=ana, user=user)
        queue.deliver()
        now = Person(client_of(user), user.pk, SIGNING_IN)
        assert now.client.delete(f"/api/v1/reservations/{held['id']}").status_code == 204
        assert now.order(stock, quantity=10).status_code == 202


class TestJoining:
    def test_joining_again_changes_nothing(self, ana: UUID, session: Session) -> None:
        user, other = UserFactory.create(), UserFactory.create()
        accounts.adopt_guest(guest=ana, user=user)
        joined_at = JoinedGuest.objects.get().joined_at
        accounts.adopt_guest(guest=ana, user=user)
        accounts.adopt_guest(guest=ana, user=other)
        row = JoinedGuest.objects.get()
        assert (row.guest, row.account, row.joined_at) == (ana, user.pk, joined_at)
        queued.allocate([request_for(session, "A1", buyer=ana)])
        assert Reservation.objects.get().buyer == user.pk

    def test_joining_brings_one_guest_after_the_other_to_the_account(self, session: Session) -> None:
        user = UserFactory.create()
        guests = [uuid4(), uuid4(), uuid4()]
        requests = [
            request_for(session, f"A{n}", buyer=guest, arrival=n, key="k") for n, guest in enumerate(guests, start=1)
        ]
        for guest in guests:
            accounts.adopt_guest(guest=guest, user=user)
        queued.allocate(requests)
        assert set(Reservation.objects.values_list("buyer", flat=True)) == {user.pk}
        # A key that both used belongs to the first request.
        assert [row.status for row in Reservation.objects.order_by("arrival")] == ["held", "rejected", "rejected"]
        assert set(joined.names_of(user.pk)) == {user.pk, *guests}
        assert set(joined.names_of(guests[0])) == {user.pk, *guests}

    def test_joining_leaves_a_key_to_the_account_that_used_it_itself(self, ana: UUID, session: Session) -> None:
        user = UserFactory.create()
        queued.allocate([request_for(session, "A1", buyer=user.pk, key="k")])
        queued.allocate(
            [request_for(session, "A2", buyer=ana, key="k"), request_for(session, "A3", buyer=ana, key="l")]
        )
        accounts.adopt_guest(guest=ana, user=user)
        assert dict(Reservation.objects.values_list("seats__0", "key")) == {"A1": "k", "A2": "", "A3": "l"}

    def test_joining_never_takes_what_an_account_has(self, session: Session) -> None:
        owner, user = UserFactory.create(), UserFactory.create()
        queued.allocate([request_for(session, "A1", buyer=owner.pk)])
        accounts.adopt_guest(guest=owner.pk, user=user)
        assert Reservation.objects.get().buyer == owner.pk

    def test_joining_brings_tickets_that_the_guest_was_passed(self, ana: UUID, bruno: UUID, stock: TicketType) -> None:
        user = UserFactory.create()
        Person(client_of(bruno), bruno, SIGNING_IN).order(stock)
        first, second = Ticket.objects.all()
        transfers.pass_on(ticket_id=first.pk, giver=bruno, receiver=ana)
        accounts.adopt_guest(guest=ana, user=user)
        transfers.pass_on(ticket_id=second.pk, giver=bruno, receiver=ana)
        assert set(Ticket.objects.values_list("holder", flat=True)) == {user.pk}

    def test_joining_shows_the_account_what_a_late_process_stores_for_the_guest(
        self, ana: UUID, session: Session
    ) -> None:
        user = UserFactory.create()
        accounts.adopt_guest(guest=ana, user=user)
        request = request_for(session, "A1", buyer=ana)
        InboxQueue().publish([request])
        assert [one.id for one in reservations.in_queue(user.pk)] == [request.id]
        assert reservations.find(request.id, buyer=user.pk)["status"] == "queued"
        queued.drain_inbox(shard=shard_of(session.pk, 1))
        assert Reservation.objects.get().buyer == user.pk

    def test_joining_works_while_redis_is_away(
        self, ana: UUID, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(**_said: object) -> None:
            raise claims.NoClaims from ConnectionError()

        monkeypatch.setattr(joined, "join", away)
        user = UserFactory.create()
        accounts.adopt_guest(guest=ana, user=user)
        queued.allocate([request_for(session, "A1", buyer=ana)])
        assert Reservation.objects.get().buyer == user.pk

    def test_joined_guest_is_not_its_own_account(self, ana: UUID) -> None:
        with pytest.raises(IntegrityError, match="joined_guest_is_not_its_own_account"), transaction.atomic():
            joining.join(guest=ana, account=ana)


class TestALimit:
    """Check that four guests with two places each may become one account, which buys what one person may."""

    @pytest.fixture
    def holds(self, stock: TicketType, session: Session) -> list[Reservation]:
        """Hold seats for an account that was two guests: two seats each, as many as a buyer may have."""
        Session.objects.filter(pk=session.pk).update(max_per_buyer=2)
        user = UserFactory.create()
        for seats in (["A1", "A2"], ["B1", "B2"]):
            guest = uuid4()
            queued.allocate([request_for(session, *seats, buyer=guest)])
            accounts.adopt_guest(guest=guest, user=user)
        return list(Reservation.objects.order_by("seats"))

    def pay(self, hold: Reservation) -> Any:
        body = {"payment": {"method": "fake", "token": "ok"}}
        return post(client_of(User.objects.get(pk=hold.buyer)), f"/reservations/{hold.pk}/pay", body, prefer="wait=5")

    def test_limit_counts_while_paying(self, holds: list[Reservation]) -> None:
        first, second = holds
        assert self.pay(first).status_code == 200
        assert_problem(self.pay(second), 409, "limit_reached")
        assert Sale.objects.count() == 1

    def test_limit_counts_what_is_paid_at_the_same_time(self, holds: list[Reservation]) -> None:
        ways = [
            starting._Start(reservation=one.pk, buyer=None, method="fake", token="ok", email="", language="en")  # noqa: SLF001
            for one in holds
        ]
        first, second = starting._start_all(ways)  # noqa: SLF001
        assert isinstance(first, Payment)
        assert isinstance(second, LimitReached)

    def test_limit_is_that_of_the_moment_of_holding(self, holds: list[Reservation], session: Session) -> None:
        Session.objects.filter(pk=session.pk).update(max_per_buyer=1)
        assert self.pay(holds[0]).status_code == 200

    def test_limit_of_a_ticket_type_counts_too(self, stock: TicketType) -> None:
        TicketType.objects.filter(pk=stock.pk).update(max_per_buyer=2)
        user = UserFactory.create()
        for number in range(2):
            guest = uuid4()
            order = request_for(stock.session, buyer=guest, ticket_type=stock.pk, quantity=2, arrival=number + 1)
            queued.allocate([order])
            accounts.adopt_guest(guest=guest, user=user)
        first, second = Reservation.objects.all()
        assert self.pay(first).status_code == 200
        assert_problem(self.pay(second), 409, "limit_reached")


class TestTheDoor:
    def test_front_door_answers_a_guest_who_registers_while_an_epoch_opens(
        self, ana: UUID, session: Session, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = UserFactory.create()
        open_epoch = FrontDoor._open_epoch  # noqa: SLF001

        def open_late(door: FrontDoor, entries: Sequence[entries.Entry]) -> bool:
            accounts.adopt_guest(guest=ana, user=user)
            return open_epoch(door, entries)

        monkeypatch.setattr(FrontDoor, "_open_epoch", open_late)
        answer = post(client_of(ana), "/reservations", {"session": str(session.pk), "seats": ["A1"]})
        assert answer.status_code == 202, answer.json()
        queue.deliver()
        assert Reservation.objects.get().buyer == user.pk


class TestAPageThatIsOlderThanTheSignIn:
    """Check that the server does nothing for another buyer than the one that the page names."""

    def test_older_page_replays_for_the_account(self, person: Person, stock: TicketType) -> None:
        body = {"ticket_type": str(stock.pk), "quantity": 1, "payment": {"method": "fake", "token": "ok"}}
        said = {"idempotency_key": "k", "frontrow_buyer": str(person.guest)}
        first = post(person.client, "/orders", body, **said)
        person.become_a_user()
        assert post(person.client, "/orders", body, **said).json()["id"] == first.json()["id"]
        found = get(person.client, "/orders", idempotency_key="k").json()["results"]
        assert [one["id"] for one in found] == [first.json()["id"]]
        assert get(person.client, "/orders", idempotency_key="l").json()["results"] == []
        assert Sale.objects.count() == 1

    @pytest.mark.parametrize("meant", ["019337a5-2c1e-7b1f-9a44-2f1c0d9e8b11", "nobody", ""])
    def test_older_page_does_nothing_for_another_person(self, ana: UUID, session: Session, meant: str) -> None:
        body = {"session": str(session.pk), "seats": ["A1"]}
        for _time in range(2):
            answer = post(client_of(ana), "/reservations", body, idempotency_key="k", frontrow_buyer=meant)
            assert_problem(answer, 409, "other_buyer")
        pay = post(client_of(ana), f"/reservations/{uuid4()}/pay", {}, idempotency_key="k", frontrow_buyer=meant)
        assert_problem(pay, 409, "other_buyer")
        assert not Reservation.objects.exists()

    def test_older_page_finds_what_is_in_the_queue_by_its_key(
        self, person: Person, stock: TicketType, queue: Queue
    ) -> None:
        first = person.order(stock)
        person.become_a_user()
        found = get(person.client, "/orders", idempotency_key="k").json()["results"]
        assert [one["id"] for one in found] == [first.json()["id"]]
