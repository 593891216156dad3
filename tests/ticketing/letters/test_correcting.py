"""Correct a mistyped address at the box office, so that the tickets go to the right one."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.urls import reverse

from realtime import relay
from realtime.models import Event
from sessions_app.models import Session
from tests.factories import UserFactory
from tests.support.letters import Post
from tests.support.pages import body_of, confirmed, forms_in, window_of
from ticketing.letters import correcting, mail, mailed_codes
from ticketing.models import MailedCode, Sale, Ticket
from ticketing.orders import history
from ticketing.payments import refunds
from ticketing.people.roles import ensure_groups
from ticketing.tickets import links
from ticketing.tickets.opening import GRANT

pytestmark = pytest.mark.django_db(transaction=True)

Outbox = list[EmailMultiAlternatives]
WRONG, RIGHT = "gest@example.com", "guest@example.com"


@pytest.fixture
def post(session: Session) -> Post:
    return Post(session, language="en")


@pytest.fixture
def sale(post: Post) -> Sale:
    """Make a sale of a guest who mistyped the address."""
    return post.buy("C1", "C2", buyer=uuid4(), email=WRONG)


@pytest.fixture
def clerk(sale: Sale) -> str:
    UserFactory.create(username="clerk", is_staff=True).groups.add(ensure_groups()["boxoffice"])
    return reverse("admin:ticketing_sale_change", args=[sale.pk])


def filled_in(desk: Client, address: str, email: str) -> dict[str, list[str]]:
    (form,) = [form for form in forms_in(body_of(desk.get(address)), address) if "email" in form.values]
    return form.filled_in(email=email)


def page_of(name: str, row: Sale | Ticket) -> str:
    """Return the path of the link in a letter."""
    return links.to(name, row).removeprefix(settings.SITE_URL)


def send(name: str, outbox: Outbox) -> EmailMultiAlternatives:
    outbox.clear()
    mail.send_for(relay.message(Event.objects.filter(name=name).latest("id")))
    (letter,) = outbox
    return letter


class TestCorrecting:
    @pytest.mark.parametrize(
        ("language", "asks", "says"),
        [
            ("en", "Correct the address of this order?", f"The tickets go to {RIGHT}"),
            ("pt-br", "Corrigir o endereço deste pedido?", f"Os ingressos vão para {RIGHT}"),
        ],
    )
    def test_correction_asks_first_and_then_sends_the_tickets_there(
        self, sale: Sale, clerk: str, mailoutbox: Outbox, language: str, asks: str, says: str
    ) -> None:
        desk = window_of("clerk", language)
        sent = filled_in(desk, clerk, RIGHT)
        question: Any = desk.post(clerk, sent)
        assert question.context_data["question"].title == asks
        assert [value for _name, value in question.context_data["question"].facts][:3] == [str(sale), WRONG, RIGHT]
        assert Sale.objects.get(pk=sale.pk).email == WRONG
        assert not Event.objects.filter(name="sale.address_corrected").exists()
        answer = confirmed(desk, clerk, sent)
        assert says in body_of(desk.get(answer["Location"]))
        letter = send("sale.address_corrected", mailoutbox)
        assert letter.to == [RIGHT]
        assert letter.attachments[0][0] == f"tickets-{sale.number}.pdf"
        sale.refresh_from_db()
        assert (sale.email, sale.payment.email) == (RIGHT, RIGHT)
        assert Client().get(page_of("sale", sale)).status_code == 200

    def test_correction_is_in_the_history_of_the_sale_and_the_order(self, sale: Sale, clerk: str) -> None:
        desk = window_of("clerk")
        confirmed(desk, clerk, filled_in(desk, clerk, RIGHT))
        entry = LogEntry.objects.get(object_id=str(sale.pk))
        assert entry.user.username == "clerk"
        assert f"from {WRONG} to {RIGHT}" in entry.get_change_message()
        assert f"from {WRONG} to {RIGHT}" in body_of(desk.get(reverse("admin:ticketing_sale_history", args=[sale.pk])))
        (moment,) = [one for one in history.timeline(sale.reservation, [], []) if "clerk" in one.what]
        assert f"from {WRONG} to {RIGHT}" in moment.note
        event = Event.objects.get(name="sale.address_corrected")
        assert event.facts == {"sale": str(sale.pk), "reservation": str(sale.reservation_id)}  # no more about a person

    def test_all_that_follows_goes_to_the_right_address(self, sale: Sale, mailoutbox: Outbox) -> None:
        correcting.correct_address(sale_id=sale.pk, email=RIGHT)
        refunds.ask_refund(sale_id=sale.pk, buyer=None)
        assert send("sale.refunded", mailoutbox).to == [RIGHT]

    def test_letter_that_had_not_gone_out_yet_goes_to_the_right_address(self, sale: Sale, mailoutbox: Outbox) -> None:
        correcting.correct_address(sale_id=sale.pk, email=RIGHT)
        assert send("reservation.confirmed", mailoutbox).to == [RIGHT]

    @pytest.mark.parametrize("what", ["called off", "given back"])
    def test_letter_about_void_tickets_promises_no_show(
        self, post: Post, sale: Sale, mailoutbox: Outbox, what: str
    ) -> None:
        post.call_off() if what == "called off" else refunds.ask_refund(sale_id=sale.pk, buyer=None)
        correcting.correct_address(sale_id=sale.pk, email=RIGHT)
        letter = send("sale.address_corrected", mailoutbox)
        assert (letter.to, letter.attachments) == ([RIGHT], [])
        assert "Enjoy the show!" not in letter.body


class TestWhatWentToTheWrongAddress:
    def test_links_open_nothing_any_more(self, sale: Sale) -> None:
        sale.refresh_from_db()
        rows: list[tuple[str, Sale | Ticket]] = [(name, sale) for name in ("sale", "sale-pdf", "sale-calendar")]
        rows += [("ticket", ticket) for ticket in sale.tickets.all()]
        old = [page_of(name, row) for name, row in rows]
        assert {Client().get(address).status_code for address in old} == {200}
        correcting.correct_address(sale_id=sale.pk, email=RIGHT)
        assert {Client().get(address).status_code for address in old} == {404}

    def test_mailed_code_counts_no_more_nor_what_it_allowed(self, sale: Sale) -> None:
        sale.refresh_from_db()
        stranger = Client()
        confirm, page = (page_of(name, sale) for name in ("sale-confirm", "sale"))
        for _time in range(2):
            mailed_codes.ask(sale_id=sale.pk)
        newest = MailedCode.objects.latest("made_at")
        stranger.post(confirm, {"code": mailed_codes.digits_of(newest)})
        assert GRANT in stranger.cookies
        assert 'id="refund"' in body_of(stranger.get(page))
        mailed_codes.ask(sale_id=sale.pk)
        correcting.correct_address(sale_id=sale.pk, email=RIGHT)
        with pytest.raises(mailed_codes.WrongCode):
            mailed_codes.redeem(sale_id=sale.pk, code=mailed_codes.digits_of(MailedCode.objects.latest("made_at")))
        sale.refresh_from_db()
        assert 'id="refund"' not in body_of(stranger.get(page_of("sale", sale)))

    def test_link_of_a_ticket_that_was_passed_on_goes_on(self, post: Post) -> None:
        address = page_of("ticket", Ticket.objects.get(pk=post.given.pk))
        correcting.correct_address(sale_id=post.sale.pk, email=RIGHT)
        assert Client().get(address).status_code == 200


class TestWhoMay:
    def test_address_stays_as_it_is_without_the_permission(self, sale: Sale, clerk: str) -> None:
        looker = UserFactory.create(username="looker", is_staff=True)
        looker.user_permissions.add(*ensure_groups()["boxoffice"].permissions.exclude(codename="change_sale"))
        desk = window_of("looker")
        page = body_of(desk.get(clerk))
        assert WRONG in page
        assert 'name="email"' not in page
        assert desk.post(clerk, filled_in(window_of("clerk"), clerk, RIGHT)).status_code == 403
        assert Sale.objects.get(pk=sale.pk).email == WRONG

    def test_nothing_else_can_be_changed(self, sale: Sale, clerk: str) -> None:
        desk = window_of("clerk")
        sent = filled_in(desk, clerk, RIGHT) | {"total": ["1"], "refunded": ["1"], "buyer": [str(uuid4())]}
        confirmed(desk, clerk, sent)
        after = Sale.objects.get(pk=sale.pk)
        assert (after.total, after.refunded, after.buyer) == (sale.total, sale.refunded, sale.buyer)

    @pytest.mark.parametrize("email", ["", "nobody", "a@b@c"])
    def test_wrong_address_is_refused(self, sale: Sale, clerk: str, email: str) -> None:
        desk = window_of("clerk")
        answer: Any = desk.post(clerk, filled_in(desk, clerk, email))
        assert answer.status_code == 200
        assert answer.context_data["adminform"].form.errors.keys() == {"email"}
        assert Sale.objects.get(pk=sale.pk).email == WRONG

    def test_same_address_sends_nothing(self, sale: Sale, clerk: str) -> None:
        desk = window_of("clerk")
        assert desk.post(clerk, filled_in(desk, clerk, WRONG)).status_code == 302
        assert not Event.objects.filter(name="sale.address_corrected").exists()
