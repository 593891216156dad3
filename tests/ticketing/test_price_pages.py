"""Show concessions, vouchers, fees and taxes: on pages without a script, in letters, on paper, at the gate."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives
from django.test import Client

from reservations.bodies import Line
from reservations.models import Reservation
from reservations.operations import holding
from reservations.pages import bill
from sessions_app.models import Concession, Session
from tests.api import client_of, get, post
from tests.conftest import Hold
from tests.factories import ConcessionFactory, StockFactory, UserFactory, VoucherFactory
from tests.ticketing.letters.test_mail import event
from tests.ticketing.pages.test_plain_forms import told
from tests.ticketing.test_paying import pay
from ticketing import identity, queries
from ticketing.letters import mail
from ticketing.models import Sale, Ticket
from ticketing.people.roles import ensure_groups
from ticketing.tickets import paper

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]


@pytest.fixture
def guest(client: Client, session: Session) -> uuid.UUID:
    client.get("/visitor")
    buyer = identity.buyer_of_cookie(client.cookies["buyer"].value)
    assert buyer is not None
    return buyer


@pytest.fixture
def child(session: Session) -> Concession:
    Session.objects.update(booking_fee=100, tax_basis_points=700)
    made: Concession = ConcessionFactory.create(session=session, note="a passport")
    return made


@pytest.fixture
def sale(session: Session, hold: Hold, guest: uuid.UUID, child: Concession) -> Sale:
    """Sell A1, and A2 for a child."""
    held = hold(session, "A1", "A2", buyer=guest)
    holding.price(reservation_id=held.pk, buyer=guest, concessions=[("A2", "Child")])
    held.refresh_from_db()
    pay(held)
    return Sale.objects.get()


def text(answer: Any) -> str:
    """Return the text of a page, without its tags."""
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", answer.content.decode()))


class TestReservation:
    def test_reservation_page_names_concessions_and_a_voucher_by_a_form(
        self, client: Client, session: Session, hold: Hold, guest: uuid.UUID, child: Concession
    ) -> None:
        voucher = VoucherFactory.create()
        page = f"/reservations/{hold(session, 'A1', 'A2', buyer=guest).pk}"
        shown = client.get(page).content.decode()
        assert 'name="concession:A2"' in shown
        assert "Child (50% off)" in shown
        assert "Child: at the door, show a passport" in shown
        assert f'action="{page}/price"' in shown
        form = {"concession:A1": "", "concession:A2": str(child.pk), "voucher": f" {voucher.code.lower()} "}
        now = text(client.post(f"{page}/price", form, follow=True))
        for said in ("seat 2 · Child", "R$16.25", "Booking fee R$2.00", "of which tax R$2.21", "R$35.75"):
            assert said in now
        assert Reservation.objects.get().total == 3575
        again = client.post(f"{page}/price", {"voucher": ""}, follow=True).content.decode()
        assert 'value=""' in again
        assert Reservation.objects.get().total == 5200

    def test_reservation_page_counts_concessions_of_unnumbered_places(
        self, client: Client, session: Session, hold: Hold, guest: uuid.UUID, child: Concession
    ) -> None:
        stock = StockFactory.create(session=session)
        page = f"/reservations/{hold(session, buyer=guest, ticket_type=stock.pk, quantity=3).pk}"
        shown = client.get(page).content.decode()
        assert f'name="count:{child.pk}"' in shown
        now = text(client.post(f"{page}/price", {f"count:{child.pk}": "2"}, follow=True))
        assert "Pista · Child" in now
        assert Reservation.objects.get().total == 9100 + 2 * 4600

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            ({"voucher": "nobody's"}, "There is no such voucher."),
            ({"voucher": "x" * 200}, "There is no such voucher."),
            ({"concession:A1": "Dog"}, "Unknown: Dog."),
            ({"concession:Z9": "Child"}, "Unknown: Z9."),
        ],
    )
    def test_reservation_page_says_what_is_wrong(
        self,
        client: Client,
        session: Session,
        hold: Hold,
        guest: uuid.UUID,
        child: Concession,
        form: dict[str, str],
        said: str,
    ) -> None:
        page = f"/reservations/{hold(session, 'A1', buyer=guest).pk}"
        assert said in told(client.post(f"{page}/price", form))
        assert Reservation.objects.get().total == 2600

    def test_reservation_page_of_another_buyer_is_not_found(
        self, client: Client, session: Session, hold: Hold, guest: uuid.UUID, ana: uuid.UUID
    ) -> None:
        assert client.post(f"/reservations/{hold(session, 'A1', buyer=ana).pk}/price", {}).status_code == 404


class TestSession:
    def test_session_page_says_what_comes_on_top_and_who_pays_less(
        self, client: Client, session: Session, child: Concession
    ) -> None:
        Session.objects.update(booking_fee_basis_points=750)
        StockFactory.create(session=session)
        page = text(client.get(f"/sessions/{session.pk}"))
        assert "We add a booking fee to the price of each ticket: R$1.00 + 7.5%." in page
        assert "Child (50% off)" in page
        assert "To use a concession or a voucher, hold the places first" in page


class TestOrder:
    def test_order_page_says_what_it_is_made_of(
        self, client: Client, session: Session, guest: uuid.UUID, child: Concession
    ) -> None:
        body = {"session": str(session.pk), "seats": ["A1"], "concessions": {"A1": "Child"}}
        body["payment"] = {"method": "fake", "token": "ok"}
        ordered = post(client_of(guest), "/orders", body, idempotency_key="one").json()["id"]
        page = text(client.get(f"/orders/{ordered}"))
        for said in ("A1 · Child R$25.00", "R$12.50", "Booking fee R$1.00", "R$13.50"):
            assert said in page


class TestCounter:
    def test_counter_page_names_concessions_and_a_voucher(
        self, client: Client, session: Session, child: Concession
    ) -> None:
        user = UserFactory.create(is_staff=True)
        user.groups.add(ensure_groups()["boxoffice"])
        client.force_login(user)
        VoucherFactory.create(code="SUMMER")
        client.post(f"/counter/{session.pk}", {"way": "seats", "seats": "A1, A2"})
        page = f"/counter/holds/{Reservation.objects.get().pk}"
        form = {"action": "price", "concession:A2": str(child.pk), "voucher": "summer"}
        now = text(client.post(page, form, follow=True))
        assert "Standard, A2 · Child" in now
        assert "R$35.75" in now
        wrong = client.post(page, {**form, "voucher": "nobodys"})
        assert told(wrong) == "There is no such voucher."
        client.post(page, {"action": "sell", "method": "cash"})
        assert Sale.objects.get().total == 3575


class TestSale:
    def test_sale_page_shows_who_paid_what_and_what_of_it_is_fee_and_tax(self, client: Client, sale: Sale) -> None:
        page = text(client.get(f"/sales/{sale.pk}"))
        for said in ("A2 · Child R$13.50", "A1 R$26.00", "of which booking fees R$2.00", "of which tax R$2.46"):
            assert said in page
        assert "Child R$13.50" in text(client.get("/my-tickets"))

    def test_sale_page_says_so_in_the_letter_and_on_paper(
        self, sale: Sale, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        Sale.objects.update(email="ana@example.org")
        mail.send_for(event("reservation.confirmed"))
        body = str(mailoutbox[0].body)
        assert "Standard · Child · R$13.50" in body
        assert "of which tax: R$2.46" in body
        assert paper.tickets_pdf(queries.find_sale(sale.pk, buyer=None)).startswith(b"%PDF")

    def test_sale_page_tells_programs(self, sale: Sale, guest: uuid.UUID) -> None:
        body = get(client_of(guest), f"/sales/{sale.pk}").json()
        assert [ticket["concession"] for ticket in body["tickets"]] == [None, "Child"]


class TestGate:
    def test_gate_page_asks_for_what_entitles_to_the_concession(self, sale: Sale, session: Session) -> None:
        gate = UserFactory.create()
        gate.groups.add(ensure_groups()["gate"])
        let_in = {
            ticket.concession: post(client_of(gate), "/checkins", {"code": ticket.code}).json()["concession"]
            for ticket in Ticket.objects.all()
        }
        assert let_in == {"": None, "Child": {"name": "Child", "note": "a passport"}}
        listed = get(client_of(gate), f"/sessions/{session.pk}/door-list").json()["tickets"]
        assert sorted((str(row["concession"]), row["note"]) for row in listed) == [
            ("Child", "a passport"),
            ("None", ""),
        ]

    def test_gate_page_asks_in_the_words_of_when_it_was_sold(self, sale: Sale, session: Session) -> None:
        session.concessions.update(name="Under twelve", note="a school card")
        gate = UserFactory.create()
        gate.groups.add(ensure_groups()["gate"])
        child = Ticket.objects.exclude(concession="").get()
        listed = get(client_of(gate), f"/sessions/{session.pk}/door-list").json()["tickets"]
        assert {(row["concession"], row["note"]) for row in listed} == {("Child", "a passport"), (None, "")}
        let_in = post(client_of(gate), "/checkins", {"code": child.code}).json()
        assert let_in["concession"] == {"name": "Child", "note": "a passport"}


class TestBill:
    LINE: Line = {"seat": "A1", "ticket_type": "t", "name": "Inteira", "price": {"amount": 2500, "currency": "BRL"}}

    def test_bill_says_nothing_more_than_the_total_where_there_is_nothing_more(self) -> None:
        plain = bill.of([self.LINE])
        assert plain is not None
        assert not plain.has_parts
        assert bill.of([]) is None
