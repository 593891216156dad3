"""Refund sales and single tickets, by staff and by buyers in time. Places are on sale again, money goes back once."""

from __future__ import annotations

import datetime as dt
import uuid
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from realtime.models import Event
from reservations.claims import claims, keys
from reservations.models import Reservation, Status
from reservations.operations import holding
from reservations.refusals import PaymentInProgress
from sessions_app.models import Seat, Session
from tests.api import assert_problem, client_of, post
from tests.conftest import Hold
from tests.factories import ConcessionFactory, StockFactory, UserFactory
from tests.support.pages import confirmed
from tests.ticketing.pages.test_views import buyer_of
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.models import LedgerEntry, Payment, Refund, Sale, SandboxCharge, SandboxRefund, Ticket, User
from ticketing.payments import gateways, refunds, starting, steps
from ticketing.payments.gateways import GatewayTimeout, RefundRefused, fake
from ticketing.refusals import NothingToRefund, RefundClosed, UnknownMethod

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sale(session: Session, hold: Hold, ana: uuid.UUID) -> Sale:
    """Sell A1 and A2 to Ana at 25.00 each."""
    pay(hold(session, "A1", "A2", buyer=ana))
    return Sale.objects.get()


@pytest.fixture
def beto() -> User:
    """Make a clerk of the box office who may refund."""
    made: User = UserFactory.create(is_staff=True)
    made.user_permissions.add(*Permission.objects.filter(content_type__app_label__in=["ticketing", "sessions_app"]))
    return made


def ticket_of(sale: Sale, seat: str) -> uuid.UUID:
    return Ticket.objects.get(sale=sale, seat__label=seat).pk


def back(sale: Sale, **how: Any) -> Refund:
    refund = refunds.ask_refund(sale_id=sale.pk, **{"buyer": sale.buyer, **how})
    refunds.pay_back(refund_id=refund.pk)
    refund.refresh_from_db()
    sale.refresh_from_db()
    return refund


def balances() -> dict[str, int]:
    sums = LedgerEntry.objects.order_by("account").values_list("account").annotate(sum=Sum("amount"))
    return {account: amount for account, amount in sums if amount}


class TestRefund:
    def test_refund_of_one_ticket_voids_it_and_puts_its_seat_on_sale(self, sale: Sale) -> None:
        refund = back(sale, tickets=[ticket_of(sale, "A1")])
        assert (refund.amount, refund.status, sale.status) == (2500, "paid_back", "partly_refunded")
        assert dict(Ticket.objects.values_list("seat__label", "status")) == {"A1": "void", "A2": "valid"}
        assert dict(Seat.objects.filter(label__in=["A1", "A2"]).values_list("label", "status")) == {
            "A1": "f",
            "A2": "s",
        }
        assert claims.client().get(keys.claim_key(sale.session_id, "A1")) is None

    def test_refund_of_the_rest_makes_the_sale_refunded(self, sale: Sale) -> None:
        back(sale, tickets=[ticket_of(sale, "A1")])
        back(sale)
        assert (sale.status, sale.refunded, Refund.objects.count()) == ("refunded", 5000, 2)
        assert (Reservation.objects.get().status, Reservation.objects.get().quantity) == (Status.CONFIRMED, 0)
        assert SandboxCharge.objects.get().refunded == 5000
        assert balances() == {"revenue": -5000, "refunds": 5000}

    def test_refunded_seat_can_be_bought_by_another_buyer(
        self, sale: Sale, session: Session, hold: Hold, bruno: uuid.UUID
    ) -> None:
        back(sale)
        assert pay(hold(session, "A1", buyer=bruno)).status == "captured"

    def test_refund_counts_no_more_for_the_buyers_limit(self, sale: Sale, session: Session, hold: Hold) -> None:
        Session.objects.update(max_per_buyer=2)
        back(sale, tickets=[ticket_of(sale, "A1")])
        assert hold(session, "B1", buyer=sale.buyer).status == Status.HELD

    def test_refund_gives_unnumbered_places_back(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        pay(hold(session, buyer=ana, ticket_type=stock.pk, quantity=3))
        sold = Sale.objects.get()
        back(sold, tickets=[sold.tickets.earliest("id").pk])
        stock.refresh_from_db()
        assert (stock.available, sold.refunded) == (1, 9000)

    def test_refund_is_told_in_the_log(self, sale: Sale) -> None:
        refund = back(sale)
        told = Event.objects.filter(facts__refund=str(refund.pk)).order_by("id")
        assert list(told.values_list("name", flat=True)) == ["sale.refunded", "refund.paid_back"]

    def test_refund_of_another_buyers_sale_is_not_found(self, sale: Sale, bruno: uuid.UUID) -> None:
        with pytest.raises(Sale.DoesNotExist):
            back(sale, buyer=bruno)

    def test_refund_twice_is_refused(self, sale: Sale) -> None:
        back(sale)
        with pytest.raises(NothingToRefund):
            back(sale)
        assert SandboxCharge.objects.get().refunded == 5000

    def test_refund_of_a_ticket_of_another_sale_is_refused(
        self, sale: Sale, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        pay(hold(session, "B1", buyer=ana))
        with pytest.raises(NothingToRefund):
            back(sale, tickets=[Ticket.objects.get(seat__label="B1").pk])

    def test_refund_before_the_money_was_taken_is_too_early(self, sale: Sale) -> None:
        Payment.objects.update(status="authorised")
        with pytest.raises(PaymentInProgress):
            back(sale)

    @pytest.mark.parametrize("minutes", [None, 60 * 24 * 2])
    def test_refund_by_the_buyer_after_the_window_is_refused_and_by_staff_is_not(
        self, sale: Sale, minutes: int | None
    ) -> None:
        Session.objects.update(refund_minutes=minutes)
        with pytest.raises(RefundClosed):
            back(sale)
        assert back(sale, buyer=None).status == "paid_back"

    def test_refund_of_a_used_ticket_is_for_staff(self, sale: Sale) -> None:
        Ticket.objects.update(status="used", used_at=Now())
        with pytest.raises(NothingToRefund):
            back(sale)
        assert back(sale, buyer=None).amount == 5000

    def test_refund_that_the_gateway_leaves_unanswered_is_swept(
        self, sale: Sale, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def silence(*_of: Any, **_more: Any) -> None:
            raise GatewayTimeout

        with monkeypatch.context() as patch:
            patch.setattr(fake, "refund", silence)
            assert back(sale).status == "asked"
        assert balances() == {"gateway": 5000, "revenue": -5000, "refunds": 5000, "owed": -5000}
        Refund.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=1))
        assert refunds.sweep_refunds() == 1
        assert Refund.objects.get().status == "paid_back"

    def test_refund_paid_back_twice_is_paid_back_once(self, sale: Sale) -> None:
        refund = back(sale)
        Refund.objects.update(status="asked")  # the record of its payment was lost
        refunds.pay_back(refund_id=refund.pk)
        assert (SandboxCharge.objects.get().refunded, SandboxRefund.objects.count()) == (5000, 1)

    def test_refund_that_the_gateway_refuses_waits_for_a_person(
        self, sale: Sale, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_of: Any, **_more: Any) -> None:
            raise RefundRefused

        with monkeypatch.context() as patch:
            patch.setattr(fake, "refund", refuse)
            refund = back(sale)
        assert refund.status == "refused"
        assert refunds.try_again(refund_id=refund.pk)
        refunds.pay_back(refund_id=refund.pk)
        refund.refresh_from_db()
        assert refund.status == "paid_back"


class TestApi:
    def test_api_answers_202_with_the_refund_and_the_sale(self, sale: Sale) -> None:
        response = post(client_of(sale.buyer), f"/sales/{sale.pk}/refund", {"tickets": [str(ticket_of(sale, "A2"))]})
        assert response.status_code == 202
        body = response.json()
        assert body["refund"]["amount"] == {"amount": 2500, "currency": "BRL"}
        assert (body["sale"]["status"], body["sale"]["id"]) == ("partly_refunded", str(sale.pk))

    def test_api_without_a_word_gives_everything_back(self, sale: Sale) -> None:
        response = post(client_of(sale.buyer), f"/sales/{sale.pk}/refund", {})
        assert response.json()["sale"]["status"] == "refunded"
        assert_problem(post(client_of(sale.buyer), f"/sales/{sale.pk}/refund", {}), 409, "nothing_to_refund")

    def test_api_is_the_buyers_or_for_staff(self, sale: Sale, bruno: uuid.UUID, beto: User) -> None:
        assert_problem(post(client_of(bruno), f"/sales/{sale.pk}/refund", {}), 404, "not_found")
        gate = UserFactory.create(is_staff=True)
        gate.groups.add(Group.objects.create(name="doors"))  # groups narrow what staff may do
        assert_problem(post(client_of(gate), f"/sales/{sale.pk}/refund", {}), 404, "not_found")
        Session.objects.update(refund_minutes=None)
        problem = assert_problem(post(client_of(sale.buyer), f"/sales/{sale.pk}/refund", {}), 409, "refund_closed")
        assert problem["until"] is None
        assert post(client_of(beto), f"/sales/{sale.pk}/refund", {}).status_code == 202

    @pytest.mark.parametrize("tickets", [[], ["x"], "all", 7])
    def test_api_names_the_field_that_is_wrong(self, sale: Sale, tickets: Any) -> None:
        problem = assert_problem(
            post(client_of(sale.buyer), f"/sales/{sale.pk}/refund", {"tickets": tickets}), 400, "invalid"
        )
        assert problem["errors"][0]["field"].startswith("tickets")


class TestPage:
    def test_page_gives_the_chosen_tickets_back(self, client: Client, session: Session, hold: Hold) -> None:
        client.get("/visitor")
        pay(hold(session, "A1", "A2", buyer=buyer_of(client)))
        sale = Sale.objects.get()
        page = reverse("sale", args=[sale.pk])
        assert "Give tickets back" in client.get(page).content.decode()
        answer = client.post(reverse("sale-refund", args=[sale.pk]), {"ticket": [ticket_of(sale, "A1")]}, follow=True)
        assert "is on its way back to you" in answer.content.decode()
        sale.refresh_from_db()
        assert sale.status == "partly_refunded"

    def test_page_of_another_buyers_sale_is_not_found(self, client: Client, sale: Sale) -> None:
        client.get("/visitor")
        answer = client.post(reverse("sale-refund", args=[sale.pk]), {"ticket": [ticket_of(sale, "A1")]})
        assert answer.status_code == 404

    def test_page_of_an_unnumbered_place_takes_back_what_that_one_was(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        ConcessionFactory.create(session=session)
        stock = StockFactory.create(session=session)
        held = hold(session, buyer=ana, ticket_type=stock.pk, quantity=3)
        holding.price(reservation_id=held.pk, buyer=ana, concessions=[("Child", 1)])
        held.refresh_from_db()
        pay(held)
        sold = Sale.objects.get()
        child = sold.tickets.get(concession="Child")
        assert back(sold, tickets=[child.pk]).amount == 4500
        held.refresh_from_db()
        assert [line["price"]["amount"] for line in held.lines] == [9000, 9000]
        assert audit()["findings"] == []


class TestDesk:
    def test_desk_gives_back_sales_and_tickets(self, admin_client: Client, sale: Sale) -> None:
        chosen = {"action": "refund", "_selected_action": [ticket_of(sale, "A1")]}
        confirmed(admin_client, reverse("admin:ticketing_ticket_changelist"), chosen)
        sale.refresh_from_db()
        assert sale.status == "partly_refunded"
        chosen = {"action": "refund", "_selected_action": [sale.pk]}
        answer = confirmed(admin_client, reverse("admin:ticketing_sale_changelist"), chosen)
        assert "is on its way back" in admin_client.get(answer["Location"]).content.decode()
        sale.refresh_from_db()
        assert sale.status == "refunded"

    def test_desk_calls_off_a_session_with_buyers(self, admin_client: Client, sale: Sale, session: Session) -> None:
        chosen = {"action": "call_off_and_refund", "_selected_action": [session.pk]}
        confirmed(admin_client, reverse("admin:sessions_app_session_changelist"), chosen)
        sale.refresh_from_db()
        assert sale.status == "refunded"
        page = admin_client.get(reverse("admin:sessions_app_session_change", args=[session.pk]))
        assert "1 of 1 sales" in page.content.decode()

    def test_desk_shows_the_ledger_and_that_the_sales_agree(self, admin_client: Client, sale: Sale) -> None:
        back(sale, tickets=[ticket_of(sale, "A1")])
        page = admin_client.get(reverse("money-desk"))
        assert page.context["totals"] == [
            {
                "currency": "BRL",
                "earned": 5000,
                "booking": 0,
                "taxes": 0,
                "refunds": 2500,
                "fees": 0,
                "net": 2500,
                "gateway": 2500,
                "cash": 0,
                "due": 0,
                "owed": 0,
                "sales": 2500,
                "apart": 0,
            }
        ]
        lines = b"".join(admin_client.get(reverse("money-csv"))).decode().splitlines()
        amounts = [int(line.split(",")[4]) for line in lines[1:]]
        assert (len(amounts), sum(amounts)) == (LedgerEntry.objects.count(), 0)

    def test_desk_shows_fees_and_taxes_apart_and_what_is_left_of_them(
        self, admin_client: Client, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        Session.objects.update(booking_fee=200, tax_basis_points=1000)
        pay(hold(session, "C1", "C2", buyer=ana))
        sums = dict(LedgerEntry.objects.order_by().values_list("account").annotate(Sum("amount")))
        assert sums == {"gateway": 5400, "revenue": -4546, "booking": -400, "taxes": -454}
        sold = Sale.objects.latest("id")
        back(sold, tickets=[ticket_of(sold, "C1")])
        (line,) = admin_client.get(reverse("money-desk")).context["totals"]
        told = [line[name] for name in ("earned", "booking", "refunds", "net", "taxes", "sales", "apart")]
        assert told == [4546, 200, 2273, 2473, 227, 2700, 0]
        assert audit()["findings"] == []

    def test_desk_shows_money_only_to_permitted_staff(self, client: Client) -> None:
        client.force_login(UserFactory.create(is_staff=True))
        assert client.get(reverse("money-desk")).status_code == 403
        assert client.get(reverse("money-csv")).status_code == 403


class TestCalledOff:
    @pytest.fixture
    def sold(self, session: Session, hold: Hold) -> Session:
        """Sell seats to three buyers; a fourth holds one."""
        for seat in ("A1", "A2", "A3"):
            pay(hold(session, seat, buyer=uuid.uuid4()))
        hold(session, "A4", buyer=uuid.uuid4())
        return session

    def test_call_off_refunds_all_buyers_and_can_be_repeated(self, sold: Session) -> None:
        class Killed(Exception):
            pass

        def killed(_refund: Refund) -> None:
            raise Killed

        refunds.call_off(session_id=sold.pk)
        with pytest.raises(Killed):  # after the first promise, before its payment
            refunds.refund_everybody(session_id=sold.pk, each=killed)
        assert refunds.progress(sold.pk) == refunds.Progress(sales=3, paid_back=0, refused=0, to_hand_out=0)
        assert refunds.left_to_refund() == [sold.pk]
        out = StringIO()
        Refund.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=1))
        refunds.sweep_refunds()
        call_command("refund_session", str(sold.pk), stdout=out)
        assert "3 of 3 sales paid back" in out.getvalue()
        assert refunds.left_to_refund() == []
        assert not Seat.objects.exclude(status="f").exists()
        assert set(Reservation.objects.values_list("status", flat=True)) == {Status.CONFIRMED, Status.CANCELLED}
        assert balances() == {"revenue": -7500, "refunds": 7500}

    def test_call_off_loses_a_payment_that_is_under_way(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        payment = starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token="ok")
        refunds.call_off(session_id=session.pk)
        steps.finish_payment(payment_id=payment.pk)
        payment.refresh_from_db()
        assert (payment.status, SandboxCharge.objects.get().status, Sale.objects.count()) == ("voided", "voided", 0)

    def test_call_off_asks_before_it_calls_a_session_off(self, sold: Session) -> None:
        with pytest.raises(CommandError, match="was not called off"):
            call_command("refund_session", str(sold.pk))
        call_command("refund_session", str(sold.pk), "--call-off", "--yes", stdout=StringIO())
        assert Sale.objects.filter(refunded=2500).count() == 3

    def test_call_off_knows_no_session_of_that_id(self) -> None:
        with pytest.raises(CommandError, match="no session"):
            call_command("refund_session", str(uuid.uuid4()))


class TestLedger:
    def test_ledger_is_append_only(self, sale: Sale) -> None:
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            LedgerEntry.objects.update(amount=1)
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            LedgerEntry.objects.all().delete()

    def test_posting_balances(self, sale: Sale) -> None:
        def post_one_half() -> None:
            with transaction.atomic():
                LedgerEntry.objects.create(
                    posting=uuid.uuid4(), account="gateway", amount=1, currency="BRL", payment=sale.payment
                )

        with pytest.raises(IntegrityError, match="ledger_posting_balances"):
            post_one_half()

    def test_ticket_covers_its_fee_and_tax(self, sale: Sale) -> None:
        with pytest.raises(IntegrityError, match="ticket_price_covers_its_fee_and_tax"), transaction.atomic():
            sale.tickets.update(fee=2400, tax=101)

    def test_entry_moves_something(self, sale: Sale) -> None:
        with pytest.raises(IntegrityError, match="ledger_entry_moves_something"), transaction.atomic():
            LedgerEntry.objects.create(
                posting=uuid.uuid4(), account="gateway", amount=0, currency="BRL", payment=sale.payment
            )


def test_a_method_that_is_switched_off_still_pays_back(sale: Sale, settings: Any) -> None:
    settings.PAYMENT_METHODS = ["stripe"]
    with pytest.raises(UnknownMethod):
        gateways.chosen("fake")
    assert back(sale).status == "paid_back"
