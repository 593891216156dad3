"""Sell at the counter, for cash or a card that the terminal charged."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.utils import timezone

from reservations.models import Reservation
from sessions_app.models import Seat, Session
from tests.api import assert_problem, client_of, post
from tests.conftest import Hold
from tests.factories import StockFactory, UserFactory
from tests.ticketing.letters.test_mail import event
from tests.ticketing.upkeep.test_audit import audit
from ticketing.letters import mail
from ticketing.models import LedgerEntry, Payment, Refund, Sale, User
from ticketing.payments import handing_out, refunds
from ticketing.people.roles import ensure_groups

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def beto(client: Client) -> User:
    """Sign the clerk in at the counter."""
    user: User = UserFactory.create(username="beto", is_staff=True)
    user.groups.add(ensure_groups()["boxoffice"])
    client.force_login(user)
    return user


def hold(client: Client, session: Session, **form: Any) -> Any:
    return client.post(f"/counter/{session.pk}", {"way": "seats", **form}, follow=True)


def take(client: Client, **form: str) -> Any:
    held = Reservation.objects.get(status="held")
    return client.post(f"/counter/holds/{held.pk}", {"action": "sell", "method": "cash", **form}, follow=True)


def text(answer: Any) -> str:
    return str(answer.content.decode())


class TestSelling:
    def test_sale_for_cash_has_tickets_and_a_receipt(self, client: Client, beto: User, session: Session) -> None:
        assert "R$50.00" in text(hold(client, session, seats="A1, A2"))
        page = text(take(client))
        sale = Sale.objects.get()
        assert (sale.payment.method, sale.payment.status, sale.total) == ("cash", "captured", 5000)
        assert [ticket.seat.label for ticket in sale.tickets.all() if ticket.seat] == ["A1", "A2"]
        for said in (str(sale.number), "Cash", "R$50.00", f'"/sales/{sale.pk}/tickets.pdf"', "Next customer"):
            assert said in page
        assert LogEntry.objects.get().user == beto
        assert sum(LedgerEntry.objects.filter(account="revenue").values_list("amount", flat=True)) == -5000
        assert audit()["sound"]

    def test_sale_by_card_notes_the_terminals_transaction(self, client: Client, beto: User, session: Session) -> None:
        hold(client, session, seats="A1")
        take(client, method="card", transaction="NSU-004211")
        assert Payment.objects.get().reference == "NSU-004211"
        assert "Card at the counter" in text(client.get(f"/sales/{Sale.objects.get().pk}"))

    @pytest.mark.parametrize("transaction", ["", "4111 1111 1111 1111", "4111111111111111", "?"])
    def test_sale_by_card_refuses_a_cards_number(
        self, client: Client, beto: User, session: Session, transaction: str
    ) -> None:
        hold(client, session, seats="A1")
        assert "This is not a transaction number" in text(take(client, method="card", transaction=transaction))
        assert not Payment.objects.exists()

    def test_counter_takes_the_best_seats_left(self, client: Client, beto: User, session: Session) -> None:
        hold(client, session, way="best", quantity="3")
        assert Reservation.objects.get().quantity == 3

    def test_counter_takes_places_without_a_number(self, client: Client, beto: User, session: Session) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        hold(client, session, way="stock", places=f"{stock.pk}:2")
        take(client)
        assert Sale.objects.get().total == 18000

    def test_counter_gives_the_customer_the_longest_hold(self, client: Client, beto: User, session: Session) -> None:
        hold(client, session, seats="A1")
        held = Reservation.objects.get()
        assert held.held_at
        assert held.expires_at == held.held_at + dt.timedelta(seconds=session.max_hold_seconds)

    def test_counter_counts_no_customer_for_the_one_before(self, client: Client, beto: User, session: Session) -> None:
        Session.objects.update(max_per_buyer=1)
        for seat in ("A1", "A2"):
            hold(client, session, seats=seat)
            take(client)
        assert len(set(Sale.objects.values_list("buyer", flat=True))) == 2

    def test_counter_says_which_seat_another_buyer_has(
        self, client: Client, beto: User, session: Session, hold: Hold, ana: UUID
    ) -> None:
        hold(session, "A1", buyer=ana)
        page = client.post(f"/counter/{session.pk}", {"way": "seats", "seats": "A1, A2"}, follow=True)
        assert "Choose other seats. A1" in text(page)

    def test_counter_says_which_seat_does_not_exist(self, client: Client, beto: User, session: Session) -> None:
        assert "Unknown: Z9" in text(hold(client, session, seats="A1 Z9"))

    def test_hold_at_the_counter_can_be_released(self, client: Client, beto: User, session: Session) -> None:
        hold(client, session, seats="A1")
        assert "Nothing was charged" in text(take(client, action="release"))
        assert Seat.objects.get(label="A1").status == "f"

    def test_expired_hold_at_the_counter_sells_nothing(self, client: Client, beto: User, session: Session) -> None:
        hold(client, session, seats="A1")
        past = timezone.now() - dt.timedelta(seconds=1)
        Reservation.objects.update(expires_at=past)
        Seat.objects.filter(label="A1").update(held_until=past)
        assert "no longer held" in text(take(client))
        assert not Payment.objects.exists()

    def test_counter_sends_receipt_and_tickets_by_mail(
        self, client: Client, beto: User, session: Session, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        hold(client, session, seats="A1")
        take(client, email="carla@example.com")
        mail.send_for(event("reservation.confirmed"))
        (letter,) = mailoutbox
        assert letter.to == ["carla@example.com"]
        ((name, content, kind),) = letter.attachments
        assert (name, kind) == (f"tickets-{Sale.objects.get().number}.pdf", "application/pdf")
        assert bytes(content).startswith(b"%PDF-")


class TestWhoMay:
    def test_only_the_box_office_may_use_the_counter(self, client: Client, session: Session) -> None:
        for page in ("/counter", f"/counter/{session.pk}"):
            assert Client().get(page)["Location"].startswith("/sign-in?next=")
        client.force_login(UserFactory())
        for page in ("/counter", f"/counter/{session.pk}"):
            assert client.get(page).status_code == 403
        assert client.post(f"/counter/{session.pk}", {"way": "seats", "seats": "A1"}).status_code == 403

    @pytest.mark.parametrize("method", ["cash", "card"])
    def test_cash_is_refused_over_the_api(self, session: Session, hold: Hold, ana: UUID, method: str) -> None:
        held = hold(session, "A1", buyer=ana)
        body = {"payment": {"method": method, "token": "1"}}
        assert_problem(post(client_of(ana), f"/reservations/{held.pk}/pay", body), 400, "invalid")
        assert not Payment.objects.exists()

    def test_no_webhook_speaks_for_the_counter(self, client: Client, db: None) -> None:
        for method in ("cash", "card"):
            assert client.post(f"/api/v1/webhooks/{method}", b"{}", "application/json").status_code in {400, 404}


class TestRefunds:
    def test_refund_is_handed_out_by_a_person(self, client: Client, beto: User, session: Session) -> None:
        hold(client, session, seats="A1")
        take(client)
        refund = refunds.ask_refund(sale_id=Sale.objects.get().pk, buyer=None, asked_by=beto.pk)
        refunds.pay_back(refund_id=refund.pk)
        assert Refund.objects.get().status == "to_hand_out"
        handing_out.hand_out(refund_id=refund.pk, by=beto)
        assert Refund.objects.get().status == "handed_out"
        assert sum(LedgerEntry.objects.filter(account="owed").values_list("amount", flat=True)) == 0
        assert audit()["sound"]
