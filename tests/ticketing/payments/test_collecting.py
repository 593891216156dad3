"""Check the deadline for payment at the door."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, transaction
from django.test import Client

from base.clock import db_now
from realtime.models import Event
from reservations.staff.stock_forms import StockForm
from sessions_app.models import Session, TicketType
from sessions_app.new_prices import NewTicketType, check_rules
from tests.api import assert_problem, client_of, get, post
from tests.factories import StockFactory, UserFactory
from tests.race.racing import race
from tests.ticketing.letters.test_mail import event
from tests.ticketing.test_paying_at_the_door import assert_sound, books, order, scan
from ticketing.letters import mail
from ticketing.models import Collection, Refund, Sale, Ticket, User
from ticketing.payments import refunds
from ticketing.payments.collecting import give_uncollected_back
from ticketing.people.roles import ensure_groups

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]


@pytest.fixture
def kind(transactional_db: None) -> TicketType:
    """Make a ticket type at 90.00, to be paid at the door an hour before the start, which is in two hours."""
    made: TicketType = StockFactory.create(capacity=5, pay_at_door=True, collect_minutes=60)
    start(made, in_minutes=120)
    return made


@pytest.fixture
def gabi(transactional_db: None) -> User:
    """Make a member of the gate's staff."""
    user: User = UserFactory.create(username="gabi", is_staff=True)
    user.groups.add(ensure_groups()["gate"])
    return user


def start(kind: TicketType, *, in_minutes: float) -> None:
    starts_at = db_now() + dt.timedelta(minutes=in_minutes)
    Session.objects.filter(pk=kind.session_id).update(starts_at=starts_at, ends_at=starts_at + dt.timedelta(hours=2))


def left(kind: TicketType) -> int | None:
    return TicketType.objects.get(pk=kind.pk).available


class TestSweep:
    def test_sweep_leaves_all_as_it_is_before_the_deadline(self, ana: UUID, kind: TicketType) -> None:
        order(ana, kind, 2)
        start(kind, in_minutes=61)
        assert give_uncollected_back() == 0
        assert (left(kind), Sale.objects.get().status, Refund.objects.count()) == (3, "due", 0)

    def test_sweep_gives_the_places_back_at_the_deadline(self, ana: UUID, kind: TicketType, gabi: User) -> None:
        sale = order(ana, kind, 2)["sale"]
        start(kind, in_minutes=60)
        assert (give_uncollected_back(), give_uncollected_back()) == (1, 0)
        refund = Refund.objects.get()
        assert (refund.reason, refund.amount, refund.status) == ("not_collected", 0, "paid_back")
        assert (left(kind), set(Ticket.objects.values_list("status", "due"))) == (5, {("void", 0)})
        assert books() == {"revenue": -18_000, "refunds": 18_000}
        told = Event.objects.get(name="sale.refunded")
        assert (told.facts["reason"], told.cause) == ("not_collected", "job:give_uncollected_back")
        assert get(client_of(ana), f"/sales/{sale['id']}").json()["status"] == "refunded"
        assert_problem(scan(gabi, Ticket.objects.earliest("id"), paid=True), 409, "ticket_void")
        assert_sound()

    def test_sweep_leaves_what_was_collected(self, ana: UUID, kind: TicketType, gabi: User) -> None:
        order(ana, kind, 3)
        first = Ticket.objects.earliest("id")
        scan(gabi, first, paid=True)
        start(kind, in_minutes=59)
        assert give_uncollected_back() == 1
        assert list(Ticket.objects.order_by("id").values_list("status", flat=True)) == ["used", "void", "void"]
        assert (left(kind), Sale.objects.get().payment.status) == (4, "captured")
        assert books() == {"cash": 9_000, "revenue": -27_000, "refunds": 18_000}
        assert_sound()

    def test_sweep_leaves_what_has_no_deadline_or_is_over_or_was_paid(self, ana: UUID, kind: TicketType) -> None:
        order(ana, kind, payment={"method": "fake", "token": "ok"})
        order(ana, kind)
        start(kind, in_minutes=-121)
        assert give_uncollected_back() == 0
        start(kind, in_minutes=30)
        TicketType.objects.filter(pk=kind.pk).update(collect_minutes=None)
        assert give_uncollected_back() == 0
        TicketType.objects.filter(pk=kind.pk).update(collect_minutes=60)
        assert give_uncollected_back() == 1
        assert sorted(Ticket.objects.values_list("status", flat=True)) == ["valid", "void"]

    def test_sweep_goes_on_where_the_last_one_ended(self, kind: TicketType) -> None:
        for _buyer in range(3):
            order(uuid4(), kind)
        start(kind, in_minutes=30)
        assert [give_uncollected_back(limit=2) for _round in range(3)] == [2, 1, 0]
        assert left(kind) == 5

    def test_sweep_and_a_gate_that_takes_the_money_leave_one_winner(
        self, ana: UUID, kind: TicketType, gabi: User
    ) -> None:
        for _round in range(4):
            Session.objects.update(max_per_buyer=100)
            start(kind, in_minutes=120)
            order(ana, kind)
            start(kind, in_minutes=30)
            ticket = Ticket.objects.latest("id")
            both: list[Callable[[], Any]] = [partial(scan, gabi, ticket, paid=True), give_uncollected_back]
            scanned, swept = list[Any](race(both))
            ticket.refresh_from_db()
            assert (scanned.status_code, swept, ticket.status) in {(200, 0, "used"), (409, 1, "void")}
            assert Collection.objects.filter(ticket=ticket).count() == (ticket.status == "used")
            assert_sound()


class TestSelling:
    def test_sale_asks_for_a_payment_after_the_deadline(self, ana: UUID, kind: TicketType) -> None:
        TicketType.objects.filter(pk=kind.pk).update(holds=False)
        start(kind, in_minutes=59)
        body = {"ticket_type": str(kind.pk), "quantity": 1}
        assert_problem(post(client_of(ana), "/orders", body, idempotency_key=uuid4().hex), 400, "payment_needed")
        assert order(ana, kind, payment={"method": "fake", "token": "ok"})["status"] == "COMPLETED"

    def test_sale_ends_orders_that_stand_by_to_pay_at_the_door(self, ana: UUID, bruno: UUID, kind: TicketType) -> None:
        Session.objects.filter(pk=kind.session_id).update(standby=True, max_per_buyer=10)
        bought = order(ana, kind, 5, payment={"method": "fake", "token": "ok"})
        waiting = order(bruno, kind)
        assert waiting["standby"]
        start(kind, in_minutes=59)
        refunds.ask_refund(sale_id=UUID(bought["sale"]["id"]), buyer=None)
        ended = get(client_of(bruno), f"/orders/{waiting['id']}").json()
        assert (ended["status"], ended["reason"]) == ("FAILED", "payment_needed")


class TestTelling:
    def test_letter_names_the_deadline_before_and_says_afterwards_that_it_passed(
        self, client: Client, kind: TicketType, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        assert "You may pay at the door, by " in client.get(f"/sessions/{kind.session_id}").content.decode()
        form = {f"places.{kind.pk}": "2", "method": "door", "email": "ana@example.com"}
        placed = client.post(f"/sessions/{kind.session_id}/order", form)
        sale = Sale.objects.get()
        for page in (placed["Location"], f"/sales/{sale.pk}"):
            assert "Pay at the door by " in client.get(page).content.decode()
            assert "Pague na entrada até " in client.get(page, headers={"accept-language": "pt-BR"}).content.decode()
        ticket = client.get(f"/tickets/{Ticket.objects.earliest('id').pk}").content.decode()
        assert '<span class="small">by ' in ticket
        mail.send_for(event("reservation.confirmed"))
        assert "Pay at the door by " in mailoutbox[-1].body
        start(kind, in_minutes=30)
        give_uncollected_back()
        mail.send_for(event("sale.refunded"))
        assert mailoutbox[-1].to == ["ana@example.com"]
        assert "The tickets were not collected and paid for at the door in time" in mailoutbox[-1].body
        assert "Pay at the door by " not in client.get(f"/sales/{sale.pk}").content.decode()

    def test_letter_tells_the_holder_of_a_ticket_that_was_passed_on(
        self, ana: UUID, kind: TicketType, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        holder: User = UserFactory.create(username="bia", email="bia@example.com")
        order(ana, kind)
        Ticket.objects.update(holder=holder.pk)
        start(kind, in_minutes=30)
        give_uncollected_back()
        mail.send_for(event("ticket.voided"))
        assert "was not paid for at the door in time" in mailoutbox[-1].body


class TestSetting:
    def test_deadline_is_for_what_is_paid_at_the_door_only(self, kind: TicketType) -> None:
        constraint = "ticket_type_only_door_sales_have_a_collecting_deadline"
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            TicketType.objects.filter(pk=kind.pk).update(pay_at_door=False)
        with pytest.raises(ValidationError, match="cannot have a deadline for collecting"):
            check_rules(NewTicketType(name="Pista", capacity=5, collect_minutes=60))

    def test_admin_names_the_field_with_a_wrong_deadline(self, kind: TicketType) -> None:
        filled = {"session": kind.session_id, "name": "Pista", "price": 9_000, "total": 5, "holds": True}
        form = StockForm({**filled, "collect_minutes": 60}, instance=kind)
        assert list(form.errors) == ["collect_minutes"]
        form = StockForm({**filled, "collect_minutes": 30, "pay_at_door": True}, instance=kind)
        assert form.is_valid(), form.errors
        form.keep()
        told = get(client_of(uuid4()), f"/ticket-types?session={kind.session_id}").json()
        assert next(row["collect_minutes"] for row in told["results"] if row["id"] == str(kind.pk)) == 30
