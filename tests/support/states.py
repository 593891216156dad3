"""Make a ticket in each state that people meet, by the real operations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from uuid import UUID, uuid4

from django.utils import timezone

from reservations.hold_request import AT_THE_DOOR, ORDER_SCOPE, Means
from sessions_app.models import Session
from tests import factories
from tests.support.house import ask, buy
from ticketing.models import Sale, Ticket, User
from ticketing.payments import collecting, refunds, selling, starting, steps
from ticketing.payments.gateways import Attempt, fake
from ticketing.tickets import doors, transfers
from ticketing.voiding import VoidReason

VOID = {
    "given back": VoidReason.GIVEN_BACK,
    "taken back": VoidReason.BOX_OFFICE,
    "called off": VoidReason.CALLED_OFF,
    "called off just now": VoidReason.CALLED_OFF,
    "not collected": VoidReason.NOT_COLLECTED,
    "not paid": VoidReason.PAYMENT_FAILED,
}
LIVE = ("valid", "used", "due")
PASSED_ON = "passed on"
EVERY = (*LIVE, *VOID, PASSED_ON)


def ticket_in(state: str, session: Session, *, buyer: UUID) -> Ticket:
    """Sell the buyer a ticket of the session and bring it into the state, one of EVERY."""
    selling = {"due": _order, "not collected": _order, "not paid": _sell_without_capture}
    sale = selling.get(state, _sell)(session, buyer)
    if state in AFTERWARDS:
        AFTERWARDS[state](sale)
    return Ticket.objects.select_related("sale__payment", "refund", "seat", "session__show").get(sale=sale)


def _sell(session: Session, buyer: UUID) -> Sale:
    sale = buy(session, "A1", buyer=buyer)
    assert sale is not None
    return sale


def _order(session: Session, buyer: UUID) -> Sale:
    kind = factories.StockFactory.create(session=session, pay_at_door=True, collect_minutes=60)
    means = Means(method=AT_THE_DOOR, token="")
    order = {"ticket_type": kind.pk, "quantity": 1, "scope": ORDER_SCOPE, "key": uuid4().hex}
    return Sale.objects.get(reservation=ask(session, buyer=buyer, payment=means, **order))


def _sell_without_capture(session: Session, buyer: UUID) -> Sale:
    held = ask(session, "A1", buyer=buyer)
    payment = starting.start_payment(reservation_id=held.pk, buyer=buyer, method="fake", token="ok")
    attempt = Attempt(id=payment.pk, amount=payment.amount, currency=payment.currency, token="ok")
    fake.authorise(attempt)
    selling.sell(selling.Authorised(payment=payment.pk, reference=""))
    fake.void(attempt)
    steps.finish_payment(payment_id=payment.pk)
    return Sale.objects.get(payment=payment)


def _let_in(sale: Sale) -> None:
    gabi: User = factories.UserFactory.create(is_staff=True)
    doors.check_in(code=sale.tickets.get().code, by=gabi, gate="Door 1", session=sale.session_id, anyway=True)


def _give_back(sale: Sale) -> None:
    Session.objects.filter(pk=sale.session_id).update(refund_minutes=60)
    refunds.ask_refund(sale_id=sale.pk, buyer=sale.buyer)


def _take_back(sale: Sale) -> None:
    refunds.ask_refund(sale_id=sale.pk, buyer=None, reason=refunds.BOX_OFFICE)


def _say_it_is_off(sale: Sale) -> None:
    refunds.call_off(session_id=sale.session_id)


def _call_off(sale: Sale) -> None:
    _say_it_is_off(sale)
    refunds.refund_everybody(session_id=sale.session_id, each=lambda _refund: None)


def _leave_uncollected(sale: Sale) -> None:
    start = timezone.now() + dt.timedelta(minutes=30)
    Session.objects.filter(pk=sale.session_id).update(starts_at=start, ends_at=start + dt.timedelta(hours=2))
    assert collecting.give_uncollected_back() == 1


def _pass_on(sale: Sale) -> None:
    bruno: User = factories.UserFactory.create(username="bruno")
    transfers.pass_on(ticket_id=sale.tickets.get().pk, giver=sale.buyer, receiver=bruno.pk)


AFTERWARDS: dict[str, Callable[[Sale], None]] = {
    "used": _let_in,
    "given back": _give_back,
    "taken back": _take_back,
    "called off": _call_off,
    "called off just now": _say_it_is_off,
    "not collected": _leave_uncollected,
    PASSED_ON: _pass_on,
}
