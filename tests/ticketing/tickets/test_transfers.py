"""Transfer tickets."""

from __future__ import annotations

import contextlib
import datetime as dt
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.utils import timezone

from realtime.models import Event
from sessions_app.models import Session
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.race.racing import race
from tests.ticketing.letters.test_mail import event
from tests.ticketing.test_paying import pay
from ticketing.letters import mail
from ticketing.models import Sale, Ticket, Transfer, User
from ticketing.payments import refunds
from ticketing.people import accounts
from ticketing.refusals import CannotPassOn
from ticketing.tickets import transfers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ticket(session: Session, hold: Hold, ana: UUID) -> Ticket:
    """Sell A1 to Ana, who has A2 too."""
    pay(hold(session, "A1", "A2", buyer=ana))
    return Ticket.objects.get(seat__label="A1")


def give(giver: Any, ticket: Ticket, **to: Any) -> Any:
    return post(client_of(giver), f"/tickets/{ticket.pk}/transfer", to)


class TestPassingOn:
    def test_transfer_gives_the_receiver_a_new_code(self, ticket: Ticket, ana: UUID, bruno: UUID) -> None:
        answer = give(ana, ticket, buyer=str(bruno))
        assert answer.status_code == 200
        assert answer.json() == {"ticket": str(ticket.pk), "receiver": str(bruno)}
        body = get(client_of(bruno), f"/tickets/{ticket.pk}").json()
        assert (body["seat"], body["status"], body["passed_on"]) == ("A1", "valid", True)
        assert body["code"] != ticket.signed_code
        assert body["short_code"] not in {ticket.code, None}
        assert [row["id"] for row in get(client_of(bruno), "/tickets").json()["results"]] == [str(ticket.pk)]

    def test_transfer_takes_it_and_its_code_from_the_giver(self, ticket: Ticket, ana: UUID, bruno: UUID) -> None:
        give(ana, ticket, buyer=str(bruno))
        for path in ("", "/qr.svg", "/qr.png", "/session.ics"):
            assert_problem(get(client_of(ana), f"/tickets/{ticket.pk}{path}"), 404, "not_found")
        assert_problem(give(ana, ticket, buyer=str(uuid4())), 404, "not_found")
        sale = get(client_of(ana), f"/sales/{ticket.sale_id}").json()
        told = {row["seat"]: (row["code"] is None, row["short_code"] is None) for row in sale["tickets"]}
        assert told == {"A1": (True, True), "A2": (False, False)}
        pdf = get(client_of(ana), f"/sales/{ticket.sale_id}/tickets.pdf").content
        assert pdf.count(b"/Type /Page\n") == 1

    def test_transfer_leaves_the_purchase_with_the_giver(self, ticket: Ticket, ana: UUID, bruno: UUID) -> None:
        give(ana, ticket, buyer=str(bruno))
        assert_problem(get(client_of(bruno), f"/sales/{ticket.sale_id}"), 404, "not_found")

    def test_transfer_back_makes_it_the_buyers_own_again(self, ticket: Ticket, ana: UUID, bruno: UUID) -> None:
        give(ana, ticket, buyer=str(bruno))
        give(bruno, ticket, buyer=str(ana))
        ticket.refresh_from_db()
        assert (ticket.holder, ticket.owner, Transfer.objects.count()) == (None, ana, 2)

    def test_transfer_finds_accounts_by_name(self, ticket: Ticket, ana: UUID) -> None:
        bruno = UserFactory(username="bruno")
        assert give(ana, ticket, username="bruno").json()["receiver"] == str(bruno.pk)

    def test_transfer_follows_a_guest_who_signs_in(self, ticket: Ticket, ana: UUID, bruno: UUID) -> None:
        give(ana, ticket, buyer=str(bruno))
        account: User = UserFactory.create()
        accounts.adopt_guest(guest=bruno, user=account)
        assert get(client_of(account), f"/tickets/{ticket.pk}").status_code == 200

    @pytest.mark.parametrize("way", ["kept", "by way of another", "back to the guest", "twice"])
    def test_buyer_who_signs_in_has_what_was_passed_to_the_account(
        self, ticket: Ticket, ana: UUID, bruno: UUID, way: str
    ) -> None:
        """Transfer a guest's ticket to the guest's own account: after signing in it is simply the buyer's."""
        account: User = UserFactory.create()
        if way == "by way of another":
            give(ana, ticket, buyer=str(bruno))
            give(bruno, ticket, buyer=str(account.pk))
        else:
            give(ana, ticket, buyer=str(account.pk))
        if way == "twice":
            give(account, ticket, buyer=str(bruno))
            give(bruno, ticket, buyer=str(account.pk))
        if way == "back to the guest":
            give(account, ticket, buyer=str(ana))
        accounts.adopt_guest(guest=ana, user=account)
        assert_is_simply_the_buyers(ticket, account)

    def test_ticket_passed_to_the_guest_that_its_buyer_was_is_the_buyers(
        self, ticket: Ticket, ana: UUID, bruno: UUID
    ) -> None:
        account: User = UserFactory.create()
        give(ana, ticket, buyer=str(bruno))
        accounts.adopt_guest(guest=ana, user=account)
        give(bruno, ticket, buyer=str(ana))
        assert_is_simply_the_buyers(ticket, account)

    def test_receiver_who_becomes_the_buyers_account_has_it_as_the_buyer(
        self, ticket: Ticket, ana: UUID, bruno: UUID
    ) -> None:
        account: User = UserFactory.create()
        give(ana, ticket, buyer=str(bruno))
        accounts.adopt_guest(guest=ana, user=account)
        accounts.adopt_guest(guest=bruno, user=account)
        assert_is_simply_the_buyers(ticket, account)

    @pytest.mark.race
    def test_buyer_who_signs_in_meanwhile_is_never_another_holder(self, ticket: Ticket, ana: UUID) -> None:
        account: User = UserFactory.create()

        def give_away() -> None:
            with contextlib.suppress(Ticket.DoesNotExist, CannotPassOn):
                transfers.pass_on(ticket_id=ticket.pk, giver=ana, receiver=account.pk)

        def become_the_account() -> None:
            accounts.adopt_guest(guest=ana, user=account)

        race([give_away, become_the_account])
        ticket.refresh_from_db()
        assert (ticket.holder, ticket.sale.buyer) == (None, account.pk)

    @pytest.mark.parametrize(
        ("to", "field"),
        [
            ({}, "body"),
            ({"username": "bruno", "buyer": str(UUID(int=7))}, "body"),
            ({"buyer": "bruno"}, "buyer"),
            ({"username": ""}, "username"),
            ({"username": 7}, "username"),
        ],
        ids=repr,
    )
    def test_transfer_names_the_field_that_is_wrong(
        self, ticket: Ticket, ana: UUID, to: dict[str, Any], field: str
    ) -> None:
        problem = assert_problem(give(ana, ticket, **to), 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == [field]

    def test_transfer_to_an_unknown_account_is_refused(self, ticket: Ticket, ana: UUID) -> None:
        problem = assert_problem(give(ana, ticket, username="nobody"), 400, "unknown_receiver")
        assert problem["errors"][0]["field"] == "username"

    def test_transfer_is_for_owners_only_and_tells_strangers_nothing(self, ticket: Ticket, bruno: UUID) -> None:
        assert_problem(give(bruno, ticket, username="nobody"), 404, "not_found")
        assert_problem(give(UserFactory(is_staff=True), ticket, username="nobody"), 404, "not_found")

    def test_transfer_to_oneself_is_refused(self, ticket: Ticket, ana: UUID) -> None:
        assert assert_problem(give(ana, ticket, buyer=str(ana)), 409, "cannot_pass_on")["reason"] == "own"

    @pytest.mark.parametrize("status", ["used", "void"])
    def test_transfer_of_what_opens_no_door_is_refused(
        self, ticket: Ticket, ana: UUID, bruno: UUID, status: str
    ) -> None:
        Ticket.objects.update(status=status, used_at=timezone.now() if status == "used" else None)
        assert assert_problem(give(ana, ticket, buyer=str(bruno)), 409, "cannot_pass_on")["reason"] == status

    def test_transfer_is_over_with_the_session(self, ticket: Ticket, ana: UUID, bruno: UUID) -> None:
        now = timezone.now()
        Session.objects.update(starts_at=now - dt.timedelta(hours=3), ends_at=now - dt.timedelta(hours=1))
        assert assert_problem(give(ana, ticket, buyer=str(bruno)), 409, "cannot_pass_on")["reason"] == "over"

    @pytest.mark.race
    def test_transfer_to_many_at_once_reaches_one(self, ticket: Ticket, ana: UUID) -> None:
        def to(receiver: UUID) -> str:
            try:
                transfers.pass_on(ticket_id=ticket.pk, giver=ana, receiver=receiver)
            except Ticket.DoesNotExist:
                return "lost"
            return "passed on"

        outcomes = race([partial(to, uuid4()) for _receiver in range(8)])
        assert (outcomes.count("lost"), outcomes.count("passed on")) == (7, 1)
        assert Transfer.objects.count() == 1


def assert_is_simply_the_buyers(ticket: Ticket, account: User) -> None:
    """Assert that its buyer can see, scan, print and refund it."""
    body = get(client_of(account), f"/tickets/{ticket.pk}").json()
    assert (body["passed_on"], body["status"]) == (False, "valid")
    assert get(client_of(account), f"/tickets/{ticket.pk}/qr.svg").status_code == 200
    told = get(client_of(account), f"/sales/{ticket.sale_id}").json()["tickets"]
    assert [row["code"] is None for row in told] == [False, False]
    pdf = get(client_of(account), f"/sales/{ticket.sale_id}/tickets.pdf").content
    assert pdf.count(b"/Type /Page\n") == 2
    answer = post(client_of(account), f"/sales/{ticket.sale_id}/refund", {"tickets": [str(ticket.pk)]})
    assert answer.status_code == 202, answer.json()


def sign_in(client: Client, name: str) -> None:
    client.post("/sign-in", {"username": name, "password": "frontrow-demo"})


class TestPage:
    def test_page_passes_it_on(self, session: Session, hold: Hold, client: Client) -> None:
        ana = UserFactory(username="ana")
        UserFactory(username="bruno")
        pay(hold(session, "A1", buyer=ana.pk))
        ticket = Ticket.objects.get()
        sign_in(client, "ana")
        page = f"/tickets/{ticket.pk}"
        assert "Pass this ticket on" in client.get(page).content.decode()
        assert "There is no account with this name" in client.post(page, {"username": "nobody"}).content.decode()
        assert "This is your own name" in client.post(page, {"username": "ana"}).content.decode()
        assert client.post(page, {"username": "bruno"})["Location"] == "/my-tickets"
        assert client.get(page).status_code == 404
        sale = client.get(f"/sales/{ticket.sale_id}").content.decode()
        assert "qr.svg" not in sale
        assert "You passed this ticket on" in sale
        sign_in(client, "bruno")
        assert "Passed on to you" in client.get("/my-tickets").content.decode()
        assert "qr.svg" in client.get(page).content.decode()

    def test_page_says_that_the_session_was_called_off_meanwhile(
        self, session: Session, hold: Hold, client: Client
    ) -> None:
        ana = UserFactory(username="ana")
        UserFactory(username="bruno")
        pay(hold(session, "A1", buyer=ana.pk))
        sign_in(client, "ana")
        Session.objects.update(cancelled_at=timezone.now())
        answer = client.post(f"/tickets/{Ticket.objects.get().pk}", {"username": "bruno"})
        assert "The session was called off." in answer.content.decode()


class TestLetters:
    def test_letters_go_to_both(self, ticket: Ticket, ana: UUID, mailoutbox: list[EmailMultiAlternatives]) -> None:
        UserFactory(id=ana, username="ana", email="ana@example.com")
        UserFactory(username="bruno", email="bruno@example.com")
        give(ana, ticket, username="bruno")
        for kind in ("ticket.passed_on", "ticket.received"):
            mail.send_for(event(kind))
        told = {letter.to[0]: letter for letter in mailoutbox}
        assert "passed on" in told["ana@example.com"].subject
        assert f"/tickets/{ticket.pk}" in str(told["bruno@example.com"].body)
        ticket.refresh_from_db()
        for letter in mailoutbox:
            assert ticket.code[:4] not in str(letter.body)

    def test_holder_is_told_when_the_house_takes_the_ticket_back(
        self, ticket: Ticket, ana: UUID, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        UserFactory(username="bruno", email="bruno@example.com")
        give(ana, ticket, username="bruno")
        refunds.ask_refund(sale_id=ticket.sale_id, buyer=None)
        mail.send_for(event("ticket.voided"))
        (letter,) = mailoutbox
        assert letter.to == ["bruno@example.com"]
        assert "is void" in letter.subject
        assert "no longer opens any door" in str(letter.body)
        assert Event.objects.filter(name="ticket.voided").count() == 1  # Ana kept the other one

    def test_letters_name_no_buyer_in_the_log(self, ticket: Ticket, ana: UUID, bruno: UUID) -> None:
        give(ana, ticket, buyer=str(bruno))
        told = Event.objects.filter(name__in=["ticket.passed_on", "ticket.received"]).order_by("id")
        assert [row.buyer for row in told] == [ana, bruno]
        assert all(set(row.facts) == {"ticket", "transfer"} for row in told)
        assert Sale.objects.get().buyer == ana
