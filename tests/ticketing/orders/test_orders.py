"""Check orders, as API.md describes them."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import LazySettings
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.db.models import F
from django.utils import timezone
from rest_framework.test import APIClient

from base.ids import uuid7
from realtime import relay
from realtime.models import Event
from reservations import orders
from reservations import queries as reservations
from reservations.admission import front_door
from reservations.admission.front_door import FrontDoor
from reservations.admission.sale_facts import facts_of
from reservations.claims import claims
from reservations.hold_request import ORDER_SCOPE, Ask, HoldRequest, Means
from reservations.models import Reservation, Status, Voucher
from reservations.operations import queued
from reservations.queueing import inbox, liveness
from reservations.queueing.queues import InProcessQueue
from sessions_app.models import Seat, Session, TicketType
from tests.api import assert_problem, client_of, get, post
from tests.factories import SessionFactory, StockFactory, UserFactory
from tests.processes import until
from tests.race.racing import race
from ticketing.api.order_fields import plain_wish
from ticketing.letters import mail
from ticketing.models import Payment, PaymentStatus, Sale, SandboxCharge, Ticket
from ticketing.orders import orders as paying
from ticketing.payments import refunds, starting, steps
from ticketing.payments.together import Together

pytestmark = pytest.mark.django_db(transaction=True)

PAYMENT = {"method": "fake", "token": "ok"}


@pytest.fixture
def stock(transactional_db: None) -> TicketType:
    made: TicketType = StockFactory.create(capacity=3)
    return made


@pytest.fixture
def a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a worker is alive, so that requests wait; the queue allocates in this process."""
    monkeypatch.setattr(liveness, "is_alive", lambda _part: True)


@pytest.fixture
def nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose the messages of orders."""
    monkeypatch.setattr(orders, "pay_in_process", None)


def wish(stock: TicketType, quantity: int = 1, token: str | None = "ok") -> dict[str, Any]:
    payment = {"payment": {"method": "fake", "token": token}} if token else {}
    return {"ticket_type": str(stock.pk), "quantity": quantity, **payment}


def order(buyer: UUID | APIClient, body: dict[str, Any], *, key: str = "", **headers: str) -> Any:
    client = client_of(buyer) if isinstance(buyer, UUID) else buyer
    return post(client, "/orders", body, idempotency_key=key or uuid4().hex, **headers)


def read(buyer: UUID, order: Any) -> dict[str, Any]:
    body: dict[str, Any] = get(client_of(buyer), f"/orders/{order.json()['id']}").json()
    return body


def long_ago(reservation: str) -> None:
    Reservation.objects.filter(pk=reservation).update(changed_at=F("changed_at") - paying.LEFT_AFTER)


class TestOrdering:
    def test_order_is_accepted_at_once_and_bought(self, ana: UUID, stock: TicketType) -> None:
        response = order(ana, wish(stock, 2))
        body = response.json()
        assert response.status_code == 202
        assert body["status"] == "PENDING"
        assert body["message"] == "Your order is in the queue."
        assert response["Location"] == f"/api/v1/orders/{body['id']}"
        assert int(response["Retry-After"]) >= 1
        stands = read(ana, response)
        assert stands["status"] == "COMPLETED"
        assert stands["total"] == {"amount": 18_000, "currency": "BRL"}
        assert stands["sale"] == get(client_of(ana), f"/sales/{stands['sale']['id']}").json()
        assert len(stands["sale"]["tickets"]) == 2
        assert stands["id"] == stands["sale"]["reservation"]
        assert SandboxCharge.objects.get().amount == 18_000

    def test_order_takes_seats_by_name(self, ana: UUID, session: Session) -> None:
        bought = order(ana, {"session": str(session.pk), "seats": ["A1", "A2"], "payment": PAYMENT})
        assert bought.status_code == 202
        assert [line["seat"] for line in read(ana, bought)["lines"]] == ["A1", "A2"]
        assert set(Seat.objects.filter(label__in=["A1", "A2"]).values_list("status", flat=True)) == {"s"}

    @pytest.mark.usefixtures("a_worker")
    def test_order_with_prefer_wait_answers_the_purchase(self, ana: UUID, stock: TicketType) -> None:
        response = order(ana, wish(stock), prefer="wait=5", key="k")
        assert response.status_code == 201
        assert response["Preference-Applied"] == "wait=5"
        body = response.json()
        assert body["status"] == "COMPLETED"
        assert body["sale"]["tickets"][0]["status"] == "valid"
        again = order(ana, wish(stock), prefer="wait=5", key="k")
        assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
        assert again.json()["id"] == body["id"]
        assert again.json()["status"] == "COMPLETED"

    @pytest.mark.usefixtures("a_worker")
    def test_order_with_prefer_wait_answers_a_declined_card(self, ana: UUID, stock: TicketType) -> None:
        refused = order(ana, wish(stock, token="declined"), prefer="wait=5")
        assert refused["Preference-Applied"] == "wait=5"
        assert assert_problem(refused, 402, "payment_declined")["reason"] == "card_declined"

    def test_order_without_a_payment_is_held_until_it_is_paid(self, ana: UUID, stock: TicketType) -> None:
        held = order(ana, wish(stock, token=None))
        assert read(ana, held)["status"] == "PROCESSING"
        assert read(ana, held)["expires_at"]
        assert read(ana, held)["sale"] is None
        post(client_of(ana), f"/reservations/{held.json()['id']}/pay", {"payment": PAYMENT})
        assert read(ana, held)["status"] == "COMPLETED"

    def test_what_costs_nothing_needs_no_gateway(self, ana: UUID, stock: TicketType) -> None:
        TicketType.objects.update(price=0)
        bought = read(ana, order(ana, wish(stock, token=None)))
        assert bought["status"] == "COMPLETED"
        assert bought["total"] == {"amount": 0, "currency": "BRL"}
        assert bought["sale"]["payment"] == {**bought["sale"]["payment"], "method": "free", "status": "captured"}
        assert not SandboxCharge.objects.exists()

    def test_a_declined_card_ends_it_and_frees_its_places(self, ana: UUID, stock: TicketType) -> None:
        failed = read(ana, order(ana, wish(stock, 3, token="declined")))
        assert (failed["status"], failed["reason"], failed["sale"]) == ("FAILED", "payment_declined", None)
        assert TicketType.objects.get(pk=stock.pk).available == 3
        assert order(ana, wish(stock, 3)).status_code == 202
        assert Sale.objects.count() == 1

    def test_a_declined_card_frees_its_seats(self, ana: UUID, session: Session) -> None:
        declined = {**PAYMENT, "token": "declined"}
        order(ana, {"session": str(session.pk), "seats": ["A1"], "payment": declined})
        assert Seat.objects.get(label="A1").status == "f"


class TestTheReceipt:
    """Check that an order without a payment says where its receipt goes."""

    EMAIL = "ana@example.com"

    def test_receipt_of_what_costs_nothing_is_sent(
        self, ana: UUID, stock: TicketType, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        TicketType.objects.update(price=0)
        body = {**wish(stock, token=None), "email": self.EMAIL}
        asked = order(ana, body, accept_language="pt-BR")
        assert get(client_of(ana), f"/orders/{asked.json()['id']}").json()["status"] == "COMPLETED"
        mail.send_for(relay.message(Event.objects.get(name="reservation.confirmed")))
        (letter,) = mailoutbox
        assert letter.to == [self.EMAIL]
        assert letter.subject.startswith("Seus ingressos")

    def test_receipt_of_what_a_voucher_pays_for_is_sent(self, ana: UUID, session: Session) -> None:
        Voucher.objects.create(code="GIFT", percent_off=100)
        body = {"session": str(session.pk), "seats": ["A1"], "voucher": "GIFT", "email": self.EMAIL}
        assert order(ana, body).status_code == 202
        assert Payment.objects.get().email == self.EMAIL

    @pytest.mark.parametrize("later", ["", "home@example.com"])
    def test_receipt_of_what_is_paid_later_goes_there_unless_the_payment_says_otherwise(
        self, ana: UUID, stock: TicketType, later: str
    ) -> None:
        body = {**wish(stock, token=None), "email": self.EMAIL}
        asked = order(ana, body).json()["id"]
        said = {"payment": PAYMENT, **({"email": later} if later else {})}
        paid = post(client_of(ana), f"/reservations/{asked}/pay", said)
        assert paid.status_code == 202
        assert Payment.objects.get().email == (later or self.EMAIL)

    def test_receipt_of_an_order_on_standby_is_sent(self, ana: UUID, bruno: UUID, session: Session) -> None:
        Session.objects.update(standby=True)
        kind = StockFactory.create(session=session, capacity=1, price=0)
        first = order(bruno, wish(kind, token=None)).json()["id"]
        waits = order(ana, {**wish(kind, token=None), "email": self.EMAIL}).json()["id"]
        assert Reservation.objects.get(pk=waits).status == Status.QUEUED
        refunds.ask_refund(sale_id=Sale.objects.get(reservation=first).pk, buyer=None)
        paying.pay([(UUID(waits), "")])
        assert Payment.objects.get(reservation=waits).email == self.EMAIL

    def test_receipt_belongs_to_the_request_that_a_key_names(self, ana: UUID, stock: TicketType) -> None:
        body = {**wish(stock, token=None), "email": self.EMAIL}
        assert order(ana, body, key="one").status_code == 202
        assert order(ana, body, key="one").headers["Idempotent-Replayed"] == "true"
        assert_problem(order(ana, {**body, "email": "home@example.com"}, key="one"), 422, "idempotency_mismatch")


class TestRefusing:
    def test_order_asks_for_the_key_by_its_name(self, ana: UUID, stock: TicketType) -> None:
        problem = assert_problem(post(client_of(ana), "/orders", wish(stock)), 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == ["Idempotency-Key"]
        assert "header" in problem["errors"][0]["message"]

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({}, {"ticket_type"}),
            ({"ticket_type": str(uuid4())}, {"quantity"}),
            ({"quantity": 1}, {"ticket_type"}),
            ({"seats": ["A1"]}, {"session"}),
            ({"session": str(uuid4())}, {"ticket_type"}),
            ({"session": str(uuid4()), "seats": []}, {"seats"}),
            ({"ticket_type": str(uuid4()), "quantity": 0}, {"quantity"}),
            ({"ticket_type": str(uuid4()), "quantity": 1, "seats": ["A1"]}, {"quantity", "ticket_type"}),
            ({"ticket_type": str(uuid4()), "quantity": 1, "payment": {}}, {"payment.method", "payment.token"}),
            (
                {"ticket_type": str(uuid4()), "quantity": 1, "payment": {"method": "x", "token": "ok"}},
                {"payment.method"},
            ),
        ],
    )
    def test_order_names_the_fields_at_fault(self, ana: UUID, body: dict[str, Any], fields: set[str]) -> None:
        problem = assert_problem(order(ana, body), 400, "invalid")
        assert {error["field"] for error in problem["errors"]} == fields

    def test_order_is_refused_before_anything_is_queued(self, ana: UUID, stock: TicketType) -> None:
        unknown = {**wish(stock), "ticket_type": str(uuid4())}
        assert_problem(order(ana, unknown), 400, "unknown_ticket_type")
        nowhere = {"session": str(uuid4()), "seats": ["A1"], "payment": PAYMENT}
        assert_problem(order(ana, nowhere), 400, "unknown_session")
        assert_problem(order(ana, wish(stock, token="gibberish")), 400, "unknown_token")
        assert_problem(order(ana, wish(stock, 11)), 400, "too_many_seats")
        Session.objects.filter(pk=stock.session_id).update(on_sale_at=timezone.now() + dt.timedelta(hours=1))
        assert_problem(order(ana, wish(SessionFactory.create().ticket_types.get())), 400, "unknown_ticket_type")
        facts_of(stock.session_id, max_age=0)
        assert assert_problem(order(ana, wish(stock)), 409, "sale_not_open")["on_sale_at"]
        Session.objects.filter(pk=stock.session_id).update(cancelled_at=timezone.now())
        facts_of(stock.session_id, max_age=0)
        assert_problem(order(ana, wish(stock)), 409, "sale_closed")
        assert not Reservation.objects.exists()

    def test_order_needs_credentials(self, stock: TicketType) -> None:
        assert post(APIClient(), "/orders", wish(stock), idempotency_key="k").status_code == 401

    def test_limit_counts_what_the_buyer_has_already(self, ana: UUID) -> None:
        many = StockFactory.create(capacity=100)
        order(ana, wish(many, 8))
        assert assert_problem(order(ana, wish(many, 3)), 409, "limit_reached")["limit"] == 10

    def test_sold_out_is_said_at_once(self, ana: UUID) -> None:
        assert_problem(order(ana, wish(StockFactory.create(capacity=0))), 409, "sold_out")
        assert not Reservation.objects.exists()

    def test_three_of_ten_win(self, stock: TicketType) -> None:
        answers = [(buyer, order(buyer, wish(stock))) for buyer in [uuid4() for _n in range(10)]]
        assert Counter(answer.status_code for _buyer, answer in answers) == {202: 3, 409: 7}
        won = [read(buyer, answer)["status"] for buyer, answer in answers if answer.status_code == 202]
        assert won == ["COMPLETED"] * 3
        assert TicketType.objects.get(pk=stock.pk).available == 0

    def test_three_of_ten_win_where_redis_admits_all(self, stock: TicketType) -> None:
        buyers = [uuid4() for _n in range(10)]
        requests = [asked(stock, buyer, arrival=place) for place, buyer in enumerate(buyers, start=1)]
        queued.allocate(requests)
        stands = [orders.body(reservations.find(request.id, buyer=None)) for request in requests]
        assert [(one["status"], one["reason"]) for one in stands] == [("COMPLETED", None)] * 3 + [
            ("FAILED", "sold_out")
        ] * 7


def asked(stock: TicketType, buyer: UUID, *, arrival: int) -> HoldRequest:
    """Return a queued request."""
    ask = Ask(
        session=stock.session_id,
        ticket_type=stock.pk,
        quantity=1,
        scope=ORDER_SCOPE,
        key=uuid4().hex,
        payment=Means(**PAYMENT),
    )
    return HoldRequest.of(ask, reservation=uuid7(), buyer=buyer, arrival=arrival, accepted_at=timezone.now())


class TestWhatStandsInRabbit:
    """Check orders that are in no table yet, so that Redis reports them."""

    @pytest.fixture
    def waits(self, ana: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(InProcessQueue, "publish", lambda _line, _requests: None)
        name: str = order(ana, wish(stock)).json()["id"]
        return name

    def test_queued_order_is_listed_first(self, ana: UUID, bruno: UUID, stock: TicketType, waits: str) -> None:
        for path in ("/orders", "/reservations"):
            (listed,) = get(client_of(ana), path).json()["results"]
            assert listed["id"] == waits
            assert get(client_of(bruno), path).json()["results"] == []
        assert get(client_of(ana), "/orders").json()["results"][0]["status"] == "PENDING"

    def test_queued_order_counts_for_the_limit_of_the_first_page(
        self, ana: UUID, stock: TicketType, waits: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        bought = [order(ana, wish(stock)).json()["id"] for _order in range(2)]
        first = get(client_of(ana), "/orders", limit=2).json()
        rest = client_of(ana).get(first["next"]).json()
        assert [one["id"] for one in first["results"]] == [waits, bought[1]]
        assert [one["id"] for one in rest["results"]] == [bought[0]]

    def test_queued_order_is_sent_to_a_new_socket(self, ana: UUID, waits: str) -> None:
        assert [(one["id"], one["status"]) for one in reservations.first_messages(ana)] == [
            (waits, "queued"),
            (waits, "PENDING"),
        ]

    def test_queued_order_leaves_the_queue_once_it_is_allocated(self, ana: UUID, stock: TicketType) -> None:
        order(ana, wish(stock))
        assert claims.asked_by(ana)
        assert reservations.in_queue(ana) == []

    def test_queued_order_is_remembered_in_bounds(
        self, ana: UUID, stock: TicketType, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.HOLDS_ADDRESS = 100
        Session.objects.update(max_per_buyer=100)
        TicketType.objects.update(capacity=100, available=100)
        monkeypatch.setattr(InProcessQueue, "publish", lambda _line, _requests: None)
        asked_for = [order(ana, wish(stock)).json()["id"] for _order in range(52)]
        assert [str(request.id) for request in claims.asked_by(ana)] == asked_for[2:]

    def test_queued_order_is_unknown_without_redis(
        self, ana: UUID, waits: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_buyer: UUID) -> list[HoldRequest]:
            raise claims.NoClaims

        monkeypatch.setattr(claims, "asked_by", away)
        assert get(client_of(ana), "/orders").json()["results"] == []


class TestTheSameKey:
    def test_same_key_gets_the_first_answer_again(self, ana: UUID, stock: TicketType) -> None:
        first, again = order(ana, wish(stock), key="k"), order(ana, wish(stock), key="k")
        assert again.status_code == first.status_code == 202
        assert again.json() == first.json()
        assert again["Idempotent-Replayed"] == "true"
        assert Reservation.objects.count() == 1

    @pytest.mark.parametrize("change", [{"quantity": 2}, {"payment": {"method": "fake", "token": "slow"}}])
    def test_same_key_with_another_body_is_a_mismatch(
        self, ana: UUID, stock: TicketType, change: dict[str, Any]
    ) -> None:
        order(ana, wish(stock), key="k")
        assert_problem(order(ana, {**wish(stock), **change}, key="k"), 422, "idempotency_mismatch")

    def test_same_key_is_another_for_reservations_and_other_buyers(
        self, ana: UUID, bruno: UUID, stock: TicketType
    ) -> None:
        order(ana, wish(stock), key="k")
        assert order(bruno, wish(stock), key="k").status_code == 202
        held = {"session": str(stock.session_id), "ticket_type": str(stock.pk), "quantity": 1}
        assert post(client_of(ana), "/reservations", held, idempotency_key="k").status_code == 202
        assert Reservation.objects.count() == 3

    @pytest.mark.race
    def test_same_key_from_fifty_threads_is_one_order(self, ana: UUID, stock: TicketType) -> None:
        answers = race([partial(order, client_of(ana), wish(stock), key="k") for _n in range(50)])
        replied: list[Any] = list(answers)
        by_status = {answer.status_code: answer.json() for answer in replied}
        assert 202 in by_status
        assert set(by_status) <= {202, 409}
        assert {answer.json()["code"] for answer in replied if answer.status_code == 409} <= {"request_in_flight"}
        assert len({answer.json()["id"] for answer in replied if answer.status_code == 202}) == 1
        assert Reservation.objects.count() == Payment.objects.count() == Sale.objects.count() == 1


class TestReading:
    def test_other_buyers_orders_are_not_found(self, ana: UUID, bruno: UUID, stock: TicketType) -> None:
        bought = order(ana, wish(stock)).json()["id"]
        assert_problem(get(client_of(bruno), f"/orders/{bought}"), 404, "not_found")
        assert_problem(get(client_of(ana), f"/orders/{uuid4()}"), 404, "not_found")
        assert get(client_of(bruno), "/orders").json()["results"] == []

    def test_staff_read_all_orders(self, ana: UUID, stock: TicketType) -> None:
        bought = order(ana, wish(stock)).json()["id"]
        staff = client_of(UserFactory.create(is_staff=True, is_superuser=True))
        assert get(staff, f"/orders/{bought}").json()["status"] == "COMPLETED"
        assert [one["id"] for one in get(staff, "/orders", buyer=str(ana)).json()["results"]] == [bought]
        assert get(staff, "/orders").json()["results"] == []

    def test_reading_works_while_it_stands_in_the_queue(
        self, ana: UUID, bruno: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door = FrontDoor(queue=InProcessQueue(lambda _requests: None), fallback=None)
        monkeypatch.setattr(front_door, "door", lambda: door)
        waits = order(ana, wish(stock))
        assert read(ana, waits) == waits.json()
        assert_problem(get(client_of(bruno), f"/orders/{waits.json()['id']}"), 404, "not_found")

    def test_reading_lists_the_buyers_own_newest_first(self, ana: UUID, stock: TicketType) -> None:
        made = [order(ana, wish(stock)).json()["id"] for _n in range(3)]
        held = {"session": str(stock.session_id), "seats": ["A1"]}
        post(client_of(ana), "/reservations", held)  # is not an order
        first = get(client_of(ana), "/orders", limit=2).json()
        assert [one["id"] for one in first["results"]] == made[:0:-1]
        assert all(one["status"] == "COMPLETED" and one["sale"]["number"] for one in first["results"])
        last = client_of(ana).get(first["next"]).json()
        assert [one["id"] for one in last["results"]] == made[:1]
        assert last["next"] is None


class TestALostDoorbell:
    @pytest.mark.usefixtures("nobody_hears")
    def test_lost_message_is_made_up_for_by_the_sweep(self, ana: UUID, stock: TicketType) -> None:
        waits = order(ana, wish(stock))
        assert read(ana, waits)["status"] == "PROCESSING"
        assert paying.sweep() == 0  # its message may still arrive
        long_ago(waits.json()["id"])
        assert paying.sweep() == 1
        assert read(ana, waits)["status"] == "COMPLETED"
        assert paying.sweep() == 0

    @pytest.mark.usefixtures("nobody_hears")
    def test_order_keeps_its_places_for_the_session_s_longest_hold(self, ana: UUID, stock: TicketType) -> None:
        order(ana, wish(stock))
        row = Reservation.objects.get()
        assert row.expires_at - row.held_at == dt.timedelta(seconds=stock.session.max_hold_seconds)  # type: ignore[operator]

    @pytest.mark.usefixtures("nobody_hears")
    def test_message_received_twice_takes_the_money_once(self, ana: UUID, stock: TicketType) -> None:
        waits = UUID(order(ana, wish(stock)).json()["id"])
        outcomes = race([partial(paying.pay, [(waits, "")]) for _n in range(4)])
        assert sorted(outcomes) == [0, 0, 0, 1]  # type: ignore[type-var]
        assert Payment.objects.get().status == PaymentStatus.CAPTURED

    @pytest.mark.usefixtures("nobody_hears")
    def test_sweep_leaves_cancelled_orders_alone(self, ana: UUID, stock: TicketType) -> None:
        waits = order(ana, wish(stock)).json()["id"]
        assert client_of(ana).delete(f"/api/v1/reservations/{waits}").status_code == 204
        assert paying.pay([(UUID(waits), "")]) == 0
        assert get(client_of(ana), f"/orders/{waits}").json()["reason"] == "released"

    def test_message_is_sent_again_when_the_request_is_delivered_again(
        self, ana: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = asked(stock, ana, arrival=1)
        with monkeypatch.context() as silence:
            silence.setattr(orders, "pay_in_process", None)
            queued.allocate([request])
        assert Reservation.objects.get().status == Status.HELD
        queued.allocate([request])
        assert Reservation.objects.get().status == Status.CONFIRMED
        queued.allocate([request])
        assert Sale.objects.count() == 1

    def test_lost_message_is_no_error_where_the_broker_is_away(
        self, ana: UUID, stock: TicketType, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rung: list[Any] = []

        class Nobody:
            def send(self, task: str, queue: Any, **arguments: Any) -> None:
                rung.append((task, queue.alias, arguments))
                raise ConnectionError

        monkeypatch.setattr(orders, "courier", Nobody)
        settings.QUEUE = "inbox"
        queued.allocate([request := asked(stock, ana, arrival=1)])
        assert rung == [("ticketing.tasks.pay_orders", "payments", {"orders": [(request.id, "")]})]
        assert Reservation.objects.get().status == Status.HELD


class TestACrowdThatIsPaid:
    @pytest.mark.usefixtures("nobody_hears")
    def test_paid_crowd_keeps_no_connection_while_it_waits_for_its_turn(
        self, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = [order(uuid4(), wish(stock)).json()["id"] for _buyer in range(3)]
        turn, counted = threading.Event(), list[int]()

        def start_all(asks: Sequence[Any]) -> list[Payment | Exception]:
            assert turn.wait(20)
            return starting._start_all(asks)  # noqa: SLF001 what it does in its turn

        monkeypatch.setattr(starting, "_start", Together(start_all))
        connection.close()
        with ThreadPoolExecutor(len(held)) as threads:
            paid = [threads.submit(pay_and_close, UUID(each)) for each in held]
            until(lambda: len(starting._start._waiting) == len(held) - 1, what="all but one waiting")  # noqa: SLF001
            pool = connection.pool.get_stats()  # type: ignore[attr-defined] # PostgreSQL's has one
            counted.append(pool["pool_size"] - pool["pool_available"])
            turn.set()
            assert [done.result() for done in paid] == [1, 1, 1]
        assert counted == [0]
        assert Sale.objects.count() == 3


def pay_and_close(order: UUID) -> int:
    try:
        return paying.pay([(order, "")])
    finally:
        connection.close()


class TestASessionCalledOff:
    @pytest.mark.usefixtures("nobody_hears")
    def test_session_called_off_during_payment_takes_no_money(self, ana: UUID, stock: TicketType) -> None:
        waits = order(ana, wish(stock))
        (payment,) = starting.start_orders(list(Reservation.objects.all()))
        Session.objects.update(cancelled_at=timezone.now())
        steps.finish_payment(payment_id=payment.pk)
        failed = read(ana, waits)
        assert (failed["status"], failed["reason"]) == ("FAILED", "session_cancelled")
        assert not Ticket.objects.exists()
        assert SandboxCharge.objects.get().status == "voided"


class TestTelling:
    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        monkeypatch.setattr("realtime.wire.send_personal", lambda *, buyer, message: messages.append(message))
        return messages

    def test_socket_hears_of_each_change(self, ana: UUID, stock: TicketType, told: list[dict[str, Any]]) -> None:
        bought = order(ana, wish(stock)).json()["id"]
        of_order = [message for message in told if message["type"] == "order:update"]
        assert [(one["id"], one["status"]) for one in of_order] == [(bought, "PROCESSING"), (bought, "COMPLETED")]
        assert of_order[0]["total"] == {"amount": 9_000, "currency": "BRL"}
        assert of_order[1]["message"] == "Your order is complete: the tickets are yours."
        others = [message["status"] for message in told if message["type"] == "reservation:update"]
        assert others == ["held", "paying", "confirmed"]

    def test_socket_hears_of_a_failure_in_the_buyers_language(
        self, ana: UUID, stock: TicketType, told: list[dict[str, Any]]
    ) -> None:
        order(ana, wish(stock, token="declined"), accept_language="pt-BR")
        last = [message for message in told if message["type"] == "order:update"][-1]
        assert last["status"] == "FAILED"
        assert (
            last["message"]
            == "O pagamento foi recusado. Nada foi cobrado, e outros compradores podem ficar com os lugares."
        )

    def test_socket_of_a_buyer_who_only_holds_hears_nothing_of_orders(
        self, ana: UUID, stock: TicketType, told: list[dict[str, Any]]
    ) -> None:
        held = {"session": str(stock.session_id), "seats": ["A1"]}
        post(client_of(ana), "/reservations", held)
        assert {message["type"] for message in told} == {"reservation:update"}

    @pytest.mark.usefixtures("nobody_hears")
    def test_new_socket_hears_of_unfinished_orders(self, ana: UUID, stock: TicketType) -> None:
        held = order(ana, wish(stock)).json()["id"]
        waits = asked(stock, ana, arrival=5)
        inbox.store([waits], shard_for=lambda _request: 0)
        first = [one for one in reservations.first_messages(ana) if one["type"] == "order:update"]
        assert [(one["id"], one["status"]) for one in first] == [(held, "PROCESSING"), (str(waits.id), "PENDING")]

    def test_new_socket_hears_of_orders_that_ended_just_now_only(self, ana: UUID, stock: TicketType) -> None:
        old, new = (order(ana, wish(stock)).json()["id"] for _order in range(2))
        Reservation.objects.filter(pk=old).update(changed_at=F("changed_at") - reservations.TOLD_AGAIN_FOR)
        first = reservations.first_messages(ana)
        assert [(one["type"], one["id"]) for one in first] == [("reservation:update", new), ("order:update", new)]
        assert (first[0]["status"], first[1]["status"]) == ("confirmed", "COMPLETED")


class TestAPlainBody:
    """Check plain bodies. See also tests/ticketing/api/test_plain_bodies.py."""

    @pytest.mark.parametrize(
        "body",
        [
            '{"ticket_type": "ID", "quantity": 1, "quantity": 2}',
            '{"ticket_type": "ID", "quantity": 1, "ticket_type": "ID"}',
            '{"session": "ID", "seats": ["A1"], "seats": ["A2"]}',
            '{"session": "ID", "session": "ID", "seats": ["A1"]}',
            '{"session": "ID", "seats": ["A1"], "payment": {"method": "fake", "token": "ok", "token": "declined"}}',
            '{"session": "ID", "seats": ["A1"], "payment": {"method": "fake", "token": "ok"}, "payment": {"method": "fake", "token": "ok"}}',
            '{"session": "ID", "seats": ["A1"], "lane_code": "x", "lane_code": "y"}',
        ],
    )
    def test_plain_body_is_not_taken_where_a_name_comes_twice(self, body: str) -> None:
        assert plain_wish(body.replace("ID", str(uuid4())).encode()) is None

    def test_plain_body_is_taken_where_it_is_plainly_right(self) -> None:
        said = {"ticket_type": str(uuid4()), "quantity": 1, "payment": PAYMENT}
        assert plain_wish(json.dumps(said).encode()) is not None
        assert plain_wish(json.dumps({"session": str(uuid4()), "seats": ["A1"]}).encode()) is not None
        whole = {"session": str(uuid4()), **said, "lane_code": "friends"}
        assert plain_wish(json.dumps(whole).encode()) is not None
