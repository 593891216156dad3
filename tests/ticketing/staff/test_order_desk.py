"""Check orders at the box office: the list, the history, taking up, placing again, cancelling."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db.models import F
from django.test import Client
from django.urls import reverse

from reservations import orders
from reservations.admission import sale_facts
from reservations.models import Reservation, Status
from sessions_app.models import Session, TicketType
from tests.conftest import forget_redis
from tests.factories import StockFactory
from tests.support.pages import forms_in
from tests.ticketing.pages.test_order_pages import order
from tests.ticketing.staff.test_desk import Staff, beto, staff
from tests.ticketing.test_paying import silence
from ticketing.models import Payment, PaymentStatus, Refund, Sale
from ticketing.orders import care
from ticketing.orders import orders as paying
from ticketing.payments.gateways import fake
from ticketing.payments.steps import SILENT
from ticketing.staff import order_admin

__all__ = ["beto", "staff"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "admin:ticketing_order_changelist"


@pytest.fixture
def stock(transactional_db: None) -> TicketType:
    made: TicketType = StockFactory.create(capacity=5)
    return made


@pytest.fixture
def nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose the messages of orders."""
    monkeypatch.setattr(orders, "pay_in_process", None)


def page_of(order_id: UUID) -> str:
    return reverse("admin:ticketing_order_change", args=[order_id])


def looked_at(client: Client, order_id: UUID) -> str:
    answer = client.get(page_of(order_id))
    assert answer.status_code == 200, answer
    return " ".join(answer.content.decode().split())


def does(client: Client, order_id: UUID, action: str, **fields: str) -> str:
    """Press the button, and with `confirmed` that of the question too, and return the message."""
    if fields.get("confirmed"):
        asked = client.post(page_of(order_id), {"action": action})
        if asked.status_code == 200:
            fields["confirmed"] = asked.context["stamp"]
    answer: Any = client.post(page_of(order_id), {"action": action, **fields})
    for form in forms_in(answer.content.decode(), page_of(order_id)):
        if action != "cancel" and "confirmed" in form.values:
            answer = client.post(form.action, form.values)
    assert answer.status_code == 302, answer.status_code
    return str(list(get_messages(answer.wsgi_request))[-1])


def failed(buyer: UUID, stock: TicketType, *, reason: str = "gateway_timeout") -> UUID:
    """Make an order whose gateway gave no answer, and whose attempt has ended."""
    lost = order(buyer, stock, token="declined")
    Payment.objects.filter(reservation=lost).update(status=PaymentStatus.FAILED, reason=reason)
    Reservation.objects.filter(pk=lost).update(payment={"method": "fake", "token": "ok", "email": "", "language": "en"})
    return lost


class TestTheList:
    def listed(self, client: Client, **query: str) -> set[str]:
        answer: Any = client.get(reverse(LIST), query)
        assert answer.status_code == 200
        return {str(row.pk) for row in answer.context["cl"].result_list}

    def test_list_is_for_staff_who_may_see_reservations(self, staff: Staff, ana: UUID, stock: TicketType) -> None:
        bought = order(ana, stock)
        assert staff("view_sale").get(reverse(LIST)).status_code == 403
        assert staff("view_sale").get(page_of(bought)).status_code == 403
        assert self.listed(staff("view_reservation")) == {str(bought)}

    def test_list_filters_and_finds(self, beto: Client, ana: UUID, bruno: UUID, stock: TicketType) -> None:
        bought, lost = str(order(ana, stock)), str(order(bruno, stock, token="declined"))
        number = str(Sale.objects.get().number)
        session = str(stock.session_id)
        assert self.listed(beto, state="COMPLETED") == {bought}
        assert self.listed(beto, state="FAILED") == self.listed(beto, why="payment_declined") == {lost}
        assert self.listed(beto, of=session) == {bought, lost}
        assert self.listed(beto, of=str(uuid.uuid4())) == set()
        assert self.listed(beto, q=lost) == self.listed(beto, q=str(bruno)) == {lost}
        assert self.listed(beto, q=number) == self.listed(beto, q=f"#{number}") == {bought}
        assert self.listed(beto, q="nonsense") == set()

    def test_list_counts_no_further_than_its_pages_reach(
        self,
        beto: Client,
        ana: UUID,
        stock: TicketType,
        monkeypatch: pytest.MonkeyPatch,
        django_assert_max_num_queries: Any,
    ) -> None:
        for _order in range(3):
            order(ana, stock)
        monkeypatch.setattr(order_admin, "COUNTED", 2)
        with django_assert_max_num_queries(12):
            answer: Any = beto.get(reverse(LIST))
        assert answer.context["cl"].result_count == 2


class TestThePage:
    def test_page_tells_what_happened_in_order(self, beto: Client, ana: UUID, stock: TicketType) -> None:
        shown = looked_at(beto, order(ana, stock))
        steps = ["Accepted, in the queue", "Places held", "Payment started", "Sold, tickets made", "Money taken"]
        places = [shown.index(step) for step in steps]
        assert places == sorted(places)
        assert reverse("admin:ticketing_sale_change", args=[Sale.objects.get().pk]) in shown
        assert reverse("admin:ticketing_payment_change", args=[Payment.objects.get().pk]) in shown

    def test_page_shows_no_other_orders_history(self, beto: Client, ana: UUID, bruno: UUID, stock: TicketType) -> None:
        bought, lost = order(ana, stock), order(bruno, stock, token="declined")
        assert "Payment declined" not in looked_at(beto, bought)
        shown = looked_at(beto, lost)
        assert "Payment declined" in shown
        assert "card_declined" in shown
        assert "Money taken" not in shown

    def test_page_of_an_unknown_order_is_not_found(self, beto: Client, ana: UUID) -> None:
        assert beto.get(page_of(uuid.uuid4())).status_code == 404
        assert beto.get(reverse(LIST) + "nonsense/change/").status_code == 404

    def test_page_offers_no_actions_to_staff_who_may_only_look(
        self, staff: Staff, ana: UUID, stock: TicketType, nobody_hears: None
    ) -> None:
        held = order(ana, stock)
        onlooker = staff("view_reservation")
        assert 'name="action"' not in looked_at(onlooker, held)
        assert onlooker.post(page_of(held), {"action": "retry"}).status_code == 403


class TestTakingUp:
    def test_taking_up_pays_an_order_whose_message_was_lost(
        self, beto: Client, ana: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(orders, "pay_in_process", None)
            held = order(ana, stock)
        assert "Try it again now" in looked_at(beto, held)
        assert "being tried again" in does(beto, held, "retry")
        assert Reservation.objects.get(pk=held).status == Status.CONFIRMED
        assert does(beto, held, "retry") == "There is nothing left to do for this order."
        assert Sale.objects.count() == 1
        assert "Box office" in looked_at(beto, held)

    def test_taking_up_brings_an_open_payment_to_its_end(
        self, beto: Client, ana: UUID, stock: TicketType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            for question in ("authorise", "authorise_all", "find", "void"):
                patch.setattr(fake, question, silence)
            waits = order(ana, stock)
        assert Reservation.objects.get(pk=waits).status == Status.PAYING
        does(beto, waits, "retry")
        assert Reservation.objects.get(pk=waits).status == Status.CONFIRMED
        assert Payment.objects.get().status == PaymentStatus.CAPTURED

    def test_taking_up_asks_the_gateway_after_an_attempt_it_never_spoke_of(
        self, beto: Client, ana: UUID, stock: TicketType
    ) -> None:
        lost = failed(ana, stock, reason=SILENT)
        does(beto, lost, "retry")
        assert Payment.objects.get().reason != SILENT


class TestPlacingAgain:
    def test_placing_again_makes_one_new_order_however_often(self, beto: Client, ana: UUID, stock: TicketType) -> None:
        lost = failed(ana, stock)
        assert "Place it again" in looked_at(beto, lost)
        assert "was placed again" in does(beto, lost, "again")
        does(beto, lost, "again")
        bought = Reservation.objects.get(status=Status.CONFIRMED)
        assert (bought.buyer, bought.quantity, bought.is_order) == (ana, 1, True)
        assert Sale.objects.count() == 1

    @pytest.mark.parametrize(
        ("payment", "order_row", "price", "obstacle"),
        [
            ({"status": PaymentStatus.DECLINED}, {}, None, "money"),
            ({"reason": SILENT}, {}, None, "money"),
            ({}, {"accepted_at": F("accepted_at") - dt.timedelta(hours=2)}, None, "too_old"),
            ({}, {}, 100, "price"),
        ],
        ids=["declined", "silent", "old", "dearer"],
    )
    def test_placing_again_is_refused_where_it_makes_no_sense(
        self,
        beto: Client,
        ana: UUID,
        stock: TicketType,
        payment: dict[str, Any],
        order_row: dict[str, Any],
        price: int | None,
        obstacle: str,
    ) -> None:
        lost = failed(ana, stock)
        Payment.objects.update(**payment)
        Reservation.objects.update(**order_row)
        if price is not None:
            TicketType.objects.update(price=price)
        with pytest.raises(care.CannotPlaceAgain, match=obstacle):
            care.place_again(order_id=lost)
        assert "Place it again" not in looked_at(beto, lost)
        assert "must place a new order" in does(beto, lost, "again")
        assert Reservation.objects.count() == 1

    def test_placing_again_says_that_nothing_is_left(self, beto: Client, ana: UUID, stock: TicketType) -> None:
        lost = failed(ana, stock)
        TicketType.objects.filter(pk=stock.pk).update(available=0)
        forget_redis()
        sale_facts.forget()
        assert (
            does(beto, lost, "again")
            == "Fewer places are left than you asked for. Ask for fewer places, or choose another session."
        )


class TestCancelling:
    def test_cancelling_asks_first_and_wants_a_reason(
        self, beto: Client, ana: UUID, stock: TicketType, nobody_hears: None
    ) -> None:
        held = order(ana, stock)
        assert b"Cancel this order?" in beto.post(page_of(held), {"action": "cancel"}).content
        assert "Give the reason" in does(beto, held, "cancel", confirmed="yes")
        stale = beto.post(page_of(held), {"action": "cancel", "confirmed": "yes", "reason": "Asked for"})
        assert "This has changed since you opened the question" in stale.content.decode()
        assert Reservation.objects.get().status == Status.HELD

    def test_cancelling_releases_a_hold(self, beto: Client, ana: UUID, stock: TicketType, nobody_hears: None) -> None:
        held = order(ana, stock)
        assert "cancelled" in does(beto, held, "cancel", confirmed="yes", reason="Asked for by telephone")
        ended = Reservation.objects.get()
        assert (ended.status, ended.reason) == (Status.CANCELLED, "box_office")
        assert TicketType.objects.get(pk=stock.pk).available == 5
        assert paying.sweep() == 0
        shown = looked_at(beto, held)
        assert "The box office cancelled the order" in shown
        assert "Asked for by telephone" in shown

    def test_cancelling_ends_what_stands_by(
        self, beto: Client, ana: UUID, stock: TicketType, nobody_hears: None
    ) -> None:
        Session.objects.filter(pk=stock.session_id).update(standby=True)
        _held, waits = order(ana, stock, quantity=5), order(uuid.uuid4(), stock)
        assert "number 1" in looked_at(beto, waits)
        does(beto, waits, "cancel", confirmed="yes", reason="Asked for by telephone")
        ended = Reservation.objects.get(pk=waits)
        assert (ended.status, ended.reason) == (Status.CANCELLED, "box_office")

    def test_cancelling_gives_the_money_back(self, beto: Client, ana: UUID, stock: TicketType) -> None:
        bought = order(ana, stock)
        asked = beto.post(page_of(bought), {"action": "cancel"})
        assert ("Money to be given back", "R$90.00") in asked.context["facts"]
        assert "on its way back" in does(beto, bought, "cancel", confirmed="yes", reason="Show moved")
        refund = Refund.objects.get()
        assert (refund.amount, refund.reason, refund.status) == (9_000, "Show moved", "paid_back")
        assert "Refund paid back" in looked_at(beto, bought)
        assert "there is nothing left to cancel" in does(beto, bought, "cancel", confirmed="")

    def test_cancelling_of_what_was_paid_needs_leave_to_give_money_back(
        self, staff: Staff, ana: UUID, stock: TicketType
    ) -> None:
        clerk = staff("view_reservation", "change_reservation")
        sent = {"action": "cancel", "confirmed": "yes", "reason": "x"}
        assert clerk.post(page_of(order(ana, stock)), sent).status_code == 403
        assert not Refund.objects.exists()

    def test_cancelling_of_what_ended_is_refused(self, beto: Client, ana: UUID, stock: TicketType) -> None:
        lost = order(ana, stock, token="declined")
        assert "there is nothing left to cancel" in does(beto, lost, "cancel", confirmed="yes", reason="x")
        assert not LogEntry.objects.exists()

    def test_cancelling_knows_no_other_action(self, beto: Client, ana: UUID, stock: TicketType) -> None:
        assert "The box office cannot do that" in does(beto, order(ana, stock), "sing")
