"""Move a session to an earlier time: earlier requests keep their deadlines until they had fair notice."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest
from django.core.mail import EmailMultiAlternatives
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from pytest_django.fixtures import Settings

from base.clock import db_now
from reservations.hold_request import AT_THE_DOOR, ORDER_SCOPE
from reservations.models import Reservation, Status
from reservations.operations import holding
from reservations.operations.queued import allocate
from sessions_app.models import Session, TicketType
from sessions_app.templatetags.frontrow import clock, full_day, within
from tests.api import client_of, get
from tests.factories import StockFactory
from tests.reservations.test_holding import request_for
from tests.support.letters import Post
from tests.support.pages import body_of, forms_in
from tests.ticketing.letters.test_mail import event
from tests.ticketing.test_paying_at_the_door import assert_sound, order
from ticketing.letters import mail, moving
from ticketing.models import Sale, Ticket
from ticketing.payments import refunds
from ticketing.payments.collecting import give_uncollected_back
from ticketing.refusals import CannotPassOn, RefundClosed
from ticketing.tickets import transfers

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = dt.timedelta(hours=1)
WEEK = dt.timedelta(days=7)


def move(*, ahead: dt.timedelta, **changes: Any) -> None:
    starts_at = db_now() + ahead
    session = Session.objects.latest("id")
    moving.move(session_id=session.pk, changes={"starts_at": starts_at, "ends_at": starts_at + 2 * HOUR} | changes)


def let_pass(hours: float) -> None:
    """Age the requests and the move by this time."""
    ago = hours * HOUR
    Session.objects.update(moved_at=F("moved_at") - ago, moved_earlier_at=F("moved_earlier_at") - ago)
    Reservation.objects.update(accepted_at=F("accepted_at") - ago)


def a_day_after_the_move() -> dt.datetime:
    moved_at = Session.objects.get().moved_earlier_at
    assert moved_at is not None
    return moved_at + dt.timedelta(days=1)


class TestToBePaidAtTheDoor:
    """Check a deadline an hour before the start, which was to be in a week."""

    @pytest.fixture
    def kind(self, transactional_db: None) -> TicketType:
        starts_at = db_now() + WEEK
        made: TicketType = StockFactory.create(
            capacity=5, pay_at_door=True, collect_minutes=60, session__starts_at=starts_at
        )
        return made

    def test_deadline_stays_for_a_day_after_its_holder_was_told(self, ana: UUID, kind: TicketType) -> None:
        order(ana, kind)
        move(ahead=HOUR / 2)
        assert give_uncollected_back() == 0
        let_pass(23.9)
        assert give_uncollected_back() == 0
        let_pass(0.2)
        assert give_uncollected_back() == 1
        assert_sound()

    def test_deadline_stays_as_long_as_the_house_says(self, ana: UUID, kind: TicketType, settings: Settings) -> None:
        settings.MOVED_NOTICE_HOURS = 0
        order(ana, kind)
        move(ahead=HOUR / 2)
        assert give_uncollected_back() == 1

    def test_deadline_stays_no_longer_than_it_would_have(self, ana: UUID, kind: TicketType) -> None:
        move(ahead=1.2 * HOUR)
        let_pass(48)
        order(ana, kind)
        old = Session.objects.get().starts_at
        move(ahead=HOUR)
        assert Ticket.objects.get().collect_until == old - HOUR
        assert give_uncollected_back() == 0

    def test_deadline_follows_the_new_start_for_later_orders(self, ana: UUID, bruno: UUID, kind: TicketType) -> None:
        order(ana, kind)
        move(ahead=1.1 * HOUR)
        order(bruno, kind)
        Session.objects.update(starts_at=F("starts_at") - HOUR / 2)
        assert (give_uncollected_back(), give_uncollected_back()) == (1, 0)
        assert Ticket.objects.get(status="void").sale.buyer == bruno

    @pytest.mark.parametrize("minutes", [20, 30, 40])
    def test_deadline_loses_nothing_by_another_move(self, ana: UUID, kind: TicketType, minutes: int) -> None:
        order(ana, kind)
        move(ahead=HOUR / 2)
        let_pass(1)
        before = Ticket.objects.get().collect_until
        move(ahead=minutes * HOUR / 60, room="Sala 9")
        after = Ticket.objects.get().collect_until
        assert before is not None
        assert after is not None
        assert after >= before
        assert give_uncollected_back() == 0

    def test_deadline_is_given_to_an_order_that_stood_by_for_it(self, ana: UUID, bruno: UUID, kind: TicketType) -> None:
        Session.objects.update(standby=True)
        bought = order(ana, kind, 5, payment={"method": "fake", "token": "ok"})
        waiting = order(bruno, kind)
        assert waiting["standby"]
        move(ahead=HOUR / 2)
        refunds.ask_refund(sale_id=UUID(bought["sale"]["id"]), buyer=None)
        assert get(client_of(bruno), f"/orders/{waiting['id']}").json()["status"] == "COMPLETED"

    def test_deadline_is_given_to_an_order_that_was_in_the_queue(self, ana: UUID, kind: TicketType) -> None:
        asked = request_for(kind.session, buyer=ana, ticket_type=kind.pk, quantity=1, scope=ORDER_SCOPE)
        move(ahead=HOUR / 2)
        allocate([asked])
        assert Sale.objects.get().payment.method == AT_THE_DOOR

    @pytest.mark.parametrize(("language", "said"), [("en", "Pay at the door by "), ("pt-br", "Pague na entrada até ")])
    def test_letter_and_pages_say_until_when(
        self, kind: TicketType, client: Client, mailoutbox: list[EmailMultiAlternatives], language: str, said: str
    ) -> None:
        form = {f"places.{kind.pk}": "1", "method": "door", "email": "ana@example.com"}
        client.post(f"/sessions/{kind.session_id}/order", form, headers={"accept-language": language})
        move(ahead=HOUR / 2)
        mail.send_for(event("sale.session_moved"))
        until = a_day_after_the_move()
        with translation.override(language):
            deadline = f"{said}{within(full_day(until))}, {clock(until)}"
        ((html, _type),) = mailoutbox[-1].alternatives
        assert deadline in mailoutbox[-1].body
        assert deadline in str(html)
        page = client.get(f"/sales/{Sale.objects.get().pk}", headers={"accept-language": language}).content.decode()
        assert said in page
        assert clock(until) in page


class TestStandingBy:
    def test_order_that_waits_is_written_to(self, session: Session, mailoutbox: list[EmailMultiAlternatives]) -> None:
        post = Post(session, language="en")
        waiting = post.stand_by()
        old = session.starts_at
        assert post.move(hours=-3) == 4
        assert Reservation.objects.get(pk=waiting.pk).status == Status.QUEUED
        mail.send_for(event("order.session_moved"))
        (letter,) = mailoutbox
        assert letter.to == ["ana@example.com"]
        assert f"Until now: {full_day(old)}, {clock(old)}" in letter.body
        assert f"Now: {full_day(old - 3 * HOUR)}, {clock(old - 3 * HOUR)}" in letter.body

    def test_order_that_waits_no_more_is_not(self, session: Session, mailoutbox: list[EmailMultiAlternatives]) -> None:
        post = Post(session, language="en")
        waiting = post.stand_by()
        post.move(hours=-3)
        holding.release(reservation_id=waiting.pk, buyer=waiting.buyer)
        mail.send_for(event("order.session_moved"))
        assert mailoutbox == []


class TestSellingWindows:
    def test_admin_warns_of_what_would_never_go_on_sale(self, session: Session, admin_client: Client) -> None:
        StockFactory.create(session=session, name="Pista", sells_from=session.starts_at - HOUR)
        address = reverse("admin:sessions_app_session_change", args=[session.pk])
        (form,) = [
            form for form in forms_in(body_of(admin_client.get(address)), address) if "starts_at_0" in form.values
        ]
        earlier = timezone.localtime(session.starts_at) - 2 * HOUR
        moved = {"starts_at_0": f"{earlier:%Y-%m-%d}", "starts_at_1": f"{earlier:%H:%M:%S}"}
        answer = admin_client.post(address, form.filled_in(**moved))
        assert "The sale of these ticket types would begin only after the start: “Pista”." in body_of(
            admin_client.get(answer["Location"])
        )


class TestGivingBack:
    @pytest.fixture
    def post(self, session: Session) -> Post:
        Session.objects.update(starts_at=db_now() + WEEK, ends_at=db_now() + WEEK + 2 * HOUR, refund_minutes=60)
        return Post(session, language="en")

    def until(self, sale: Sale) -> dt.datetime | None:
        return refunds.refundable_until(Session.objects.get(), asked_at=sale.reservation.accepted_at)

    @pytest.mark.parametrize("moved_refund_hours", [0, 168])
    def test_refund_stays_open_for_a_day(self, post: Post, settings: Settings, moved_refund_hours: int) -> None:
        settings.MOVED_REFUND_HOURS = moved_refund_hours
        move(ahead=HOUR / 60)
        assert self.until(post.sale) == a_day_after_the_move()

    def test_refund_lasts_until_the_start_where_that_is_later(self, post: Post) -> None:
        move(ahead=WEEK / 2)
        assert self.until(post.sale) == Session.objects.get().starts_at

    def test_refund_stays_closed_where_the_house_never_opened_it(self, post: Post, settings: Settings) -> None:
        settings.MOVED_REFUND_HOURS = 0
        Session.objects.update(refund_minutes=None)
        move(ahead=HOUR)
        assert self.until(post.sale) is None

    def test_refund_is_not_reopened_by_a_notice(self, post: Post, settings: Settings) -> None:
        settings.MOVED_REFUND_HOURS = 0
        Session.objects.update(starts_at=db_now() + 2 * HOUR, refund_minutes=180)
        move(ahead=HOUR)
        with pytest.raises(RefundClosed):
            refunds.ask_refund(sale_id=post.sale.pk, buyer=post.ana.pk)

    def test_refund_follows_the_new_start_for_later_buyers(self, post: Post) -> None:
        move(ahead=2 * HOUR)
        assert self.until(post.buy("D1")) == Session.objects.get().starts_at - HOUR

    def test_receiver_may_pass_a_ticket_back_as_long(self, post: Post) -> None:
        """Check this also after the session: only the buyer can get a refund."""
        move(ahead=HOUR)
        let_pass(10)
        Session.objects.update(starts_at=db_now() - 9 * HOUR, ends_at=db_now() - 7 * HOUR)
        transfers.pass_on(ticket_id=post.given.pk, giver=post.bruno.pk, receiver=post.ana.pk)
        assert refunds.ask_refund(sale_id=post.sale.pk, buyer=post.ana.pk, tickets=[post.given.pk]).amount == 2500

    def test_nothing_is_passed_on_when_all_that_is_over(self, post: Post) -> None:
        move(ahead=HOUR)
        let_pass(25)
        Session.objects.update(starts_at=db_now() - 24 * HOUR, ends_at=db_now() - 22 * HOUR)
        with pytest.raises(CannotPassOn, match="over"):
            transfers.pass_on(ticket_id=post.given.pk, giver=post.bruno.pk, receiver=post.ana.pk)
