"""Check that void means void everywhere: no code, crossed out, with reason and date, in both languages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.urls import reverse
from django.utils import translation

from sessions_app.models import Session
from sessions_app.templatetags.frontrow import day, full_day, spelled, within
from tests.api import assert_problem, client_of, get, post
from tests.factories import UserFactory
from tests.support.house import buy
from tests.support.states import LIVE, PASSED_ON, VOID, ticket_in
from tests.ticketing.letters.test_mail import event, html
from ticketing.letters import mail
from ticketing.models import Refund, Sale, Ticket, User
from ticketing.payments import refunds
from ticketing.people import accounts
from ticketing.tickets import paper, transfers

pytestmark = pytest.mark.django_db(transaction=True)

LANGUAGES = [code for code, _name in settings.LANGUAGES]


@pytest.fixture
def anas_window(client: Client) -> Client:
    client.post("/sign-in", {"username": "ana", "password": "frontrow-demo"})
    return client


@pytest.fixture
def owner() -> User:
    user: User = UserFactory.create(username="ana")
    return user


def said(client: Client, path: str, language: str = "en") -> str:
    answer = client.get(path, headers={"accept-language": language})
    assert answer.status_code == 200
    return str(answer.content.decode())


class TestApi:
    @pytest.mark.parametrize("state", VOID)
    def test_void_ticket_has_no_code_but_a_reason_and_a_date(self, session: Session, owner: User, state: str) -> None:
        ticket = ticket_in(state, session, buyer=owner.pk)
        client = client_of(owner)
        alone = get(client, f"/tickets/{ticket.pk}").json()
        (listed,) = get(client, "/tickets").json()["results"]
        (of_sale,) = get(client, f"/sales/{ticket.sale_id}").json()["tickets"]
        assert ticket.void is not None
        for body in (alone, listed, of_sale):
            assert (body["status"], body["code"], body["short_code"]) == ("void", None, None)
            assert body["void_reason"] == VOID[state]
            assert body["voided_at"].startswith(ticket.void.at.isoformat()[:19])

    @pytest.mark.parametrize("state", LIVE)
    def test_live_ticket_has_a_code_and_no_reason(self, session: Session, owner: User, state: str) -> None:
        body = get(client_of(owner), f"/tickets/{ticket_in(state, session, buyer=owner.pk).pk}").json()
        assert (body["code"] is None, body["short_code"] is None) == (False, False)
        assert (body["void_reason"], body["voided_at"]) == (None, None)

    @pytest.mark.parametrize("state", VOID)
    @pytest.mark.parametrize("picture", ["svg", "png"])
    def test_code_of_a_void_ticket_is_gone(self, session: Session, owner: User, state: str, picture: str) -> None:
        ticket = ticket_in(state, session, buyer=owner.pk)
        problem = assert_problem(get(client_of(owner), f"/tickets/{ticket.pk}/qr.{picture}"), 410, "ticket_void")
        assert problem["reason"] == VOID[state]
        staff = client_of(UserFactory.create(is_staff=True, is_superuser=True))
        assert_problem(get(staff, f"/tickets/{ticket.pk}/qr.{picture}"), 410, "ticket_void")

    def test_receiver_sees_that_it_was_taken_back(self, session: Session, owner: User) -> None:
        ticket = ticket_in(PASSED_ON, session, buyer=owner.pk)
        refunds.ask_refund(sale_id=ticket.sale_id, buyer=None, reason="flooded")
        bruno = User.objects.get(username="bruno")
        body = get(client_of(bruno), f"/tickets/{ticket.pk}").json()
        assert (body["code"], body["void_reason"]) == (None, "box_office")


class TestReason:
    def test_staff_who_give_back_by_the_api_are_the_box_office(self, session: Session, owner: User) -> None:
        ticket = ticket_in("valid", session, buyer=owner.pk)
        olivia = UserFactory.create(is_staff=True, is_superuser=True)
        assert post(client_of(olivia), f"/sales/{ticket.sale_id}/refund", {}).status_code == 202
        assert get(client_of(owner), f"/tickets/{ticket.pk}").json()["void_reason"] == "box_office"

    def test_guest_who_gave_back_with_a_word_and_signs_in_still_gave_it_back(
        self, session: Session, ana: UUID, owner: User
    ) -> None:
        Session.objects.update(refund_minutes=60)
        sale = buy(session, "A1", buyer=ana)
        assert sale is not None
        refunds.ask_refund(sale_id=sale.pk, buyer=ana, reason="I am ill")
        accounts.adopt_guest(guest=ana, user=owner)
        assert Refund.objects.get().asked_by == owner.pk
        (body,) = get(client_of(owner), f"/sales/{sale.pk}").json()["tickets"]
        assert body["void_reason"] == "given_back"


class TestPages:
    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("state", VOID)
    def test_pages_cross_it_out_and_say_why_and_when(
        self, session: Session, owner: User, anas_window: Client, state: str, language: str
    ) -> None:
        ticket = ticket_in(state, session, buyer=owner.pk)
        assert ticket.void is not None
        with translation.override(language):
            why, when = str(ticket.void.reason.label), within(day(ticket.void.at))
        for path in (reverse("ticket", args=[ticket.pk]), reverse("sale", args=[ticket.sale_id])):
            page = said(anas_window, path, language)
            assert "data-void" in page
            assert why in page
            assert when in page
            assert "qr.svg" not in page
            assert ticket.code not in page.replace("</span><span>", "")

    @pytest.mark.parametrize("state", LIVE)
    def test_pages_show_a_live_ticket_with_its_code(
        self, session: Session, owner: User, anas_window: Client, state: str
    ) -> None:
        ticket = ticket_in(state, session, buyer=owner.pk)
        page = said(anas_window, reverse("ticket", args=[ticket.pk]))
        assert "data-void" not in page
        assert "qr.svg" in page

    def test_my_tickets_mark_what_was_passed_on_and_taken_back(
        self, session: Session, client: Client, ana: UUID
    ) -> None:
        ticket = ticket_in(PASSED_ON, session, buyer=ana)
        refunds.ask_refund(sale_id=ticket.sale_id, buyer=None, reason="flooded")
        client.post("/sign-in", {"username": "bruno", "password": "frontrow-demo"})
        page = said(client, reverse("purchases"))
        assert "badge bad" in page
        assert "The box office took it back." in page

    @pytest.mark.parametrize("state", VOID)
    def test_admin_says_why_and_when(self, session: Session, client: Client, ana: UUID, state: str) -> None:
        ticket = ticket_in(state, session, buyer=ana)
        assert ticket.void is not None
        client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
        for path in (
            reverse("admin:ticketing_ticket_change", args=[ticket.pk]),
            reverse("admin:ticketing_ticket_changelist"),
            reverse("admin:ticketing_sale_change", args=[ticket.sale_id]),
        ):
            page = said(client, path)
            assert f"{ticket.void.reason.label} {full_day(ticket.void.at)}" in page, path
            assert ticket.code not in page


class TestLetters:
    def test_late_letter_tells_no_code_of_what_is_void_or_passed_on(
        self, session: Session, owner: User, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        Session.objects.update(refund_minutes=60)
        sale = buy(session, "A1", "A2", "A3", buyer=owner.pk)
        assert sale is not None
        void, passed, kept = Ticket.objects.filter(sale=sale).order_by("id")
        refunds.ask_refund(sale_id=sale.pk, buyer=owner.pk, tickets=[void.pk])
        transfers.pass_on(ticket_id=passed.pk, giver=owner.pk, receiver=UserFactory.create().pk)
        mail.send_for(event("reservation.confirmed"))
        (letter,) = mailoutbox
        passed.refresh_from_db()
        for text in (str(letter.body), html(letter)):
            assert spelled(kept.code) in text
            assert spelled(void.code) not in text
            assert spelled(passed.code) not in text
            assert "It was given back." in text


class TestQueries:
    def test_void_tickets_cost_a_sale_one_query_more(
        self, session: Session, owner: User, django_assert_max_num_queries: Any
    ) -> None:
        sale = buy(session, "A1", "A2", "A3", buyer=owner.pk)
        assert sale is not None
        refunds.ask_refund(sale_id=sale.pk, buyer=None, reason="flooded")
        client = client_of(owner)
        with django_assert_max_num_queries(6):  # the sale, its tickets, their seats, kinds, refunds and session
            body = get(client, f"/sales/{sale.pk}").json()
        assert {row["void_reason"] for row in body["tickets"]} == {"box_office"}
        assert paper.tickets_pdf(Sale.objects.get(pk=sale.pk)).startswith(b"%PDF")
