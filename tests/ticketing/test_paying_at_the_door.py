"""Sell now, and collect the money at the scan."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, transaction
from django.test import Client

from realtime.models import Event
from reservations.hold_request import AT_THE_DOOR, ORDER_SCOPE, Means
from reservations.models import Reservation
from reservations.operations.queued import allocate
from sessions_app.models import TicketType
from tests.api import assert_problem, client_of, get, post
from tests.factories import StockFactory, UserFactory
from tests.race.racing import race
from tests.reservations.test_holding import request_for
from tests.ticketing.letters.test_mail import event
from tests.ticketing.upkeep.test_audit import audit
from ticketing.letters import mail
from ticketing.models import Account, Collection, LedgerEntry, Payment, Refund, Sale, Ticket, User
from ticketing.payments import handing_out, refunds, sweeping
from ticketing.people.roles import ensure_groups

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]


@pytest.fixture
def kind(transactional_db: None) -> TicketType:
    """Make a ticket type at 90.00."""
    made: TicketType = StockFactory.create(capacity=5, pay_at_door=True)
    return made


@pytest.fixture
def gabi(transactional_db: None) -> User:
    """Make a member of the gate's staff."""
    user: User = UserFactory.create(username="gabi", is_staff=True)
    user.groups.add(ensure_groups()["gate"])
    return user


def order(buyer: UUID, kind: TicketType, quantity: int = 1, **more: Any) -> Any:
    body = {"ticket_type": str(kind.pk), "quantity": quantity, **more}
    placed = post(client_of(buyer), "/orders", body, idempotency_key=uuid4().hex)
    assert placed.status_code == 202, placed.json()
    return get(client_of(buyer), f"/orders/{placed.json()['id']}").json()


def scan(by: User, ticket: Ticket, **more: Any) -> Any:
    return post(client_of(by), "/checkins", {"code": ticket.code, "gate": "Door 2", **more})


def books() -> dict[str, int]:
    """Return the balance of each account, without those that are even."""
    sums: dict[str, int] = {}
    for account, amount in LedgerEntry.objects.values_list("account", "amount"):
        sums[account] = sums.get(account, 0) + amount
    return {account: amount for account, amount in sums.items() if amount}


def assert_sound() -> None:
    Event.objects.update(published_at="2030-01-01T00:00Z")
    assert audit()["findings"] == []


class TestSelling:
    def test_sale_completes_an_order_that_carries_no_payment(self, ana: UUID, kind: TicketType) -> None:
        bought = order(ana, kind, 2)
        assert bought["status"] == "COMPLETED"
        sale = bought["sale"]
        assert (sale["status"], sale["due"]["amount"], sale["total"]["amount"]) == ("due", 18_000, 18_000)
        assert (sale["payment"]["method"], sale["payment"]["status"]) == ("door", "due")
        assert [ticket["due"] for ticket in sale["tickets"]] == [9_000, 9_000]
        assert books() == {"due": 18_000, "revenue": -18_000}
        assert_sound()

    def test_sale_takes_a_card_all_the_same(self, ana: UUID, kind: TicketType) -> None:
        bought = order(ana, kind, payment={"method": "fake", "token": "ok"})
        assert (bought["sale"]["status"], bought["sale"]["due"]["amount"]) == ("paid", 0)
        assert Account.DUE not in books()

    def test_sale_asks_nothing_for_what_costs_nothing(self, ana: UUID, kind: TicketType) -> None:
        TicketType.objects.filter(pk=kind.pk).update(price=0)
        sale = order(ana, kind)["sale"]
        assert (sale["status"], sale["payment"]["method"]) == ("paid", "free")

    def test_sale_needs_no_hold(self, ana: UUID, kind: TicketType) -> None:
        TicketType.objects.filter(pk=kind.pk).update(holds=False)
        assert order(ana, kind)["status"] == "COMPLETED"

    def test_sale_is_decided_by_the_type_as_it_is_when_it_is_allocated(self, ana: UUID, kind: TicketType) -> None:
        """Check both versions of the facts: a web process with an older copy may have sent either."""
        plain = request_for(kind.session, buyer=ana, ticket_type=kind.pk, quantity=1, scope=ORDER_SCOPE)
        allocate([plain])
        assert Sale.objects.get().status == "due"
        TicketType.objects.filter(pk=kind.pk).update(pay_at_door=False)
        means = Means(method=AT_THE_DOOR)
        late = request_for(kind.session, buyer=ana, ticket_type=kind.pk, quantity=1, scope=ORDER_SCOPE, payment=means)
        allocate([late])
        assert Reservation.objects.get(pk=late.id).reason == "payment_needed"

    def test_sale_is_left_alone_by_the_sweep(self, ana: UUID, kind: TicketType) -> None:
        order(ana, kind)
        Payment.objects.update(changed_at="2020-01-01T00:00Z")
        assert sweeping.sweep_payments() == 0


class TestAtTheGate:
    @pytest.fixture
    def ticket(self, ana: UUID, kind: TicketType) -> Ticket:
        order(ana, kind, 2)
        return Ticket.objects.earliest("id")

    def test_gate_refuses_the_ticket_before_the_money_is_taken(self, gabi: User, ticket: Ticket) -> None:
        problem = assert_problem(scan(gabi, ticket), 409, "payment_due")
        assert problem["due"] == {"amount": 9_000, "currency": "BRL"}
        ticket.refresh_from_db()
        assert (ticket.status, ticket.due) == ("valid", 9_000)

    def test_gate_takes_the_money_and_checks_in_at_once(self, gabi: User, ticket: Ticket) -> None:
        assert scan(gabi, ticket, paid=True).status_code == 200
        made = Collection.objects.get()
        assert (made.ticket, made.amount, made.by, made.gate) == (ticket, 9_000, gabi, "Door 2")
        assert made.collected_at == Ticket.objects.get(pk=ticket.pk).used_at
        assert books() == {"cash": 9_000, "due": 9_000, "revenue": -18_000}
        assert Event.objects.get(name="ticket.paid").facts["amount"] == 9_000
        assert_problem(scan(gabi, ticket, paid=True), 409, "already_used")
        assert Sale.objects.get().status == "due"
        assert_sound()
        assert scan(gabi, Ticket.objects.latest("id"), paid=True).status_code == 200
        assert (Sale.objects.get().status, Payment.objects.get().status) == ("paid", "captured")
        assert books() == {"cash": 18_000, "revenue": -18_000}
        assert_sound()

    def test_money_is_taken_once_though_two_gates_scan_the_ticket(self, gabi: User, ticket: Ticket) -> None:
        answers: list[Any] = list(race([partial(scan, gabi, ticket, paid=True) for _gate in range(6)]))
        assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
        assert Collection.objects.count() == 1

    def test_gate_without_a_connection_reports_the_money_later(self, gabi: User, ticket: Ticket) -> None:
        listed = get(client_of(gabi), f"/sessions/{ticket.session_id}/door-list").json()["tickets"]
        assert [row["due"] for row in listed] == [{"amount": 9_000, "currency": "BRL"}] * 2
        said = {"scan": str(uuid4()), "seconds_ago": 600, "paid": True}
        assert [scan(gabi, ticket, **said).status_code for _again in range(2)] == [200, 200]
        assert Collection.objects.count() == 1

    def test_gate_asks_for_no_money_where_nothing_is_due(self, gabi: User, ticket: Ticket) -> None:
        scan(gabi, ticket, paid=True)
        assert (
            scan(gabi, Ticket.objects.latest("id"), session=str(uuid4()), paid=True).json()["code"] == "other_session"
        )
        assert Collection.objects.count() == 1

    def test_postgresql_refuses_an_unpaid_check_in(self, ticket: Ticket) -> None:
        for constraint, change in (
            ("ticket_used_is_paid", {"status": "used", "used_at": "2030-01-01T00:00Z"}),
            ("ticket_owes_no_more_than_its_price", {"due": 9_001}),
        ):
            with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
                Ticket.objects.filter(pk=ticket.pk).update(**change)
        with pytest.raises(IntegrityError, match="sale_gives_back_no_more_than_it_cost"), transaction.atomic():
            Sale.objects.update(waived=1, refunded=18_000)
        with pytest.raises(IntegrityError, match="collection_takes_something"), transaction.atomic():
            Collection.objects.create(ticket=ticket, amount=0, collected_at="2030-01-01T00:00Z")


class TestGivingBack:
    def test_refund_of_unpaid_tickets_returns_no_money(self, ana: UUID, kind: TicketType) -> None:
        sale = order(ana, kind, 2)["sale"]
        refund = refunds.ask_refund(sale_id=UUID(sale["id"]), buyer=ana)
        refunds.pay_back(refund_id=refund.pk)
        refund.refresh_from_db()
        assert (refund.amount, refund.status) == (0, "paid_back")
        assert books() == {"revenue": -18_000, "refunds": 18_000}
        told = get(client_of(ana), f"/sales/{sale['id']}").json()
        assert (told["status"], told["due"]["amount"], told["payment"]["status"]) == ("refunded", 0, "voided")
        assert TicketType.objects.get(pk=kind.pk).available == 5
        assert_sound()

    def test_refund_returns_what_was_collected(self, ana: UUID, kind: TicketType, gabi: User) -> None:
        sale = order(ana, kind, 3)["sale"]
        first, second, third = Ticket.objects.order_by("id")
        scan(gabi, first, paid=True)
        refund = refunds.ask_refund(sale_id=UUID(sale["id"]), buyer=None, tickets=[first.pk, second.pk])
        assert refund.amount == 9_000
        refunds.pay_back(refund_id=refund.pk)
        assert Refund.objects.get().status == "to_hand_out"
        handing_out.hand_out(refund_id=refund.pk, by=gabi)
        assert_sound()
        assert Sale.objects.get().status == "partly_refunded"
        scan(gabi, third, paid=True)
        assert Payment.objects.get().status == "captured"
        assert books() == {"cash": 9_000, "revenue": -27_000, "refunds": 18_000}
        assert_sound()

    def test_refund_is_made_for_all_when_the_session_is_called_off(self, ana: UUID, kind: TicketType) -> None:
        order(ana, kind, 2)
        refunds.call_off(session_id=kind.session_id)
        refunds.refund_everybody(session_id=kind.session_id, each=lambda refund: refunds.pay_back(refund_id=refund.pk))
        assert (refunds.progress(kind.session_id).is_over, Refund.objects.get().amount) == (True, 0)
        assert_sound()


class TestTelling:
    def test_pages_and_letter_say_that_payment_is_due_at_the_door(
        self, client: Client, kind: TicketType, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        page = client.get(f"/sessions/{kind.session_id}").content.decode()
        assert 'name="method" value="door"' in page
        form = {f"places.{kind.pk}": "2", "method": "door", "email": "ana@example.com"}
        placed = client.post(f"/sessions/{kind.session_id}/order", form)
        assert placed["Location"].startswith("/orders/"), placed
        sale = Sale.objects.get()
        shown = client.get(f"/sales/{sale.pk}").content.decode()
        assert "To pay at the door" in shown
        assert "R$180.00" in shown
        assert "To pay at the door" in client.get(f"/tickets/{Ticket.objects.earliest('id').pk}").content.decode()
        mail.send_for(event("reservation.confirmed"))
        (letter,) = mailoutbox
        assert letter.to == ["ana@example.com"]
        assert "To pay at the door: R$180.00" in letter.body
        refunds.ask_refund(sale_id=sale.pk, buyer=sale.buyer)
        mail.send_for(event("sale.refunded"))
        assert "They had cost nothing." in mailoutbox[-1].body
        assert "given back" in mailoutbox[-1].subject
