"""Open every link of every letter on an unknown device."""

from __future__ import annotations

import logging
import re
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.urls import reverse
from icalendar import Calendar

from realtime.models import Event
from sessions_app.models import Session
from tests.factories import UserFactory
from tests.support.letters import MAKE, Post, links_of
from tests.support.pages import confirmed, window_of
from ticketing.letters import mail, mailed_codes
from ticketing.models import MailedCode, Refund, Sale, Ticket, User
from ticketing.people import accounts
from ticketing.tickets import links, transfers
from ticketing.tickets.opening import GRANT

pytestmark = pytest.mark.django_db(transaction=True)

Outbox = list[EmailMultiAlternatives]
WITHOUT_LINKS = {"ticket.passed_on", "sale.code_asked"}


@pytest.fixture
def letter_post(session: Session) -> Post:
    return Post(session, language="en")


def local(address: str) -> str:
    return address.removeprefix(settings.SITE_URL)


def empty_browser(language: str = "en") -> Client:
    return Client(headers={"accept-language": language})


@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_every_link_of_every_letter_opens_anywhere(session: Session, mailoutbox: Outbox, language: str) -> None:
    """Check that each link shows what it promises: the show's page, the tickets, a PDF, a calendar."""
    assert set(MAKE) == set(mail.LETTERS)
    made = Post(session, language=language)
    for kind in MAKE:
        letter = made.send(kind, mailoutbox)
        addresses = list(links_of(letter))
        assert bool(addresses) == (kind not in WITHOUT_LINKS), kind
        for address in addresses:
            assert_shows_what_it_promises(empty_browser(language).get(address), address, session)
        assert f'lang="{language}"' in str(letter.alternatives[0][0]), kind


def assert_shows_what_it_promises(answer: Any, address: str, session: Session) -> None:
    assert answer.status_code == 200, address
    if address.partition("?")[0].endswith(".pdf"):
        assert answer.content.startswith(b"%PDF-")
    elif address.partition("?")[0].endswith(".ics"):
        (event,) = Calendar.from_ical(answer.content).walk("VEVENT")
        assert event["SUMMARY"] == session.show.title
    else:
        assert session.show.title in answer.content.decode()
    if links.PARAMETER in address:
        assert answer["Cache-Control"] == "private, no-store"
        assert answer["Referrer-Policy"] == "strict-origin"


class TestWhatAProofOpens:
    def test_page_leads_on_to_everything_it_shows(self, letter_post: Post) -> None:
        """Check its pictures, its files, and the page of each ticket that the buyer still has."""
        page = empty_browser().get(local(links.to("sale", letter_post.sale))).content.decode()
        found = set(re.findall(r'(?:href|src)="(/(?:sales|tickets)/[^"]+)"', page))
        kept = [letter_post.ticket("A1"), letter_post.ticket("A3")]
        assert {address.partition("?")[0] for address in found} == {
            reverse("sale-pdf", args=[letter_post.sale.pk]),
            reverse("sale-calendar", args=[letter_post.sale.pk]),
            *(reverse(name, args=[ticket.pk]) for ticket in kept for name in ("ticket", "ticket-qr")),
        }
        assert {empty_browser().get(address).status_code for address in found} == {200}

    def test_receiver_sees_the_ticket_and_its_code_and_no_more(self, letter_post: Post) -> None:
        given = Ticket.objects.get(pk=letter_post.given.pk)
        page = empty_browser().get(local(links.to("ticket", given))).content.decode()
        assert "qr.svg?proof=" in page
        assert f"/sales/{given.sale_id}" not in page
        proof = links.of_ticket(given)
        for name, row in (
            ("sale", letter_post.sale),
            ("sale-pdf", letter_post.sale),
            ("ticket", letter_post.ticket("A1")),
        ):
            assert empty_browser().get(reverse(name, args=[row.pk]), {"proof": proof}).status_code == 404

    def test_buyer_does_not_see_the_ticket_that_was_passed_on(self, letter_post: Post) -> None:
        proof = links.of_sale(letter_post.sale)
        for name in ("ticket", "ticket-qr", "ticket-calendar"):
            answer = empty_browser().get(reverse(name, args=[letter_post.given.pk]), {"proof": proof})
            assert answer.status_code == 404

    def test_void_ticket_shows_no_code(self, letter_post: Post) -> None:
        letter_post.take_back()
        given = Ticket.objects.get(pk=letter_post.given.pk)
        assert empty_browser().get(local(links.to("ticket-qr", given))).status_code == 410
        assert "qr.svg" not in empty_browser().get(local(links.to("ticket", given))).content.decode()

    def test_proof_says_nothing_of_the_person(self, letter_post: Post) -> None:
        address = links.to("sale", letter_post.sale)
        assert "ana" not in address
        assert str(letter_post.ana.pk) not in address

    def test_proof_is_never_logged(self, letter_post: Post, caplog: pytest.LogCaptureFixture) -> None:
        proof = links.of_sale(letter_post.sale)
        with caplog.at_level(logging.DEBUG):
            empty_browser().get(local(links.to("sale", letter_post.sale)))
            empty_browser().get(reverse("sale", args=[uuid4()]), {"proof": proof})
        assert caplog.records
        assert proof not in caplog.text

    def test_proof_opens_nothing_of_the_api(self, letter_post: Post) -> None:
        proof = links.of_sale(letter_post.sale)
        answer = empty_browser().get(f"/api/v1/sales/{letter_post.sale.pk}", {"proof": proof})
        assert answer.status_code in {400, 401}

    def test_guest_who_registers_later_can_open_it_still(self, letter_post: Post) -> None:
        guest = uuid4()
        sale = letter_post.buy("D1", buyer=guest, email="guest@example.com")
        address = local(links.to("sale", sale))
        accounts.adopt_guest(guest=guest, user=letter_post.ana)
        assert empty_browser().get(address).status_code == 200


class TestWhatEndsAProof:
    def assert_is_over(self, address: str) -> None:
        answer = empty_browser().get(address)
        assert answer.status_code == 404
        assert "This link no longer opens the tickets" in answer.content.decode()

    @pytest.mark.parametrize("proof", ["wrong", "", "é:é", "%00"])
    def test_wrong_proof_opens_nothing(self, letter_post: Post, proof: str) -> None:
        assert empty_browser().get(f"/sales/{letter_post.sale.pk}?proof={proof}").status_code == 404
        assert empty_browser().get(f"/tickets/{letter_post.given.pk}?proof={proof}").status_code == 404

    def test_proof_of_another_sale_opens_nothing(self, letter_post: Post) -> None:
        other = letter_post.buy("D1")
        self.assert_is_over(f"/sales/{letter_post.sale.pk}?proof={links.of_sale(other)}")

    @pytest.mark.parametrize("how", ["saved", "updated", "closed", "deleted", "erased"])
    def test_proof_ends_when_the_account_has_another_address_or_none(self, letter_post: Post, how: str) -> None:
        addresses = [local(links.to("sale", letter_post.sale))]
        given = Ticket.objects.get(pk=letter_post.given.pk)
        addresses.append(local(links.to("ticket", given)))
        for person in (letter_post.ana, letter_post.bruno):
            change(person, how)
        for address in addresses:
            self.assert_is_over(address)

    def test_proof_goes_on_when_the_account_changes_otherwise(self, letter_post: Post) -> None:
        address = local(links.to("sale", letter_post.sale))
        letter_post.ana.first_name = "Ana"
        letter_post.ana.save()
        assert empty_browser().get(address).status_code == 200

    def test_proof_ends_when_the_ticket_is_passed_on(self, letter_post: Post) -> None:
        given = Ticket.objects.get(pk=letter_post.given.pk)
        address = local(links.to("ticket", given))
        carla: User = UserFactory.create()
        transfers.pass_on(ticket_id=given.pk, giver=letter_post.bruno.pk, receiver=carla.pk)
        self.assert_is_over(address)

    def test_letter_of_a_ticket_that_went_further_is_not_sent(self, letter_post: Post, mailoutbox: Outbox) -> None:
        """Check that it is not sent, because its link would open another person's ticket now."""
        event = Event.objects.filter(name="ticket.received").latest("id")
        transfers.pass_on(ticket_id=letter_post.given.pk, giver=letter_post.bruno.pk, receiver=letter_post.ana.pk)
        mail.send_for({"id": str(event.pk), "event": event.name, "buyer": str(event.buyer), "facts": event.facts})
        assert mailoutbox == []

    def test_staff_sends_new_links(self, letter_post: Post, mailoutbox: Outbox) -> None:
        letter_post.ana.is_staff = letter_post.ana.is_superuser = True
        letter_post.ana.save()
        old = [local(links.to("sale", letter_post.sale))]
        old.append(local(links.to("ticket", Ticket.objects.get(pk=letter_post.given.pk))))
        asked = {"action": "send_new_links", "_selected_action": [str(letter_post.sale.pk)]}
        desk = window_of("ana")
        answer = confirmed(desk, reverse("admin:ticketing_sale_changelist"), asked)
        assert "The links of 1 sale no longer work" in desk.get(answer["Location"]).content.decode()
        for address in old:
            self.assert_is_over(address)
        told = [(event.name, event.buyer) for event in Event.objects.filter(name__contains="links").order_by("id")]
        assert told == [
            ("sale.links_renewed", letter_post.ana.pk),
            ("ticket.links_renewed", letter_post.bruno.pk),
        ]


def change(person: User, how: str) -> None:
    if how == "saved":
        person.email = "elsewhere@example.com"
        person.save()
    elif how == "updated":
        User.objects.filter(pk=person.pk).update(email="elsewhere@example.com")
    elif how == "closed":
        person.is_active = False
        person.save(update_fields=["is_active"])
    elif how == "deleted":
        person.delete()
    else:
        User.objects.filter(pk=person.pk).delete()


class TestActing:
    """Check that reading needs the link, while refunds and transfers need the mailed code or the account."""

    def code(self, post: Post, outbox: Outbox) -> str:
        letter = post.send("sale.code_asked", outbox)
        assert letter.to == ["ana@example.com"]
        (code,) = re.findall(r"^\d{6}$", str(letter.body), re.MULTILINE)
        return str(code)

    def address(self, name: str, post: Post) -> str:
        return local(links.to(name, post.sale))

    def test_link_alone_gives_nothing_back_and_passes_nothing_on(self, letter_post: Post) -> None:
        browser, ticket = empty_browser(), letter_post.ticket("A1")
        page = browser.get(self.address("sale", letter_post)).content.decode()
        assert 'id="refund"' not in page
        assert "Mail me a code" in page
        browser.post(self.address("sale-refund", letter_post), {"ticket": str(ticket.pk)})
        passing = f"/tickets/{ticket.pk}?proof={links.of_sale(letter_post.sale)}"
        assert 'name="username"' not in browser.get(passing).content.decode()
        browser.post(passing, {"username": "bruno"})
        ticket.refresh_from_db()
        assert (ticket.status, ticket.holder, Refund.objects.count()) == ("valid", None, 0)

    def test_code_is_asked_for_on_the_page(self, letter_post: Post) -> None:
        answer = empty_browser().post(self.address("sale-code", letter_post), follow=True)
        assert "A code is on its way" in answer.content.decode()
        event = Event.objects.get(name="sale.code_asked")
        assert event.facts["mailed_code"] == str(MailedCode.objects.get().pk)
        assert mailed_codes.digits_of(MailedCode.objects.get()) not in str(event.facts)

    def test_code_lets_the_browser_give_back(self, letter_post: Post, mailoutbox: Outbox) -> None:
        browser, ticket = empty_browser(), letter_post.ticket("A1")
        typed = {"code": f" {self.code(letter_post, mailoutbox)[:3]} {self.code_of(letter_post)[3:]} "}
        page = browser.post(self.address("sale-confirm", letter_post), typed, follow=True).content.decode()
        assert 'id="refund"' in page
        browser.post(self.address("sale-refund", letter_post), {"ticket": str(ticket.pk)})
        ticket.refresh_from_db()
        assert ticket.status == "void"
        assert empty_browser().get(self.address("sale", letter_post)).content.decode().count("Mail me a code") == 1

    def code_of(self, _post: Post) -> str:
        return mailed_codes.digits_of(MailedCode.objects.latest("made_at"))

    def test_code_lets_the_browser_pass_on(self, letter_post: Post, mailoutbox: Outbox) -> None:
        browser, ticket = empty_browser(), letter_post.ticket("A1")
        browser.post(self.address("sale-confirm", letter_post), {"code": self.code(letter_post, mailoutbox)})
        answer = browser.post(
            f"/tickets/{ticket.pk}?proof={links.of_sale(letter_post.sale)}", {"username": "bruno"}, follow=True
        )
        assert "You passed the ticket on." in answer.content.decode()
        ticket.refresh_from_db()
        assert ticket.holder == letter_post.bruno.pk

    def test_code_acts_for_its_own_sale_alone_and_until_the_links_end(
        self, letter_post: Post, mailoutbox: Outbox
    ) -> None:
        browser, other = empty_browser(), letter_post.buy("D1")
        browser.post(self.address("sale-confirm", letter_post), {"code": self.code(letter_post, mailoutbox)})
        assert 'id="refund"' not in browser.get(local(links.to("sale", other))).content.decode()
        links.renew(sale_id=letter_post.sale.pk)
        renewed = Sale.objects.get(pk=letter_post.sale.pk)
        assert 'id="refund"' not in browser.get(local(links.to("sale", renewed))).content.decode()

    def test_browser_that_signs_out_acts_for_no_buyer(self, letter_post: Post, mailoutbox: Outbox) -> None:
        browser = empty_browser()
        browser.post(self.address("sale-confirm", letter_post), {"code": self.code(letter_post, mailoutbox)})
        browser.post(reverse("sign-out"))
        assert 'id="refund"' not in browser.get(self.address("sale", letter_post)).content.decode()

    def test_code_takes_the_link_too(self, letter_post: Post, mailoutbox: Outbox) -> None:
        code = self.code(letter_post, mailoutbox)
        answer = empty_browser().post(reverse("sale-confirm", args=[letter_post.sale.pk]), {"code": code})
        assert answer.status_code == 404

    def test_wrong_code_counts_down_and_ends_the_right_one(self, letter_post: Post, mailoutbox: Outbox) -> None:
        browser, code = empty_browser(), self.code(letter_post, mailoutbox)
        wrong = "000000" if code != "000000" else "000001"
        said = [
            browser.post(self.address("sale-confirm", letter_post), {"code": typed}, follow=True).content.decode()
            for typed in (*[wrong] * mailed_codes.TRIES, code)
        ]
        assert "You can try 4 more times" in said[0]
        assert "You can try 1 more time." in said[3]
        assert "This code is no longer valid" in said[4]
        assert "This code is no longer valid" in said[5]
        assert GRANT not in browser.cookies

    def test_code_counts_once(self, letter_post: Post, mailoutbox: Outbox) -> None:
        code = self.code(letter_post, mailoutbox)
        mailed_codes.redeem(sale_id=letter_post.sale.pk, code=code)
        with pytest.raises(mailed_codes.WrongCode):
            mailed_codes.redeem(sale_id=letter_post.sale.pk, code=code)

    def test_code_lasts_ten_minutes(self, letter_post: Post, mailoutbox: Outbox) -> None:
        code = self.code(letter_post, mailoutbox)
        row = MailedCode.objects.get()
        MailedCode.objects.update(made_at=row.made_at - mailed_codes.LASTS)
        with pytest.raises(mailed_codes.WrongCode):
            mailed_codes.redeem(sale_id=letter_post.sale.pk, code=code)

    def test_code_that_ran_out_is_not_mailed(self, letter_post: Post, mailoutbox: Outbox) -> None:
        mailed_codes.ask(sale_id=letter_post.sale.pk)
        row = MailedCode.objects.get()
        MailedCode.objects.update(made_at=row.made_at - mailed_codes.LASTS)
        event = Event.objects.get(name="sale.code_asked")
        mail.send_for({"id": str(event.pk), "event": event.name, "facts": event.facts})
        assert mailoutbox == []

    def test_sale_has_five_codes_an_hour(self, letter_post: Post) -> None:
        browser, page = empty_browser(), ""
        for _time in range(mailed_codes.AN_HOUR + 1):
            page = browser.post(self.address("sale-code", letter_post), follow=True).content.decode()
        assert "We have mailed the most codes" in page
        assert MailedCode.objects.count() == mailed_codes.AN_HOUR

    def test_account_needs_no_code(self, letter_post: Post) -> None:
        browser = window_of("ana")
        page = browser.get(self.address("sale", letter_post)).content.decode()
        assert 'id="refund"' in page
        assert "Mail me a code" not in page

    def test_other_account_is_as_good_as_none(self, letter_post: Post) -> None:
        page = window_of("bruno").get(self.address("sale", letter_post)).content.decode()
        assert 'id="refund"' not in page
        assert "Mail me a code" in page


def test_forms_are_posted_from_a_page_that_hides_its_address(letter_post: Post) -> None:
    """Check the policy: browsers send `Origin: null` under `no-referrer`, which Django's CSRF check refuses."""
    browser: Any = Client(enforce_csrf_checks=True)
    page = browser.get(local(links.to("sale", letter_post.sale)))
    assert page["Referrer-Policy"] == "strict-origin"
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())[0]
    answer = browser.post(
        local(links.to("sale-code", letter_post.sale)),
        {"csrfmiddlewaretoken": token},
        headers={"origin": "http://testserver"},
    )
    assert answer.status_code == 302
