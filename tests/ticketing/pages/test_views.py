from __future__ import annotations

import uuid

import pytest
from django.test import Client

from sessions_app.models import Session
from tests import factories
from tests.conftest import Hold
from ticketing import identity
from ticketing.models import Sale, User
from ticketing.payments import starting, steps

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "sessao-da-meia-noite"


@pytest.fixture
def guest(client: Client, session: Session) -> uuid.UUID:
    """Return the buyer of the client's browser."""
    client.get("/visitor")
    return buyer_of(client)


def buyer_of(client: Client) -> uuid.UUID:
    buyer = identity.buyer_of_cookie(client.cookies["buyer"].value)
    assert buyer is not None
    return buyer


@pytest.fixture
def sale(guest: uuid.UUID, session: Session, hold: Hold) -> Sale:
    held = hold(session, "A1", "A2", buyer=guest)
    payment = starting.start_payment(reservation_id=held.pk, buyer=guest, method="fake", token="ok")
    steps.finish_payment(payment_id=payment.pk)
    return Sale.objects.get(reservation=held)


class TestSale:
    def test_sale_shows_each_ticket_with_its_code(self, client: Client, sale: Sale) -> None:
        page = client.get(f"/sales/{sale.pk}").content.decode()
        for ticket in sale.tickets.all():
            assert f'"/tickets/{ticket.pk}/qr.svg"' in page
        assert str(sale.number) in page
        assert "R$50.00" in page

    def test_sale_is_where_a_paid_reservation_leads(self, client: Client, sale: Sale) -> None:
        assert client.get(f"/reservations/{sale.reservation_id}").headers["Location"] == f"/sales/{sale.pk}"

    def test_sale_is_not_found_for_other_buyers(self, sale: Sale) -> None:
        stranger = Client()
        assert stranger.get(f"/sales/{sale.pk}").status_code == 404
        stranger.get(f"/sessions/{sale.session_id}")
        assert stranger.get(f"/sales/{sale.pk}").status_code == 404

    def test_sale_opens_for_staff(self, sale: Sale) -> None:
        clerk = Client()
        clerk.force_login(factories.UserFactory(is_staff=True, is_superuser=True))
        assert clerk.get(f"/sales/{sale.pk}").status_code == 200


class TestTicket:
    def test_ticket_stands_alone_on_its_page(self, client: Client, sale: Sale) -> None:
        first, second = sale.tickets.all()
        page = client.get(f"/tickets/{first.pk}").content.decode()
        assert str(first.pk) in page
        assert str(second.pk) not in page

    def test_ticket_is_not_found_for_other_buyers(self, sale: Sale) -> None:
        ticket = sale.tickets.all()[0]
        assert Client().get(f"/tickets/{ticket.pk}").status_code == 404


class TestPurchases:
    def test_purchases_list_sales_and_holds(
        self, client: Client, guest: uuid.UUID, sale: Sale, session: Session, hold: Hold
    ) -> None:
        held = hold(session, "C1", buyer=guest)
        page = client.get("/my-tickets").content.decode()
        assert f"/sales/{sale.pk}" in page
        assert f"/reservations/{held.pk}" in page

    def test_purchases_are_empty_for_a_new_visitor(self, client: Client) -> None:
        assert "No tickets yet" in client.get("/my-tickets").content.decode()


class TestAccount:
    def register(self, client: Client, name: str = "ana", **more: str) -> None:
        fields = {"username": name, "password1": PASSWORD, "password2": PASSWORD} | more
        client.post("/register", fields)

    def test_registering_signs_in_and_keeps_what_the_guest_bought(self, client: Client, sale: Sale) -> None:
        self.register(client)
        ana = User.objects.get(username="ana")
        assert buyer_of(client) == ana.pk
        assert f"/sales/{sale.pk}" in client.get("/my-tickets").content.decode()

    def test_signing_in_keeps_what_the_guest_bought(self, client: Client, sale: Sale) -> None:
        factories.UserFactory(username="bruno")
        answer = client.post("/sign-in", {"username": "bruno", "password": "frontrow-demo", "next": "/my-tickets"})
        assert answer.headers["Location"] == "/my-tickets"
        assert f"/sales/{sale.pk}" in client.get("/my-tickets").content.decode()

    def test_signing_out_leaves_nothing_behind(self, client: Client, sale: Sale) -> None:
        self.register(client)
        client.post("/sign-out")
        assert "No tickets yet" in client.get("/my-tickets").content.decode()

    def test_signing_out_takes_a_post(self, client: Client) -> None:
        assert client.get("/sign-out").status_code == 405

    def test_a_wrong_password_is_said(self, client: Client) -> None:
        factories.UserFactory(username="bruno")
        answer = client.post("/sign-in", {"username": "bruno", "password": "wrong"})
        assert answer.status_code == 200
        assert 'role="alert"' in answer.content.decode()

    def test_a_poor_password_is_refused(self, client: Client) -> None:
        self.register(client, password1="12345678", password2="12345678")
        assert not User.objects.filter(username="ana").exists()

    @pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example/", "javascript:alert(1)"])
    def test_a_visitor_is_never_sent_to_another_site(self, client: Client, elsewhere: str) -> None:
        factories.UserFactory(username="bruno")
        answer = client.post("/sign-in", {"username": "bruno", "password": "frontrow-demo", "next": elsewhere})
        assert answer.headers["Location"] == "/"

    def test_a_form_without_its_token_is_refused(self) -> None:
        strict = Client(enforce_csrf_checks=True)
        answer = strict.post("/register", {"username": "ana", "password1": PASSWORD, "password2": PASSWORD})
        assert answer.status_code == 403
        assert "Nothing was done" in answer.content.decode()


class TestLanguage:
    def test_the_switch_is_remembered_and_leads_back(self, client: Client) -> None:
        answer = client.post("/language", {"language": "pt-br", "next": "/my-tickets"})
        assert answer.headers["Location"] == "/my-tickets"
        assert "Meus ingressos" in client.get("/my-tickets").content.decode()
