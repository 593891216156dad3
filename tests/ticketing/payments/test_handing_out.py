"""Check refunds that a person hands out: cash, payments at the door, and those that a gateway refused for good."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from realtime.models import Event
from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.race.racing import race
from tests.support.pages import forms_in
from tests.ticketing.letters.test_mail import event
from tests.ticketing.payments.test_refunds import back, balances
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from tests.ticketing.upkeep.test_reconciling import let_an_hour_pass
from ticketing.letters import mail
from ticketing.models import HandedOutBy, Refund, Sale, User
from ticketing.payments import handing_out, refunds, starting, steps
from ticketing.payments.gateways import RefundRefused, fake
from ticketing.payments.handing_out import AlreadyHandedOut, NotToHandOut

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def beto() -> User:
    """Make a clerk of the box office."""
    made: User = UserFactory.create(username="beto", is_staff=True)
    names = ["view_refund", "change_refund", "view_sale"]
    made.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return made


@pytest.fixture
def desk(client: Client, beto: User) -> Client:
    client.force_login(beto)
    return client


Paid = Callable[[str], Sale]


@pytest.fixture
def paid(session: Session, hold: Hold, ana: uuid.UUID) -> Paid:
    """Return a function that sells A1 and A2 to Ana at the counter."""

    def make(method: str) -> Sale:
        held = hold(session, "A1", "A2", buyer=ana)
        payment = starting.start_payment(
            reservation_id=held.pk,
            buyer=ana,
            method=method,
            token="TX-1" if method == "card" else "",
            email="ana@example.com",
            at_the_counter=True,
        )
        steps.finish_payment(payment_id=payment.pk)
        return Sale.objects.get()

    return make


@pytest.fixture
def refused(session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> Refund:
    """Make a refund of Ana's sale that its gateway refuses once."""
    with monkeypatch.context() as patch:
        patch.setattr(fake, "refund", refuse)
        pay(hold(session, "A1", buyer=ana))
        Sale.objects.update(email="ana@example.com")
        return back(Sale.objects.get())


def refuse(*_of: Any, **_more: Any) -> None:
    raise RefundRefused("expired_card")


def press(desk: Client, refund: Refund, action: str, **fields: str) -> str:
    """Press the button, and that of the question, and return the page."""
    answer = desk.post(reverse("refund-desk"), {"refund": refund.pk, "action": action, **fields})
    for form in forms_in(answer.content.decode(), reverse("refund-desk")):
        if "confirmed" in form.values:
            answer = desk.post(form.action, form.values)
    assert answer.status_code == 302
    return desk.get(answer["Location"]).content.decode()


class TestCash:
    @pytest.mark.parametrize("method", ["cash", "card"])
    def test_refund_waits_at_the_counter_and_is_not_refused(self, paid: Paid, method: str) -> None:
        refund = back(paid(method))
        assert (refund.status, refund.amount) == ("to_hand_out", 5000)
        assert not Event.objects.filter(name="refund.refused").exists()
        assert refunds.sweep_refunds() == 0
        assert audit()["findings"] == []

    def test_handing_out_leaves_the_till(self, paid: Paid, beto: User) -> None:
        sale = paid("cash")
        assert balances() == {"cash": 5000, "revenue": -5000}
        refund = back(sale)
        assert balances() == {"cash": 5000, "revenue": -5000, "refunds": 5000, "owed": -5000}
        done = handing_out.hand_out(refund_id=refund.pk, by=beto)
        assert (done.status, done.handed_out_by, done.handed_out_in) == ("handed_out", beto, "cash")
        assert balances() == {"revenue": -5000, "refunds": 5000}
        assert audit()["findings"] == []

    def test_card_terminal_is_the_gateways_money(self, paid: Paid, beto: User) -> None:
        refund = back(paid("card"))
        handing_out.hand_out(refund_id=refund.pk, by=beto, means=HandedOutBy.TERMINAL)
        assert balances() == {"revenue": -5000, "refunds": 5000}
        assert audit()["findings"] == []

    @pytest.mark.race
    def test_two_cashiers_hand_out_once(self, paid: Paid, beto: User) -> None:
        refund = back(paid("cash"))
        outcomes = race([partial(handing_out.hand_out, refund_id=refund.pk, by=beto)] * 6)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [*["AlreadyHandedOut"] * 5, "Refund"]
        assert balances() == {"revenue": -5000, "refunds": 5000}
        assert Event.objects.filter(name="refund.handed_out").count() == 1

    def test_without_the_lock_two_would_hand_out(self, paid: Paid, beto: User, monkeypatch: pytest.MonkeyPatch) -> None:
        """Check the control: both look before either writes, and the audit sees that money left twice."""
        refund, looked = back(paid("cash")), threading.Barrier(2)

        def look(refund_id: uuid.UUID) -> Refund:
            found = Refund.objects.select_related("sale").get(pk=refund_id)
            looked.wait(10)
            return found

        monkeypatch.setattr(refunds, "lock", look)
        outcomes = race([partial(handing_out.hand_out, refund_id=refund.pk, by=beto)] * 2)
        assert [type(outcome) for outcome in outcomes] == [Refund, Refund]
        assert "ledger_differs_from_payments" in {row["check"] for row in audit()["findings"]}  # type: ignore[attr-defined]

    def test_what_is_on_its_way_is_not_handed_out(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        pay(hold(session, "A1", buyer=ana))
        refund = refunds.ask_refund(sale_id=Sale.objects.get().pk, buyer=ana)
        with pytest.raises(NotToHandOut, match="asked"):
            handing_out.hand_out(refund_id=refund.pk, by=UserFactory.create())
        with pytest.raises(NotToHandOut):
            handing_out.hand_out_instead(refund_id=refund.pk)

    def test_postgresql_knows_when_it_was_handed_out(self, paid: Paid) -> None:
        back(paid("cash"))
        with pytest.raises(IntegrityError, match="refund_handed_out_has_a_time"), transaction.atomic():
            Refund.objects.update(status="handed_out")

    def test_erased_cashier_leaves_the_rest(self, paid: Paid, beto: User) -> None:
        refund = handing_out.hand_out(refund_id=back(paid("cash")).pk, by=beto)
        User.objects.filter(pk=beto.pk).delete()
        with pytest.raises(AlreadyHandedOut):
            handing_out.hand_out(refund_id=refund.pk, by=UserFactory.create())
        assert audit()["findings"] == []

    def test_called_off_session_tells_what_is_to_be_handed_out(self, paid: Paid, session: Session) -> None:
        paid("cash")
        refunds.call_off(session_id=session.pk)
        refunds.refund_everybody(session_id=session.pk, each=lambda refund: refunds.pay_back(refund_id=refund.pk))
        how_far = refunds.progress(session.pk)
        assert (how_far.is_over, how_far.to_hand_out, how_far.paid_back, how_far.refused) == (True, 1, 0, 0)


class TestRefused:
    def test_retry_asks_with_a_new_key(self, refused: Refund, monkeypatch: pytest.MonkeyPatch) -> None:
        """Check that a retry uses a new key, because a gateway repeats its first answer to a key."""
        keys: list[uuid.UUID] = []
        with monkeypatch.context() as patch:
            patch.setattr(fake, "refund", lambda _attempt, *, refund, amount: keys.append(refund))
            refunds.try_again(refund_id=refused.pk)
            refunds.pay_back(refund_id=refused.pk)
        assert len(keys) == 1
        assert keys != [refused.pk]
        assert Refund.objects.get().status == "paid_back"

    def test_refused_refund_handed_out_in_cash_leaves_till_and_gateway_right(self, refused: Refund, beto: User) -> None:
        assert [row["check"] for row in audit()["findings"]] == ["refund_refused"]  # type: ignore[attr-defined]
        handing_out.hand_out_instead(refund_id=refused.pk)
        handing_out.hand_out_instead(refund_id=refused.pk)
        assert not refunds.try_again(refund_id=refused.pk)
        handing_out.hand_out(refund_id=refused.pk, by=beto)
        assert balances() == {"gateway": 2500, "cash": -2500, "revenue": -2500, "refunds": 2500}
        assert Event.objects.filter(name="refund.to_hand_out").count() == 1
        assert audit()["findings"] == []

    def test_refused_refund_handed_out_by_the_terminal_is_no_difference_to_the_gateways_books(
        self, refused: Refund, beto: User
    ) -> None:
        handing_out.hand_out_instead(refund_id=refused.pk)
        handing_out.hand_out(refund_id=refused.pk, by=beto, means=HandedOutBy.TERMINAL)
        let_an_hour_pass()
        assert audit()["findings"] == []

    def test_buyer_is_written_each_time_something_is_new(
        self, refused: Refund, beto: User, mailoutbox: list[EmailMultiAlternatives], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mail.send_for(event("refund.refused"))
        assert "tried to send R$25.00 back" in str(mailoutbox[-1].body)
        with monkeypatch.context() as patch:
            patch.setattr(fake, "refund", refuse)
            refunds.try_again(refund_id=refused.pk)
            refunds.pay_back(refund_id=refused.pk)
        mail.send_for(event("refund.refused"))
        assert len(mailoutbox) == 1
        handing_out.hand_out_instead(refund_id=refused.pk)
        mail.send_for(event("refund.to_hand_out"))
        assert "ready for you at the box office" in str(mailoutbox[-1].body)
        handing_out.hand_out(refund_id=refused.pk, by=beto)
        mail.send_for(event("refund.handed_out"))
        assert "The box office handed out" in str(mailoutbox[-1].body)
        assert len(mailoutbox) == 3

    def test_buyer_is_written_that_it_came_after_all(
        self, refused: Refund, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        refunds.try_again(refund_id=refused.pk)
        refunds.pay_back(refund_id=refused.pk)
        mail.send_for(event("refund.paid_back"))
        assert "after all, and it is on its way" in str(mailoutbox[-1].body)


class TestTelling:
    def test_buyer_is_told_to_collect_cash(
        self, paid: Paid, mailoutbox: list[EmailMultiAlternatives], beto: User, client: Client
    ) -> None:
        sale = paid("cash")
        UserFactory.create(id=sale.buyer, username="ana")
        client.post("/sign-in", {"username": "ana", "password": "frontrow-demo"})
        tickets = [str(ticket.pk) for ticket in sale.tickets.all()]
        page = client.post(reverse("sale-refund", args=[sale.pk]), {"ticket": tickets}, follow=True).content.decode()
        assert "is ready for you at the box office" in page
        assert "on its way" not in page
        assert "Collect it at the box office" in page
        mail.send_for(event("sale.refunded"))
        assert f"Give the number of your order there: {sale.number}" in str(mailoutbox[-1].body)
        assert "on its way" not in str(mailoutbox[-1].body)
        handing_out.hand_out(refund_id=Refund.objects.get().pk, by=beto)
        assert "Handed out at the box office" in client.get(f"/sales/{sale.pk}").content.decode()

    def test_buyer_of_a_refused_refund_reads_that_it_did_not_come(self, refused: Refund, client: Client) -> None:
        UserFactory.create(id=refused.sale.buyer, username="ana")
        client.post("/sign-in", {"username": "ana", "password": "frontrow-demo"})
        page = client.get(f"/sales/{refused.sale_id}").content.decode()
        assert "Could not be sent back" in page


class TestDesk:
    def test_cashier_hands_out_and_prints_a_receipt(self, paid: Paid, desk: Client) -> None:
        refund = back(paid("cash"))
        listed = desk.get(reverse("refund-desk"), {"sale": f"#{refund.sale.number}"}).content.decode()
        assert f"#{refund.sale.number}" in listed
        assert "R$50.00" in listed
        assert str(refund.pk) not in desk.get(reverse("refund-desk"), {"sale": "1"}).content.decode()
        assert str(refund.pk) not in desk.get(reverse("refund-desk"), {"sale": "x" * 40}).content.decode()
        receipt = press(desk, refund, "hand_out", means="cash")
        for said in ("Receipt: money handed out", "R$50.00", "beto", "in cash", "A1"):
            assert said in receipt
        assert "Do not hand out this money" in press(desk, refund, "hand_out")
        assert Refund.objects.get().handed_out_by.username == "beto"  # type: ignore[union-attr]
        assert "There is no money to hand out." in desk.get(reverse("refund-desk")).content.decode()

    def test_staff_ask_again_or_hand_out_what_was_refused(
        self, refused: Refund, desk: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fake, "refund", refuse)
        assert str(refused.pk) in desk.get(reverse("refund-desk")).content.decode()
        assert "Do not hand out this money" in press(desk, refused, "hand_out")
        assert "The gateway was asked again" in press(desk, refused, "retry")
        refused.refresh_from_db()
        assert (refused.status, refused.refusals) == ("refused", 2)
        assert "gets a message to collect it" in press(desk, refused, "hand_out_instead")
        assert "The gateway has not refused" in press(desk, refused, "retry")
        assert "Receipt" in press(desk, refused, "hand_out")

    def test_page_is_for_the_box_office(self, paid: Paid, client: Client) -> None:
        refund = back(paid("cash"))
        looker = UserFactory.create(is_staff=True)
        client.force_login(looker)
        assert client.get(reverse("refund-desk")).status_code == 403
        assert client.get(reverse("refund-receipt", args=[refund.pk])).status_code == 403
        looker.user_permissions.add(Permission.objects.get(codename="view_refund"))
        assert client.get(reverse("refund-desk")).status_code == 200
        pressed = client.post(reverse("refund-desk"), {"refund": refund.pk, "action": "hand_out"})
        assert pressed.status_code == 403
        assert Refund.objects.get().status == "to_hand_out"

    @pytest.mark.parametrize("field", ["", "x", str(uuid.UUID(int=7))])
    def test_unknown_refund_is_not_there(self, desk: Client, field: str) -> None:
        answer = desk.post(reverse("refund-desk"), {"refund": field, "action": "hand_out"})
        assert answer.status_code == 404
        assert desk.get(reverse("refund-receipt", args=[uuid.UUID(int=7)])).status_code == 404


def test_migration_takes_cash_out_of_the_gateways_account(paid: Paid) -> None:
    """Post as before there was an account for cash."""
    back(paid("cash"))
    migration = import_module("ticketing.migrations.0011_refunds_handed_out")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE ticketing_ledgerentry SET account = 'gateway' WHERE account = 'cash'")
        cursor.execute("UPDATE ticketing_refund SET status = 'refused'")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(migration.OF_PERSONS)
        cursor.execute(migration.INTO_THE_TILLS)
    assert Refund.objects.get().status == "to_hand_out"
    assert balances() == {"cash": 5000, "revenue": -5000, "refunds": 5000, "owed": -5000}
    assert audit()["findings"] == []
