"""Send a letter of each kind by the real operations, and read the links in it."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from realtime import events, relay
from realtime.models import Event
from reservations.admission import sale_facts
from reservations.hold_request import ORDER_SCOPE, Means
from reservations.models import Reservation
from reservations.operations import sweeps
from sessions_app.models import Session
from tests.factories import StockFactory, UserFactory
from tests.reservations.test_holding import run_out
from tests.support import house
from ticketing.letters import correcting, mail, mailed_codes, moving
from ticketing.models import Payment, Sale, Ticket, User
from ticketing.payments import refunds, starting, steps
from ticketing.tickets import links, transfers

URL = re.compile(r"https?://[^\s\"'<>]+")
REFUNDS = ("refund.refused", "refund.to_hand_out", "refund.handed_out", "refund.paid_back")


class Post:
    """Hold a sale of Ana's with one ticket that Bruno has, and the newest event of each kind that causes letters."""

    def __init__(self, session: Session, *, language: str) -> None:
        self.session = session
        self.ana: User = UserFactory.create(username="ana", email="ana@example.com")
        self.bruno: User = UserFactory.create(username="bruno", email="bruno@example.com")
        self.sale = self.buy("A1", "A2", "A3", language=language)
        self.buy("B1", buyer=self.bruno.pk, language=language)  # so that his language is known
        self.given, self.kept = self.ticket("A2"), self.ticket("A1").pk
        transfers.pass_on(ticket_id=self.given.pk, giver=self.ana.pk, receiver=self.bruno.pk)

    def buy(self, *seats: str, buyer: UUID | None = None, email: str = "", language: str = "en") -> Sale:
        held = house.ask(self.session, *seats, buyer=buyer or self.ana.pk)
        payment = starting.start_payment(
            reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok", email=email, language=language
        )
        steps.finish_payment(payment_id=payment.pk)
        return Sale.objects.get(reservation=held)

    def ticket(self, seat: str) -> Ticket:
        return Ticket.objects.get(session=self.session, seat__label=seat)

    def ticket_of_ana(self) -> Ticket:
        return Ticket.objects.get(sale=self.sale, pk=self.kept)

    def send(self, kind: str, outbox: list[EmailMultiAlternatives]) -> EmailMultiAlternatives:
        """Bring about an event of this kind, and return the letter that goes out for it."""
        MAKE.get(kind, _nothing)(self)
        row = Event.objects.filter(name=kind).latest("id")
        outbox.clear()
        mail.send_for(relay.message(row))
        (letter,) = outbox
        return letter

    def record_refund(self, name: str) -> None:
        facts = {"sale": str(self.sale.pk), "refund": str(uuid4()), "amount": 2500, "currency": "BRL"}
        again = {"again": name == "refund.paid_back"}
        events.record(event=name, session=self.session.pk, buyer=self.ana.pk, facts=facts | again)

    def run_out(self) -> None:
        run_out(house.ask(self.session, "C1", buyer=self.ana.pk))
        sweeps.expire_holds()

    def lose_a_payment(self) -> None:
        payment: Payment = self.sale.payment
        facts = {"payment": str(payment.pk), "amount": 5000, "currency": "BRL", "reason": "too_late"}
        events.record(event="payment.returned", session=self.session.pk, buyer=self.ana.pk, facts=facts)

    def take_back(self) -> None:
        refunds.ask_refund(sale_id=self.sale.pk, buyer=None, tickets=[self.given.pk])

    def give_back(self) -> None:
        refunds.ask_refund(sale_id=self.sale.pk, buyer=self.ana.pk, tickets=[self.ticket("A3").pk])

    def move(self, *, hours: int = 3) -> int:
        self.session.refresh_from_db()
        later = dt.timedelta(hours=hours)
        changes = {"starts_at": self.session.starts_at + later, "ends_at": self.session.ends_at + later}
        return moving.move(session_id=self.session.pk, changes=changes)

    def stand_by(self, *, language: str = "en") -> Reservation:
        """Let Ana order a place without a number, where none is left."""
        Session.objects.filter(pk=self.session.pk).update(standby=True)
        kind = StockFactory.create(session=self.session, capacity=0)
        sale_facts.forget()
        means = Means(method="fake", token="ok", email="ana@example.com", language=language)
        wish = {"ticket_type": kind.pk, "quantity": 1, "scope": ORDER_SCOPE, "key": uuid4().hex}
        return house.ask(self.session, buyer=self.ana.pk, payment=means, **wish)

    def call_off(self) -> None:
        refunds.call_off(session_id=self.session.pk)


def _nothing(_post: Post) -> None:
    """Do nothing: the sale has already caused the event."""


def _renew(post: Post) -> None:
    links.renew(sale_id=post.sale.pk)


# All can be sent in this order: what ends something comes last.
MAKE: dict[str, Callable[[Post], Any]] = {
    "reservation.confirmed": _nothing,
    "ticket.passed_on": _nothing,
    "ticket.received": _nothing,
    "reservation.expired": Post.run_out,
    "payment.returned": Post.lose_a_payment,
    "sale.code_asked": lambda post: mailed_codes.ask(sale_id=post.sale.pk),
    "sale.links_renewed": _renew,
    "ticket.links_renewed": _renew,
    "sale.address_corrected": lambda post: correcting.correct_address(
        sale_id=post.sale.pk, email="ana.maria@example.com"
    ),
    "sale.session_moved": Post.move,
    "ticket.session_moved": Post.move,
    "order.session_moved": lambda post: (post.stand_by(language=post.sale.language), post.move()),
    "sale.refunded": Post.give_back,
    **{name: functools.partial(Post.record_refund, name=name) for name in REFUNDS},
    "sale.session_called_off": Post.call_off,
    "ticket.session_called_off": _nothing,
    "ticket.voided": Post.take_back,
}


def links_of(letter: EmailMultiAlternatives) -> Iterator[str]:
    """Yield every address in the letter, in text and HTML, without the site."""
    ((content, _mimetype),) = letter.alternatives
    for address in {*URL.findall(str(letter.body)), *map(unescape, URL.findall(str(content)))}:
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" == settings.SITE_URL
        yield f"{parts.path}?{parts.query}"
