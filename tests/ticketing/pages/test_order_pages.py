from __future__ import annotations

import re
import uuid
from uuid import UUID

import pytest
from django.test import Client

from reservations import orders
from reservations.admission import front_door
from reservations.hold_request import ORDER_SCOPE, Ask, Means
from reservations.models import Reservation
from reservations.queueing.queues import InProcessQueue
from sessions_app.models import Session, TicketType
from tests.factories import StockFactory, UserFactory
from ticketing import identity
from ticketing.models import Sale
from ticketing.pages import order_pages

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stock(transactional_db: None) -> TicketType:
    made: TicketType = StockFactory.create(capacity=3)
    return made


@pytest.fixture
def guest(client: Client, stock: TicketType) -> UUID:
    """Return the buyer of the client's browser."""
    client.get("/visitor")
    buyer = identity.buyer_of_cookie(client.cookies["buyer"].value)
    assert buyer is not None
    return buyer


@pytest.fixture
def nobody_allocates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InProcessQueue, "publish", lambda _line, _requests: None)


def order(buyer: UUID, stock: TicketType, *, token: str | None = "ok", quantity: int = 1) -> UUID:
    ask = Ask(
        session=stock.session_id,
        ticket_type=stock.pk,
        quantity=quantity,
        scope=ORDER_SCOPE,
        key=uuid.uuid4().hex,
        payment=Means(method="fake", token=token) if token else None,
    )
    return front_door.admit(ask, buyer=buyer).id


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer
    return " ".join(answer.content.decode().split())


REFRESH = '<noscript><meta http-equiv="refresh"'


class TestOrder:
    def test_order_of_a_purchase_leads_to_the_tickets(self, client: Client, guest: UUID, stock: TicketType) -> None:
        bought = order(guest, stock, quantity=2)
        shown = page(client, f"/orders/{bought}")
        assert f'href="/sales/{Sale.objects.get().pk}"' in shown
        assert "Your order is complete: the tickets are yours." in shown
        assert "2 \N{MULTIPLICATION SIGN} Pista" in shown
        assert "R$180.00" in shown
        assert REFRESH not in shown

    @pytest.mark.usefixtures("nobody_allocates")
    def test_queued_order_reloads_its_page_and_can_be_cancelled(
        self, client: Client, guest: UUID, stock: TicketType
    ) -> None:
        waits = order(guest, stock)
        shown = page(client, f"/orders/{waits}")
        assert "Your order is in the queue." in shown
        assert REFRESH in shown
        assert client.post(f"/orders/{waits}/give-up")["Location"] == f"/orders/{waits}"

    @pytest.mark.usefixtures("nobody_allocates")
    def test_order_tells_how_many_come_before_it(
        self, client: Client, guest: UUID, bruno: UUID, stock: TicketType
    ) -> None:
        _first, _second, waits = order(bruno, stock), order(bruno, stock), order(guest, stock)
        assert 'data-part="ahead"></p>' in page(
            client, f"/orders/{waits}"
        )  # nothing of its epoch is allocated, so it is not known
        arrival = client.get(f"/api/v1/orders/{waits}").json()["arrival"]
        Session.objects.filter(pk=stock.session_id).update(arrival_high=arrival - 2)
        assert 'data-part="ahead">1 request is before yours.' in page(client, f"/orders/{waits}")
        assert client.get(f"/api/v1/orders/{waits}").json()["place_in_line"] == 2
        Session.objects.filter(pk=stock.session_id).update(arrival_high=arrival - 1)
        assert 'data-part="ahead">You are next.' in page(client, f"/orders/{waits}")

    def test_order_that_stands_by_says_so_and_how_many_come_before_it(
        self, client: Client, guest: UUID, bruno: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(orders, "pay_in_process", None)
        Session.objects.filter(pk=stock.session_id).update(standby=True)
        _held, _first, waits = (order(buyer, stock, quantity=3) for buyer in (bruno, bruno, guest))
        shown = page(client, f"/orders/{waits}")
        assert "You are on standby" in shown
        assert "You are on standby, number 2." in shown
        assert 'data-part="ahead">1 request is before yours.' in shown
        client.post(f"/orders/{waits}/give-up")
        assert "You cancelled the order" in page(client, f"/orders/{waits}")

    def test_order_of_a_declined_card_says_what_to_do(self, client: Client, guest: UUID, stock: TicketType) -> None:
        shown = page(client, f"/orders/{order(guest, stock, token='declined')}")
        assert "The payment was declined. Nothing was charged" in shown
        assert "Order again with another card." in shown
        assert f'href="/sessions/{stock.session_id}">Choose again' in shown
        assert REFRESH not in shown

    def test_order_that_brought_no_payment_leads_to_paying(
        self, client: Client, guest: UUID, stock: TicketType
    ) -> None:
        held = order(guest, stock, token=None)
        assert f'href="/reservations/{held}">Pay' in page(client, f"/orders/{held}")

    def test_order_whose_money_is_being_taken_asks_for_none(
        self, client: Client, guest: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(orders, "pay_in_process", None)
        held = order(guest, stock)
        shown = page(client, f"/orders/{held}")
        assert "We are getting your tickets" in shown
        assert f'href="/reservations/{held}"' not in shown

    def test_order_is_not_found_for_other_buyers(self, client: Client, guest: UUID, stock: TicketType) -> None:
        bought = order(guest, stock)
        stranger = Client()
        assert stranger.get(f"/orders/{bought}").status_code == 404
        stranger.get(f"/sessions/{stock.session_id}")
        assert stranger.get(f"/orders/{bought}").status_code == 404
        assert stranger.post(f"/orders/{bought}/give-up").status_code == 404
        assert client.get(f"/orders/{uuid.uuid4()}").status_code == 404
        clerk = Client()
        clerk.force_login(UserFactory(is_staff=True))
        assert clerk.get(f"/orders/{bought}").status_code == 200


class TestOrders:
    def test_orders_are_listed_newest_first_page_by_page(
        self, client: Client, guest: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(order_pages, "LISTED", 2)
        made = [str(order(guest, stock)) for _order in range(3)]
        first = page(client, "/orders")
        assert re.findall('data-order="([^"]+)"', first) == made[:0:-1]
        older = re.search(r'href="(\?before=[^"]+)"', first)
        assert older
        last = page(client, f"/orders{older[1]}")
        assert re.findall('data-order="([^"]+)"', last) == made[:1]
        assert 'href="?before=' not in last

    def test_orders_begin_with_what_stands_in_the_queue(
        self, client: Client, guest: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bought = order(guest, stock)
        monkeypatch.setattr(InProcessQueue, "publish", lambda _line, _requests: None)
        waits = order(guest, stock)
        assert re.findall('data-order="([^"]+)"', page(client, "/orders")) == [str(waits), str(bought)]
        assert f'href="/orders/{waits}"' in page(client, "/my-tickets")

    def test_orders_tell_failures_and_leave_out_holds(self, client: Client, guest: UUID, stock: TicketType) -> None:
        order(guest, stock, token="declined")
        front_door.admit(Ask(session=stock.session_id, ticket_type=stock.pk, quantity=1), buyer=guest)
        listed = page(client, "/orders")
        assert listed.count("data-order=") == 1
        assert "The payment was declined" in listed

    @pytest.mark.parametrize("query", ["", "?before=nonsense"])
    def test_new_visitor_has_no_orders(self, query: str) -> None:
        assert "No orders yet" in page(Client(), f"/orders{query}")

    def test_a_hold_leads_to_where_it_is_paid_and_an_order_to_its_own_page(
        self, client: Client, guest: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(orders, "pay_in_process", None)
        carries, pays_later = order(guest, stock), order(guest, stock, token=None)
        shown = page(client, "/my-tickets")
        assert f'href="/orders/{carries}"' in shown
        assert f'href="/reservations/{pays_later}"' in shown
        assert Reservation.objects.count() == 2
