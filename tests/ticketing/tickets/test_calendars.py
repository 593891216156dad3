"""Read calendar entries with two libraries: `vobject` is the one that does not write them."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import vobject
from django.db import connection
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from icalendar import Calendar

from sessions_app.models import Hall, Session, Show, TicketType, Venue
from tests.factories import HallFactory, SessionFactory, ShowFactory, StockFactory, VenueFactory
from tests.processes import until
from tests.reservations.test_holding import another_connection
from tests.support.letters import Post
from tests.support.pages import forms_in
from tests.ticketing.letters.test_moving import waits_for_a_lock
from ticketing import queries
from ticketing.models import Sale, Ticket
from ticketing.payments import refunds, selling
from ticketing.tickets import calendars, transfers

pytestmark = pytest.mark.django_db(transaction=True)

WEEK = dt.timedelta(days=7)


@pytest.fixture
def post(session: Session) -> Post:
    return Post(session, language="en")


def of_sale(sale: Sale) -> Any:
    return read(calendars.of_sale(queries.find_sale(sale.pk, buyer=None)))


def of_ticket(ticket: Ticket) -> Any:
    return read(calendars.of_ticket(queries.find_ticket(ticket.pk, buyer=None)))


def read(content: bytes) -> Any:
    """Check the entry by RFC 5545 as vobject knows it, and that both libraries read the same; return the event."""
    text = content.decode()
    calendar = vobject.readOne(text)
    assert calendar.validate(raiseException=True)
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    same: Any = Calendar.from_ical(content).walk("VEVENT")[0]
    event = calendar.vevent
    assert (event.uid.value, int(event.sequence.value)) == (str(same["UID"]), int(same["SEQUENCE"]))
    assert event.dtstart.value == same.start
    return event


def sequence(event: Any) -> int:
    return int(event.sequence.value)


def test_entry_says_when_and_where(post: Post) -> None:
    event = of_sale(post.sale)
    post.session.refresh_from_db()
    assert event.dtstart.value == post.session.starts_at.replace(microsecond=0)
    assert event.dtend.value == post.session.ends_at.replace(microsecond=0)
    assert event.summary.value == post.session.show.title
    assert event.location.value == "Sala 1"
    assert event.status.value == "CONFIRMED"
    assert abs(event.dtstamp.value - timezone.now()) < dt.timedelta(minutes=1)
    assert "Standard A1" in event.description.value
    assert "Standard A2" not in event.description.value  # it was transferred


def test_entries_of_two_sales_and_of_each_ticket_are_their_own(post: Post) -> None:
    other = post.buy("D1", "D2")
    rows = [of_sale(post.sale), of_sale(other), *map(of_ticket, Ticket.objects.filter(sale__in=[post.sale, other]))]
    assert len({event.uid.value for event in rows}) == 2 + 5


def test_entry_has_no_link_that_opens_tickets(post: Post) -> None:
    """Check that entries have no proof, because calendars are shared."""
    assert "proof" not in calendars.of_sale(queries.find_sale(post.sale.pk, buyer=None)).decode()


def test_sequence_rises_with_each_change_and_not_without(post: Post) -> None:
    kept = Ticket.objects.get(pk=post.kept)
    steps: list[Callable[[], object]] = [
        lambda: post.move(),
        lambda: post.move(),
        lambda: selling.move_seats(reservation_id=post.sale.reservation_id, seats=["A1"], to=["D1"]),
        lambda: transfers.pass_on(ticket_id=kept.pk, giver=post.ana.pk, receiver=post.bruno.pk),
        lambda: transfers.pass_on(ticket_id=kept.pk, giver=post.bruno.pk, receiver=post.ana.pk),
        lambda: refunds.ask_refund(sale_id=post.sale.pk, buyer=None, tickets=[kept.pk]),
        lambda: post.call_off(),
    ]
    seen = [(sequence(of_sale(post.sale)), sequence(of_ticket(kept)))]
    modified = [of_sale(post.sale).last_modified.value]
    for change in steps:
        change()
        seen.append((sequence(of_sale(post.sale)), sequence(of_ticket(kept))))
        modified.append(of_sale(post.sale).last_modified.value)
        assert seen[-1] == (sequence(of_sale(post.sale)), sequence(of_ticket(kept)))
    for before, after in itertools.pairwise(seen):
        assert after[0] > before[0]
        assert after[1] > before[1]
    assert modified == sorted(modified)


def test_moved_session_has_its_new_time(post: Post) -> None:
    post.move()
    post.session.refresh_from_db()
    assert of_sale(post.sale).dtstart.value == post.session.starts_at.replace(microsecond=0)


@pytest.mark.parametrize("what", ["called off", "given back", "passed on"])
def test_entry_is_cancelled_without_valid_tickets(post: Post, what: str) -> None:
    sale = post.buy("D1")
    ticket = Ticket.objects.get(sale=sale)
    if what == "called off":
        post.call_off()
    elif what == "given back":
        refunds.ask_refund(sale_id=sale.pk, buyer=post.ana.pk)
    else:
        transfers.pass_on(ticket_id=ticket.pk, giver=post.ana.pk, receiver=post.bruno.pk)
    assert of_sale(sale).status.value == "CANCELLED"
    assert of_ticket(ticket).status.value == ("CONFIRMED" if what == "passed on" else "CANCELLED")


def test_entry_speaks_the_buyers_language(session: Session) -> None:
    made = Post(session, language="pt-br")
    made.call_off()
    assert of_sale(made.sale).description.value.startswith("A sessão foi cancelada.")


class TestRenaming:
    @pytest.fixture
    def hall(self, post: Post) -> Hall:
        hall: Hall = HallFactory.create()
        Session.objects.filter(pk=post.session.pk).update(hall=hall)
        return hall

    @pytest.mark.parametrize(
        "rename",
        [
            lambda hall: Show.objects.update(title="Another film"),
            lambda hall: Venue.objects.filter(pk=hall.venue_id).update(name="Cine Paissandu"),
            lambda hall: Venue.objects.filter(pk=hall.venue_id).update(address="Rua Senador Vergueiro, 35"),
            lambda hall: Hall.objects.update(venue=VenueFactory.create()),
        ],
        ids=["show", "venue", "address", "hall's venue"],
    )
    def test_renaming_is_a_change_of_each_entry_that_says_it(
        self, post: Post, hall: Hall, rename: Callable[[Hall], Any]
    ) -> None:
        second = SessionFactory.create(show=post.session.show, hall=hall, starts_at=timezone.now() + WEEK)
        over = SessionFactory.create(show=post.session.show, hall=hall, starts_at=timezone.now() - WEEK)
        other = SessionFactory.create(show=ShowFactory.create(title="Another film"), hall=None)
        before = of_sale(post.sale)
        rename(hall)
        after = of_sale(post.sale)
        assert sequence(after) == sequence(before) + 1
        assert (after.summary.value, after.location.value) != (before.summary.value, before.location.value)
        assert after.last_modified.value >= before.last_modified.value
        told = {row.pk: row.sequence for row in Session.objects.all()}
        assert (told[second.pk], told[over.pk], told[other.pk]) == (1, 0, 0)

    def test_what_entries_do_not_say_is_no_change(self, post: Post, hall: Hall) -> None:
        Show.objects.update(synopsis="A film.", genre="drama", title=F("title"))
        Venue.objects.update(city="Rio de Janeiro")
        Hall.objects.update(name="Sala 7")
        assert Session.objects.get().sequence == 0

    @pytest.mark.race
    def test_renaming_waits_for_a_running_sale_and_loses_no_change(self, post: Post, hall: Hall) -> None:
        def rename() -> int:
            try:
                return Show.objects.update(title="Another film")
            finally:
                connection.close()

        with another_connection() as other, ThreadPoolExecutor() as threads:
            other.execute("UPDATE sessions_app_session SET sequence = sequence + 1 WHERE id = %s", [post.session.pk])
            renaming = threads.submit(rename)
            until(lambda: waits_for_a_lock(other), what="the renaming to wait")
            other.commit()
            renaming.result(timeout=10)
        assert Session.objects.get().sequence == 2

    @pytest.mark.parametrize("where", ["session", "ticket type", "stock"])
    def test_ticket_type_is_a_change_too(self, post: Post, admin_client: Client, where: str) -> None:
        kind = StockFactory.create(session=post.session) if where == "stock" else TicketType.objects.get()
        model, row = ("session", post.session) if where == "session" else ("tickettype", kind)
        address = reverse(f"admin:sessions_app_{model}_change", args=[row.pk])
        name, price = ("ticket_types-0-name", "ticket_types-0-price") if where == "session" else ("name", "price")
        for changed, seen in (({price: "31.00"}, 0), ({name: "Balcony"}, 1)):
            (form,) = [
                form for form in forms_in(admin_client.get(address).content.decode(), address) if name in form.values
            ]
            answer = admin_client.post(address, form.filled_in(**changed))
            assert answer.status_code == 302, answer.content.decode()
            assert Session.objects.get().sequence == seen
        assert where == "stock" or "Balcony A1" in of_sale(post.sale).description.value
