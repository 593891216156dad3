"""Check the matrix of printed tickets: each state by each script, in both lengths, as foreign programs read them."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext

from sessions_app.models import HallSeat, Seat, Session, Show, TicketType, Venue
from sessions_app.templatetags.frontrow import clock, full_day, money, spelled, within
from tests.api import assert_problem, client_of, get
from tests.factories import HallFactory, SessionFactory, UserFactory
from tests.support.eyes import Letter, Seen, pages_of
from tests.support.house import buy
from tests.support.states import EVERY, PASSED_ON, VOID, ticket_in
from tests.ticketing.letters.test_mail import event
from ticketing import queries
from ticketing.letters import mail
from ticketing.models import Sale, Ticket, User
from ticketing.payments import refunds
from ticketing.tickets import links, paper

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPTS = {
    "English": "“Ocean’s Eleven” – encore… ",
    "Portuguese": "São João na praça, às 8½ ",
    "Polish": "Zażółć gęślą jaźń ",
    "Romanian": "Șapte țări și o ușă ",
    "Greek": "Ο Οδυσσέας και οι Σειρήνες ",
    "Russian": "Мастер и Маргарита ",
    "Hebrew": "שלום עליכם (1001) friends ",
    "Arabic": "ألف ليلة وليلة ١٢٣ ",
    "Japanese": "千と千尋の神隠し、",
    "Korean": "기생충과 살인의 추억 ",
    "wide": "W",
}
RIGHT_TO_LEFT = {"Hebrew", "Arabic"}
LANGUAGES = {"short": "en", "long": "pt-br"}
FIELDS: dict[str, tuple[type[Any], str]] = {
    "title": (Show, "title"),
    "venue": (Venue, "name"),
    "room": (Session, "room"),
    "section": (HallSeat, "section"),
    "seat": (Seat, "label"),
    "ticket type": (TicketType, "name"),
    "concession": (Ticket, "concession"),
}


class Case(NamedTuple):
    state: str
    script: str
    length: str


# Pairwise: each state in each script, each of them in both lengths, and so each script in both lengths with and without
# a code.
CASES = [
    Case(state, script, list(LANGUAGES)[(row + column) % 2])
    for row, state in enumerate(EVERY)
    for column, script in enumerate(SCRIPTS)
]


@pytest.fixture
def session(transactional_db: None) -> Session:
    return new_session()


def new_session() -> Session:
    made: Session = SessionFactory.create(hall=HallFactory.create(), refund_minutes=60)
    return made


def named(field: str, case: Case) -> str:
    """Return a name for each field in the script of the case: as it is, or repeated until the field is full."""
    model, column = FIELDS[field]
    longest = model._meta.get_field(column).max_length
    sample = SCRIPTS[case.script]
    whole = sample * longest if case.length == "long" else sample[:30]
    return f"{list(FIELDS).index(field)} {whole}"[:longest].strip()


def rename(ticket: Ticket, case: Case) -> None:
    """Rename all that is printed on the ticket to the script; in memory only."""
    session = ticket.session
    assert session.hall is not None
    session.show.title = named("title", case)
    session.hall.venue.name = named("venue", case)
    session.room = named("room", case)
    ticket.ticket_type.name = named("ticket type", case)
    ticket.concession = named("concession", case)
    if ticket.seat:
        ticket.seat.section = named("section", case)
        ticket.seat.label = named("seat", case)


def names_on(ticket: Ticket, case: Case) -> list[str]:
    """Return the names in the order of their lines. Without a seat, the ticket type takes its place."""
    of_seat = [named("section", case), f"{gettext('Seat')} {named('seat', case)}"]
    of_stock = [named("ticket type", case)]
    where = [named(field, case) for field in ("title", "venue", "room")]
    return [*where, *(of_seat if ticket.seat else of_stock), ticket.kind]


def other_words_on(ticket: Ticket) -> list[str]:
    """Return all that is printed besides names, in the active language."""
    starts = ticket.session.starts_at
    said = [f"{full_day(starts)}, {clock(starts)}", paper.zone(starts)]
    if ticket.holder is None:
        said += [money(ticket.price, ticket.sale.currency), gettext("Sale %s") % ticket.sale.number]
    if ticket.due:
        said.append(f"{gettext('To pay at the door')}: {money(ticket.due, ticket.sale.currency)}")
    if ticket.void is None:
        return [*said, spelled(ticket.code)]
    since = gettext("Void since %(day)s, %(time)s.") % {
        "day": within(full_day(ticket.void.at)),
        "time": clock(ticket.void.at),
    }
    ended = gettext("This ticket is void. It no longer opens any door.")
    return [*said, gettext("Void"), str(ticket.void.reason.label), since, ended]


def printed(tickets: Mapping[str, Ticket]) -> list[tuple[Case, Seen]]:
    """Print a page for each case, in one document, which loads its fonts once."""
    setter = paper.typesetter_for(tickets["valid"].sale, "en")
    for case in CASES:
        ticket = tickets[case.state]
        rename(ticket, case)
        with translation.override(LANGUAGES[case.length]):
            paper.print_ticket(setter, ticket.sale, ticket.session, ticket)
    return list(zip(CASES, pages_of(bytes(setter.pdf.output())), strict=True))


def squeezed(text: str) -> str:
    """Remove spaces and ends of lines, and use one kind of brackets, which are mirrored from right to left."""
    return re.sub(r"\s", "", text).replace("(", ")")


def is_within(letter: Letter, page: Seen) -> bool:
    return letter.left >= 0 and letter.right <= page.width and letter.top >= 0 and letter.bottom <= page.height


def is_on_the_code(letter: Letter) -> bool:
    x, y, width, height = paper.CODE
    return letter.right > x and letter.left < x + width and letter.bottom > y and letter.top < y + height


class TestMatrix:
    def test_page_says_all_and_its_code_is_read_by_foreign_eyes(self, ana: UUID) -> None:
        tickets = {state: ticket_in(state, new_session(), buyer=ana) for state in EVERY}
        tickets = {state: queries.find_ticket(ticket.pk, buyer=None) for state, ticket in tickets.items()}
        for case, page in printed(tickets):
            ticket = tickets[case.state]
            rename(ticket, case)
            with translation.override(LANGUAGES[case.length]):
                names, others = names_on(ticket, case), other_words_on(ticket)
            text = squeezed(page.text)
            assert Counter(text) == Counter(squeezed("".join([*names, *others]))), case
            assert [words for words in others if squeezed(words) not in text] == [], case
            if case.script not in RIGHT_TO_LEFT:  # readers of PDF disagree about its order
                assert [name for name in names if squeezed(name) not in text] == [], case
            assert [letter for letter in page.letters if not is_within(letter, page)] == [], case
            if case.state in VOID:
                assert (page.zxing, page.opencv) == ((), ()), case
            else:
                assert page.zxing == page.opencv == (ticket.signed_code,), case
                assert [letter.char for letter in page.letters if is_on_the_code(letter)] == [], case

    def test_cases_have_each_pair_and_each_script_and_length_with_a_code_and_without(self) -> None:
        states, scripts, lengths = set(EVERY), set(SCRIPTS), set(LANGUAGES)
        assert {(case.state, case.script) for case in CASES} == set(product(states, scripts))
        assert {(case.state, case.length) for case in CASES} == set(product(states, lengths))
        seen = {(case.script, case.length, case.state in VOID) for case in CASES}
        assert seen == set(product(scripts, lengths, [True, False]))


class TestVoid:
    @pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
    @pytest.mark.parametrize("state", VOID)
    def test_paper_says_why_and_since_when(self, session: Session, ana: UUID, state: str, language: str) -> None:
        ticket = ticket_in(state, session, buyer=ana)
        Sale.objects.update(language=language)
        (page,) = pages_of(get(client_of(ana), f"/sales/{ticket.sale_id}/tickets.pdf").content)
        assert ticket.void is not None
        with translation.override(language):
            why, when = str(ticket.void.reason.label), within(full_day(ticket.void.at))
        flat = " ".join(page.text.split())
        assert why in flat
        assert when in flat
        assert (page.zxing, page.opencv) == ((), ())

    def test_letter_that_goes_out_late_encloses_it_crossed_out(
        self, session: Session, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        ana: User = UserFactory.create(email="ana@example.com")
        sale = buy(session, "A1", "A2", buyer=ana.pk)
        assert sale is not None
        void, kept = sale.tickets.order_by("id")
        refunds.ask_refund(sale_id=sale.pk, buyer=ana.pk, tickets=[void.pk])
        mail.send_for(event("reservation.confirmed"))
        ((_name, pdf, _kind),) = mailoutbox[0].attachments
        assert sorted(page.zxing for page in pages_of(pdf)) == [(), (kept.signed_code,)]


class TestPassedOn:
    @pytest.fixture
    def passed(self, session: Session, ana: UUID) -> Ticket:
        return ticket_in(PASSED_ON, session, buyer=ana)

    @pytest.fixture
    def bruno(self, passed: Ticket) -> User:
        return User.objects.get(username="bruno")

    def test_receiver_prints_it_in_the_language_of_the_request(self, passed: Ticket, bruno: User) -> None:
        for language in ("en", "pt-br"):
            answer = client_of(bruno).get(
                f"/api/v1/tickets/{passed.pk}/ticket.pdf", headers={"accept-language": language}
            )
            assert answer["Content-Type"] == "application/pdf"
            assert "no-store" in answer["Cache-Control"]
            (page,) = pages_of(answer.content)
            assert page.zxing == page.opencv == (passed.signed_code,)
            with translation.override(language):
                assert full_day(passed.session.starts_at) in page.text

    def test_paper_tells_the_receiver_neither_the_order_nor_its_price(self, passed: Ticket, bruno: User) -> None:
        answer = get(client_of(bruno), f"/tickets/{passed.pk}/ticket.pdf")
        (page,) = pages_of(answer.content)
        assert str(passed.sale.number) not in page.text
        assert money(passed.price, passed.sale.currency) not in page.text
        assert str(passed.sale.number).encode() not in answer.content
        assert str(passed.sale.number) not in answer["Content-Disposition"]

    def test_other_buyers_cannot_print_it(self, passed: Ticket, ana: UUID) -> None:
        for other in (ana, UUID(int=7)):
            assert_problem(get(client_of(other), f"/tickets/{passed.pk}/ticket.pdf"), 404, "not_found")

    @pytest.mark.parametrize(
        ("language", "said"), [("en", "All tickets of this order were passed on"), ("pt-br", "foram repassados")]
    )
    def test_page_of_a_sale_with_none_left_says_so(self, passed: Ticket, ana: UUID, language: str, said: str) -> None:
        Sale.objects.update(language=language)
        (page,) = pages_of(get(client_of(ana), f"/sales/{passed.sale_id}/tickets.pdf").content)
        flat = " ".join(page.text.split())
        assert said in flat
        assert passed.session.show.title in flat
        assert (page.zxing, spelled(passed.code) in flat) == ((), False)

    def test_letter_to_the_receiver_encloses_it(self, passed: Ticket, mailoutbox: list[EmailMultiAlternatives]) -> None:
        mail.send_for(event("ticket.received"))
        ((name, pdf, kind),) = mailoutbox[0].attachments
        assert (name, kind) == ("ticket.pdf", "application/pdf")
        (page,) = pages_of(pdf)
        assert page.zxing == (passed.signed_code,)

    def test_link_in_the_letter_opens_the_paper_on_any_device(self, passed: Ticket) -> None:
        address = links.to("ticket-pdf", passed).removeprefix(settings.SITE_URL)
        (page,) = pages_of(Client().get(address).content)
        assert page.zxing == (passed.signed_code,)
        assert Client().get(reverse("ticket-pdf", args=[passed.pk])).status_code == 404

    def test_its_page_leads_to_the_paper(self, passed: Ticket, bruno: User, client: Client) -> None:
        client.post("/sign-in", {"username": bruno.username, "password": "frontrow-demo"})
        address = reverse("ticket-pdf", args=[passed.pk])
        assert address in client.get(reverse("ticket", args=[passed.pk])).content.decode()
        assert len(pages_of(client.get(address).content)) == 1


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("America/Sao_Paulo", "local time, UTC\N{MINUS SIGN}3"),
        ("Europe/Lisbon", "local time, UTC"),
        ("Asia/Kolkata", "local time, UTC+5:30"),
        ("America/St_Johns", "local time, UTC\N{MINUS SIGN}3:30"),
    ],
)
def test_zone_is_that_of_the_house_at_that_moment(zone: str, said: str) -> None:
    with timezone.override(zone):
        assert paper.zone(dt.datetime(2031, 1, 15, 12, tzinfo=dt.UTC)) == said
