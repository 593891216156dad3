"""Check that a sale's status follows its tickets: free ones are refunded like all others."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from reservations.operations import holding
from sessions_app.models import Session
from tests.api import client_of, get
from tests.conftest import Hold
from tests.factories import ConcessionFactory, StockFactory, UserFactory
from tests.support.eyes import pages_of
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.models import Order, Payment, Sale, Ticket
from ticketing.payments import refunds, starting, steps
from ticketing.staff import order_desk

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def family(session: Session, hold: Hold, ana: uuid.UUID) -> Sale:
    """Sell Ana a ticket for an adult at 90.00 and one for a child, which is free."""
    return sold_to(ana, session, hold, adults=1, children=1)


def sold_to(buyer: uuid.UUID, session: Session, hold: Hold, *, adults: int, children: int) -> Sale:
    ConcessionFactory.create(session=session, percent_off=100)
    kind = StockFactory.create(session=session)
    held = hold(session, buyer=buyer, ticket_type=kind.pk, quantity=adults + children)
    holding.price(reservation_id=held.pk, buyer=buyer, concessions=[("Child", children)])
    held.refresh_from_db()
    if held.total:
        payment = pay(held)
    else:
        payment = starting.start_payment(reservation_id=held.pk, buyer=buyer)
        steps.finish_payment(payment_id=payment.pk)
    return Sale.objects.get(payment=payment)


def give_back(sale: Sale, *tickets: Ticket) -> None:
    chosen = [ticket.pk for ticket in tickets] or None
    refund = refunds.ask_refund(sale_id=sale.pk, buyer=None, tickets=chosen)
    refunds.pay_back(refund_id=refund.pk)


def statuses(sale: Sale) -> set[Any]:
    """Return the status that the API, the sale itself and the admin's filter show."""
    fresh = Sale.objects.get(pk=sale.pk)
    told = get(client_of(sale.buyer), f"/sales/{sale.pk}").json()["status"]
    names = ("paid", "due", "partly_refunded", "refunded")
    return {told, fresh.status, *(name for name in names if Sale.objects.with_status(name).exists())}


class TestStatus:
    def test_free_sale_given_back_is_refunded(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        sale = sold_to(ana, session, hold, adults=0, children=2)
        assert statuses(sale) == {"paid"}
        give_back(sale, sale.tickets.earliest("id"))
        assert statuses(sale) == {"partly_refunded"}
        give_back(sale)
        assert statuses(sale) == {"refunded"}
        assert audit()["findings"] == []

    def test_sale_with_a_valid_free_child_is_partly_refunded(self, family: Sale) -> None:
        give_back(family, family.tickets.get(concession=""))
        assert statuses(family) == {"partly_refunded"}
        give_back(family)
        assert statuses(family) == {"refunded"}
        assert audit()["findings"] == []

    def test_sale_whose_free_child_was_given_back_is_partly_refunded(self, family: Sale) -> None:
        give_back(family, family.tickets.get(concession="Child"))
        assert statuses(family) == {"partly_refunded"}

    @pytest.mark.parametrize("child_first", [True, False])
    def test_sale_at_the_door_follows_its_tickets_too(self, family: Sale, child_first: bool) -> None:
        adult, child = family.tickets.get(concession=""), family.tickets.get(concession="Child")
        make_due(family, adult)
        assert statuses(family) == {"due"}
        for ticket in (child, adult) if child_first else (adult, child):
            assert statuses(family) <= {"due", "partly_refunded"}
            give_back(family, ticket)
        assert statuses(family) == {"refunded"}
        assert [row["check"] for row in audit()["findings"] if "ledger" not in row["check"]] == []  # type: ignore[attr-defined]

    @pytest.mark.parametrize("before", ["paid", "due", "partly_refunded", "refunded"])
    def test_sale_of_a_session_that_is_off_is_refunded_before_its_refund_is_promised(
        self, family: Sale, before: str
    ) -> None:
        if before == "due":
            make_due(family, family.tickets.get(concession=""))
        elif before == "partly_refunded":
            give_back(family, family.tickets.get(concession="Child"))
        elif before == "refunded":
            give_back(family)
        assert statuses(family) == {before}
        refunds.call_off(session_id=family.session_id)
        assert statuses(family) == {"refunded"}

    def test_lists_ask_once_for_the_tickets_of_all_sales(
        self, family: Sale, django_assert_max_num_queries: Any, client: Client
    ) -> None:
        client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
        with django_assert_max_num_queries(14):
            page = client.get(reverse("admin:ticketing_sale_changelist"), {"status": "paid"})
        assert f"{family.number}" in page.content.decode()
        none = client.get(reverse("admin:ticketing_sale_changelist"), {"status": "refunded"}).content.decode()
        assert f"/sale/{family.pk}" not in none


def make_due(sale: Sale, adult: Ticket) -> None:
    """Make the sale one that is paid at the door."""
    Payment.objects.filter(pk=sale.payment_id).update(status="due", method="door")
    Ticket.objects.filter(pk=adult.pk).update(due=adult.price)


class TestLikenesses:
    def test_order_of_a_free_sale_can_be_cancelled_until_it_is_given_back(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        sale = sold_to(ana, session, hold, adults=0, children=1)
        order = Order.objects.get(pk=sale.reservation_id)
        assert order_desk.is_cancellable(order, sale)
        give_back(sale)
        assert not order_desk.is_cancellable(order, Sale.objects.get())

    def test_pages_and_papers_cross_out_what_was_given_back(self, client: Client, family: Sale) -> None:
        UserFactory.create(id=family.buyer, username="ana")
        client.post("/sign-in", {"username": "ana", "password": "frontrow-demo"})
        give_back(family, family.tickets.get(concession=""))
        page = client.get(f"/sales/{family.pk}").content.decode()
        assert "Partly given back" in page
        assert page.count("qr.svg") == 1
        assert "Partly given back" in client.get("/my-tickets").content.decode()
        pdf = get(client_of(family.buyer), f"/sales/{family.pk}/tickets.pdf").content
        child = family.tickets.get(concession="Child")
        assert sorted(page.zxing for page in pages_of(pdf)) == [(), (child.signed_code,)]
        give_back(family)
        assert "Given back" in client.get("/my-tickets").content.decode()
