"""Check a moved or called-off session: each ticket holder gets one letter, pages say so, and refunds are open."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from pytest_django.fixtures import Settings

from base.clock import db_now
from realtime import relay
from realtime.models import Event
from reservations.models import Reservation
from sessions_app import operations as catalogue
from sessions_app.models import Session
from sessions_app.templatetags.frontrow import clock, full_day, within
from tests import services
from tests.factories import HallFactory, SessionFactory
from tests.processes import Processes, until
from tests.reservations.test_holding import another_connection
from tests.support.letters import Post
from tests.support.pages import confirmed, forms_in, window_of
from tests.ticketing.upkeep.test_audit import audit
from ticketing.letters import mail, moving
from ticketing.models import Notification, Sale, Ticket, TicketStatus
from ticketing.payments import refunds
from ticketing.people import holders
from ticketing.refusals import RefundClosed
from ticketing.tickets import transfers

pytestmark = pytest.mark.django_db(transaction=True)

Outbox = list[EmailMultiAlternatives]
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def post(session: Session) -> Post:
    return Post(session, language="en")


def deliver(kind: str, outbox: Outbox) -> list[tuple[str, str]]:
    """Let the worker send all letters of the kind, and return addresses and texts."""
    outbox.clear()
    for event in Event.objects.filter(name__endswith=kind).exclude(name__startswith="session.").order_by("id"):
        mail.send_for(relay.message(event))
    return [(letter.to[0], f"{letter.subject}\n{letter.body}") for letter in outbox]


class TestMoved:
    def test_every_holder_is_told_the_old_and_the_new_time(self, post: Post, mailoutbox: Outbox) -> None:
        guest = post.buy("D1", buyer=post.sale.pk, email="guest@example.com")
        old = post.session.starts_at
        assert post.move() == 4
        told = deliver("session_moved", mailoutbox)
        assert sorted(to for to, _text in told) == [
            "ana@example.com",
            "bruno@example.com",
            "bruno@example.com",
            "guest@example.com",
        ]
        for _to, text in told:
            assert f"Until now: {full_day(old)}, {clock(old)}, Sala 1" in text
            assert f"Now: {full_day(old + 3 * HOUR)}, {clock(old + 3 * HOUR)}, Sala 1" in text
        assert {to for to, text in told if "give the tickets back for your money until" in text} >= {
            guest.email,
            "ana@example.com",
        }
        assert sum("pass the ticket back to the person" in text for _to, text in told) == 1

    def test_letter_names_no_ticket_that_was_given_back(self, post: Post, mailoutbox: Outbox) -> None:
        given_back = Ticket.objects.filter(sale=post.sale, holder=None).earliest("pk")
        refunds.pay_back(refund_id=refunds.ask_refund(sale_id=post.sale.pk, buyer=None, tickets=[given_back.pk]).pk)
        kept = [str(ticket) for ticket in post.sale.tickets.filter(holder=None).exclude(pk=given_back.pk)]
        post.move()
        (text,) = [text for to, text in deliver("sale.session_moved", mailoutbox) if to == "ana@example.com"]
        assert all(name in text for name in kept)
        assert str(given_back) not in text

    def test_letter_names_what_the_buyer_has_still_and_counts_what_was_passed_on(
        self, post: Post, mailoutbox: Outbox
    ) -> None:
        post.move()
        (text,) = [text for to, text in deliver("sale.session_moved", mailoutbox) if to == "ana@example.com"]
        assert [name for name in ("A1", "A2", "A3") if f"Standard {name}" in text] == ["A1", "A3"]
        assert "The ticket that you passed on is valid for the new time and place too" in text
        assert "you can give the tickets back for your money until" in text

    def test_letter_promises_nothing_to_a_buyer_who_passed_everything_on(self, post: Post, mailoutbox: Outbox) -> None:
        sale = post.buy("D1", "D2")
        for seat in ("D1", "D2"):
            transfers.pass_on(ticket_id=post.ticket(seat).pk, giver=post.ana.pk, receiver=post.bruno.pk)
        post.move()
        (text,) = [text for _to, text in deliver("sale.session_moved", mailoutbox) if f"/sales/{sale.pk}" in text]
        assert "The 2 tickets that you passed on are valid for the new time and place too" in text
        assert "Tickets that are passed back to you can be given back until" in text
        for untrue in ("Your tickets are valid", "you can give the tickets back", "Standard D1"):
            assert untrue not in text

    def test_letter_promises_no_money_for_unpaid_tickets(self, post: Post, mailoutbox: Outbox) -> None:
        Ticket.objects.filter(sale=post.sale).update(due=F("price"))
        post.move()
        (text,) = [text for to, text in deliver("sale.session_moved", mailoutbox) if to == "ana@example.com"]
        assert "you can give the tickets back until" in text
        assert "money" not in text

    def test_letter_says_what_changed_then_also_after_another_change(self, post: Post, mailoutbox: Outbox) -> None:
        old = post.session.starts_at
        post.move()
        post.move()
        first, *_others = deliver("sale.session_moved", mailoutbox)
        assert f"Now: {full_day(old + 3 * HOUR)}, {clock(old + 3 * HOUR)}" in first[1]

    def test_letter_says_it_in_the_buyers_language(self, session: Session, mailoutbox: Outbox) -> None:
        Post(session, language="pt-br").move()
        subjects = {text.partition("\n")[0] for _to, text in deliver("session_moved", mailoutbox)}
        assert subjects == {f"{session.show.title} tem outro horário ou lugar"}

    def test_another_place_is_told_too(self, post: Post, mailoutbox: Outbox) -> None:
        moving.move(session_id=post.session.pk, changes={"room": "Sala 2"})
        assert "Sala 2" in deliver("sale.session_moved", mailoutbox)[0][1]

    def test_receiver_of_several_tickets_gets_one_letter_with_a_link_to_each(
        self, post: Post, mailoutbox: Outbox
    ) -> None:
        transfers.pass_on(ticket_id=post.ticket("A3").pk, giver=post.ana.pk, receiver=post.bruno.pk)
        post.move()
        ((to, text),) = deliver("ticket.session_moved", mailoutbox)
        assert to == "bruno@example.com"
        assert text.count("/tickets/") == 2

    def test_letter_has_the_new_entry_for_the_calendar(self, post: Post, mailoutbox: Outbox) -> None:
        letter = post.send("sale.session_moved", mailoutbox)
        ((name, content, _kind),) = letter.attachments
        assert name == "session.ics"
        assert "SEQUENCE:1" in str(content)

    @pytest.mark.parametrize("changes", [{}, {"room": "Sala 1"}])
    def test_no_change_is_no_news(self, post: Post, changes: dict[str, Any]) -> None:
        assert moving.move(session_id=post.session.pk, changes=changes) == 0
        assert not Event.objects.filter(name__contains="moved").exclude(name__startswith="reservation.").exists()

    def test_another_end_alone_is_for_calendars(self, post: Post) -> None:
        changes = {"ends_at": post.session.ends_at + HOUR}
        assert moving.move(session_id=post.session.pk, changes=changes) == 0
        post.session.refresh_from_db()
        assert (post.session.sequence, post.session.moved_at) == (1, None)

    def test_session_that_is_over_is_put_right_in_silence(self, post: Post) -> None:
        past = timezone.now() - dt.timedelta(days=2)
        Session.objects.update(starts_at=past, ends_at=past + HOUR)
        assert moving.move(session_id=post.session.pk, changes={"starts_at": past - HOUR}) == 0
        assert not Event.objects.filter(name="session.moved").exists()

    def test_buyer_who_gave_tickets_back_meanwhile_gets_no_letter(self, post: Post, mailoutbox: Outbox) -> None:
        post.move()
        refunds.ask_refund(sale_id=post.sale.pk, buyer=None)
        assert [to for to, _text in deliver("session_moved", mailoutbox)] == ["bruno@example.com"]  # for his own sale

    def test_hall_that_is_taken_is_refused(self, post: Post) -> None:
        hall = HallFactory.create()
        Session.objects.filter(pk=post.session.pk).update(hall=hall)
        other = SessionFactory.create(hall=hall, starts_at=post.session.ends_at + HOUR)
        with pytest.raises(catalogue.HallBusy):
            moving.move(session_id=post.session.pk, changes={"ends_at": other.ends_at})
        assert not Event.objects.filter(name__endswith="session_moved").exists()


class TestExactlyOnce:
    def test_worker_that_dies_before_the_letter_leaves_sends_it_the_next_time(
        self, post: Post, mailoutbox: Outbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        post.move()
        with monkeypatch.context() as dying:
            dying.setattr(EmailMultiAlternatives, "send", _die)
            with pytest.raises(SystemExit):
                deliver("session_moved", mailoutbox)
        told = deliver("session_moved", mailoutbox)
        assert len(told) == Event.objects.filter(name__endswith=".session_moved").count() == 3
        assert deliver("session_moved", mailoutbox) == []

    @pytest.mark.rabbitmq
    def test_worker_that_is_killed_leaves_its_letters_to_the_next(self, post: Post, tmp_path: Path) -> None:
        """Test with real processes: the first worker dies with the first letter."""
        url = os.environ["DATABASE_URL"].rpartition("/")[0] + "/" + connection.settings_dict["NAME"]
        Event.objects.update(published_at=timezone.now())  # only later events count
        post.move()
        folder = tmp_path / "mail"
        with Processes(
            folder=tmp_path,
            DATABASE_URL=url,
            RABBITMQ_URL=services.current().rabbitmq_url or "",
            EMAIL_FILE_PATH=str(folder),
        ) as site:
            dying = site.start("worker", "--jobs", env={"FAULT_POINT": "letter.to_send"})
            until(lambda: "ready." in dying.last_words(), seconds=60, what="the worker that dies")
            site.relay()
            until(lambda: dying.popen.poll() is not None or "SIGKILL" in dying.last_words(), seconds=60, what="its end")
            dying.kill()
            assert not Notification.objects.exists()
            site.worker("--jobs")
            until(lambda: Notification.objects.count() == 3, seconds=60, what=f"letters\n{site.last_words()}")
        written = "".join(file.read_text() for file in folder.iterdir())
        told = re.findall(r"^Message-ID: <([0-9a-f-]+)@frontrow>", written, re.MULTILINE)
        assert sorted(told) == sorted(map(str, Notification.objects.values_list("event", flat=True)))

    @pytest.mark.race
    def test_receiver_of_a_ticket_that_is_just_being_passed_on_is_told(self, post: Post) -> None:
        """Check that the change waits for the ticket, and then sees its owner."""
        with another_connection() as other, ThreadPoolExecutor() as threads:
            other.execute("UPDATE ticketing_ticket SET holder = %s WHERE id = %s", [post.bruno.pk, post.kept])
            moving_it = threads.submit(in_a_thread, post.move)
            until(lambda: waits_for_a_lock(other), what="the change to wait")
            other.commit()
            moving_it.result(timeout=10)
        told = Event.objects.get(name="ticket.session_moved")
        assert (told.buyer, set(told.facts["tickets"])) == (post.bruno.pk, {str(post.given.pk), str(post.kept)})

    def test_change_that_is_rolled_back_sends_no_letter(self, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(holders, "tell", _die)
        with pytest.raises(SystemExit):
            post.move()
        moved = Session.objects.get(pk=post.session.pk)
        assert (moved.starts_at, moved.sequence) == (post.session.starts_at, 0)
        assert not Event.objects.filter(name__endswith="session_moved").exists()

    def test_calling_off_again_sends_no_letter(self, post: Post, mailoutbox: Outbox) -> None:
        for _time in range(2):
            post.call_off()
            refunds.refund_everybody(
                session_id=post.session.pk, each=lambda refund: refunds.pay_back(refund_id=refund.pk)
            )
        assert len(deliver("session_called_off", mailoutbox)) == 3
        assert Notification.objects.count() == 3


def in_a_thread(work: Callable[[], int]) -> int:
    try:
        return work()
    finally:
        connection.close()


def waits_for_a_lock(other: psycopg.Connection) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return other.execute(waiting).fetchone() is not None


def _die(*_arguments: object) -> int:
    raise SystemExit


class TestCalledOff:
    def test_every_holder_is_told(self, post: Post, mailoutbox: Outbox) -> None:
        post.call_off()
        told = deliver("session_called_off", mailoutbox)
        assert sorted(to for to, _text in told) == ["ana@example.com", "bruno@example.com", "bruno@example.com"]
        assert all("The session was called off." in text for _to, text in told)

    @pytest.mark.parametrize("is_paid_back", [False, True])
    def test_letter_names_what_the_buyer_had_and_not_what_was_given_back(
        self, post: Post, mailoutbox: Outbox, is_paid_back: bool
    ) -> None:
        post.give_back()
        post.call_off()
        if is_paid_back:
            refunds.refund_everybody(
                session_id=post.session.pk, each=lambda refund: refunds.pay_back(refund_id=refund.pk)
            )
        (text,) = [
            text for _to, text in deliver("sale.session_called_off", mailoutbox) if f"/sales/{post.sale.pk}" in text
        ]
        assert [name for name in ("A1", "A2", "A3") if f"Standard {name}" in text] == ["A1"]
        assert "Your tickets no longer open any door. The ticket that you passed on no longer opens any door." in text
        assert "You get back the money that you paid" in text

    def test_letter_promises_no_money_for_unpaid_tickets(self, post: Post, mailoutbox: Outbox) -> None:
        Ticket.objects.update(due=F("price"))
        post.call_off()
        told = deliver("session_called_off", mailoutbox)
        assert len(told) == 3
        assert not any("paid" in text for _to, text in told)

    def test_receiver_gets_one_letter_not_two(self, post: Post, mailoutbox: Outbox) -> None:
        post.call_off()
        refunds.refund_everybody(session_id=post.session.pk, each=lambda refund: refunds.pay_back(refund_id=refund.pk))
        assert len(deliver("ticket.session_called_off", mailoutbox)) == 1
        assert deliver("ticket.voided", mailoutbox) == []
        assert audit()["findings"] == []

    def test_letter_that_it_was_moved_is_not_sent_after_that(self, post: Post, mailoutbox: Outbox) -> None:
        post.move()
        post.call_off()
        assert deliver("session_moved", mailoutbox) == []


class TestGivingBack:
    @pytest.fixture(autouse=True)
    def _closed(self, post: Post) -> None:
        Session.objects.update(refund_minutes=None)

    def give_back(self, sale: Sale) -> str:
        return refunds.ask_refund(sale_id=sale.pk, buyer=sale.buyer, tickets=[post_ticket(sale)]).status

    def test_refund_opens_again_for_earlier_buyers(self, post: Post) -> None:
        with pytest.raises(RefundClosed):
            self.give_back(post.sale)
        post.move()
        assert self.give_back(post.sale) == "asked"

    def test_refund_stays_closed_for_later_buyers(self, post: Post) -> None:
        post.move()
        with pytest.raises(RefundClosed):
            self.give_back(post.buy("D1"))

    @pytest.mark.parametrize(("hours", "is_open"), [(0, False), (1, False), (3, True)])
    def test_refund_lasts_as_long_as_the_house_says(
        self, post: Post, settings: Settings, hours: int, is_open: bool
    ) -> None:
        settings.MOVED_REFUND_HOURS = hours
        post.move()
        Session.objects.update(moved_at=db_now() - 2 * HOUR)
        Reservation.objects.update(accepted_at=db_now() - 4 * HOUR)
        if is_open:
            assert self.give_back(post.sale) == "asked"
        else:
            with pytest.raises(RefundClosed):
                self.give_back(post.sale)

    def test_refund_is_open_for_earlier_holds_that_were_paid_afterwards(self, post: Post) -> None:
        post.move()
        Session.objects.update(moved_at=db_now() - HOUR)
        Reservation.objects.update(accepted_at=db_now() - 2 * HOUR)
        assert Session.objects.filter(moved_at__lt=post.sale.sold_at).exists()
        assert self.give_back(post.sale) == "asked"

    def test_refund_ends_with_the_start(self, post: Post) -> None:
        post.move()
        moved = Session.objects.get()
        assert refunds.refundable_until(moved, asked_at=post.sale.reservation.accepted_at) == moved.starts_at

    def test_usual_window_is_never_shorter(self, post: Post) -> None:
        Session.objects.update(refund_minutes=60)
        post.move()
        moved = Session.objects.get()
        moved.moved_at, moved.starts_at = db_now(), db_now() + dt.timedelta(days=30)
        until = refunds.refundable_until(moved, asked_at=post.sale.reservation.accepted_at)
        assert until == moved.starts_at - HOUR


def post_ticket(sale: Sale) -> Any:
    return Ticket.objects.filter(sale=sale, holder=None, status=TicketStatus.VALID).values_list("pk", flat=True)[0]


class TestPages:
    def test_pages_say_that_it_was_moved(self, post: Post) -> None:
        old = post.session.starts_at
        post.move()
        ana, bruno = window_of("ana"), window_of("bruno")
        for browser, address in (
            (ana, reverse("sale", args=[post.sale.pk])),
            (bruno, reverse("ticket", args=[post.given.pk])),
        ):
            page = browser.get(address).content.decode()
            assert "Moved" in page
            assert f"It was planned for {full_day(old)}, {clock(old)}, Sala 1" in page
        assert "Moved" in ana.get("/my-tickets").content.decode()
        assert "This session was moved." in Client().get(f"/sessions/{post.session.pk}").content.decode()

    @pytest.mark.parametrize("paid_back", [False, True])
    def test_pages_say_that_it_was_called_off(self, post: Post, paid_back: bool) -> None:
        post.call_off()
        if paid_back:
            refunds.refund_everybody(
                session_id=post.session.pk, each=lambda refund: refunds.pay_back(refund_id=refund.pk)
            )
        ana, bruno = window_of("ana"), window_of("bruno")
        for browser, address in (
            (ana, reverse("sale", args=[post.sale.pk])),
            (ana, reverse("ticket", args=[post.ticket_of_ana().pk])),
            (bruno, reverse("ticket", args=[post.given.pk])),
        ):
            page = browser.get(address).content.decode()
            assert "Called off" in page
            assert "qr.svg" not in page
            assert "Given back" not in page
            assert "Only this ticket" not in page
        assert "This session was called off." in Client().get(f"/sessions/{post.session.pk}").content.decode()

    def test_pages_write_the_day_as_a_sentence_has_it_in_portuguese(self, post: Post) -> None:
        post.call_off()
        with translation.override("pt-br"):
            since = within(full_day(db_now()))
        portuguese = {"accept-language": "pt-br"}
        page = window_of("ana").get(reverse("sale", args=[post.sale.pk]), headers=portuguese).content.decode()
        assert f"A sessão foi cancelada em {since}." in page
        assert f"Anulado desde {since.partition(' de 2')[0]}" in page

    def test_my_tickets_lists_it_apart(self, post: Post) -> None:
        post.call_off()
        page = window_of("ana").get("/my-tickets").content.decode()
        assert 'id="upcoming"' not in page
        assert 'id="past"' not in page
        assert 'id="called-off"' in page
        assert "Given back" not in page
        assert "Called off" in window_of("bruno").get("/my-tickets").content.decode()


class TestAdmin:
    def test_saving_another_start_tells_the_holders(self, post: Post, admin_client: Client) -> None:
        address = reverse("admin:sessions_app_session_change", args=[post.session.pk])
        page = admin_client.get(address).content.decode()
        (form,) = [form for form in forms_in(page, address) if "starts_at_0" in form.values]
        moved = {
            f"{name}_{part}": f"{timezone.localtime(moment) + HOUR:{pattern}}"
            for name, moment in (("starts_at", post.session.starts_at), ("ends_at", post.session.ends_at))
            for part, pattern in enumerate(("%Y-%m-%d", "%H:%M:%S"))
        }
        asked: Any = admin_client.post(address, form.filled_in(**moved))
        told = "3 letters: one for each order, and one for each person who received a ticket from a buyer"
        assert ("People who get a letter", told) in asked.context["question"].facts
        assert ("Show", post.session.show.title) in asked.context["question"].facts
        assert not Event.objects.filter(name__endswith=".session_moved").exists()
        assert Session.objects.get(pk=post.session.pk).starts_at == post.session.starts_at
        answer = confirmed(admin_client, address, form.filled_in(**moved))
        assert (
            "3 letters with the old and the new time and place" in admin_client.get(answer["Location"]).content.decode()
        )
        assert Event.objects.filter(name__endswith=".session_moved").count() == 3
