"""Write people their tickets, or that a hold expired. Each event sends one letter, however often it comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from base import causes
from base.causes import Cause
from reservations import people
from reservations.pages import bill
from sessions_app.models import Session
from sessions_app.templatetags.frontrow import money
from ticketing import queries
from ticketing.faults import reach
from ticketing.letters import access_letters, change_letters
from ticketing.letters.letter import Happened, Letter, address_of, address_of_sale, language_of
from ticketing.models import Notification, Payment, Sale, Ticket
from ticketing.payments.collecting import NOT_COLLECTED
from ticketing.tickets import links, paper

log = structlog.get_logger(__name__)


def send_for(event: dict[str, Any]) -> None:
    """Send the letter for `event` (realtime.relay.message), once.

    Raises: OSError if the mail server is away or refuses.
    """
    happened = msgspec.convert(event, Happened)
    with causes.working_for(Cause(happened.cause or "")):
        _send_for(happened)


def _send_for(event: Happened) -> None:
    kind, event_id = event.name, event.id
    letter = LETTERS[kind](event)
    if letter is None:  # most sales of a rush: they take no lock
        log.debug("mail.no_address", event_id=str(event_id), kind=kind)
        return
    with _alone_with(event_id) as alone:
        if not alone or Notification.objects.filter(pk=event_id).exists():
            return
        reach("letter.to_send")
        _post(letter, event_id=event_id, cause=event.cause)
        Notification.objects.create(event=event_id, kind=kind)
        log.info("mail.sent", event_id=str(event_id), kind=kind)


@contextmanager
def _alone_with(event_id: UUID) -> Iterator[bool]:
    """Tell whether no other process works on the event.

    This lock belongs to the connection: no transaction is open while the mail server answers.
    """
    key = int.from_bytes(event_id.bytes[-8:], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        ((locked,),) = cursor.fetchall()
        try:
            yield locked
        finally:
            if locked:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])


def _post(letter: Letter, *, event_id: UUID, cause: str | None) -> None:
    """Send a letter. `cause` is the id of the request that it answers, by which its log lines are found."""
    known = {"X-Request-ID": cause} if cause else {}
    with translation.override(letter.language):
        facts = {**letter.facts, "language": letter.language, "site": settings.SITE_URL}
        message = EmailMultiAlternatives(
            " ".join(letter.subject.split()),
            render_to_string(f"ticketing/mail/{letter.template}.txt", facts),
            to=[letter.to],
            headers={"Message-ID": f"<{event_id}@frontrow>", "Auto-Submitted": "auto-generated", **known},
        )
        message.attach_alternative(render_to_string(f"ticketing/mail/{letter.template}.html", facts), "text/html")
        for name, content, media_type in letter.enclosed:
            message.attach(name, content, media_type)
        message.send()


def _confirmed(event: Happened) -> Letter | None:
    """Write to the address that was given with the payment, or else to the account's."""
    sale = Sale.objects.select_related("session__show", "session__hall__venue").get(pk=event.facts["sale"])
    address = address_of_sale(sale)
    if not address:
        return None
    with translation.override(sale.language):
        subject = _("Your tickets for %(show)s") % {"show": sale.session.show.title}
    rows = Ticket.objects.filter(sale=sale).select_related(
        "sale__payment", "sale__reservation", "refund", "session", "seat", "ticket_type"
    )
    tickets = list(rows.order_by("id"))
    return Letter(
        to=address,
        language=sale.language,
        subject=subject,
        template="confirmed",
        facts={
            "sale": sale,
            "bill": bill.of(sale.lines),
            "session": sale.session,
            "tickets": tickets,
            "due": sum(ticket.due for ticket in tickets),
            "collect_until": queries.collect_until(tickets),
            "link": links.to("sale", sale),
            "paper": links.to("sale-pdf", sale),
            "calendar": links.to("sale-calendar", sale),
        },
        enclosed=((f"tickets-{sale.number}.pdf", paper.tickets_pdf(sale), "application/pdf"),),
    )


def _address_corrected(event: Happened) -> Letter | None:
    """Send the tickets again to the right address. Without a valid ticket, send only the sale's link."""
    sale = Sale.objects.select_related("session").get(pk=event.facts["sale"])
    is_off = sale.session.cancelled_at is not None
    return access_letters.sale_links_renewed(event) if is_off or not sale.live_tickets else _confirmed(event)


def _expired(event: Happened) -> Letter | None:
    """Write to accounts with an address. Guests give none before they pay."""
    address = address_of(event.person)
    if not address:
        return None
    session = Session.objects.select_related("show", "hall__venue").get(pk=str(event.session))
    language = language_of(event.person)
    with translation.override(language):
        subject = _("Your seats for %(show)s are free again") % {"show": session.show.title}
    return Letter(
        to=address,
        language=language,
        subject=subject,
        template="expired",
        facts={
            "session": session,
            "seats": event.facts["seats"],
            "places": event.facts["quantity"],
            "link": settings.SITE_URL + reverse("session", args=[session.pk]),
        },
    )


def _passed_on(event: Happened) -> Letter | None:
    """Write to accounts with an address: to the giver of a ticket and to its receiver."""
    buyer, received = event.person, event.name == "ticket.received"
    address = address_of(buyer)
    if not address:
        return None
    rows = Ticket.objects.select_related(
        "sale__payment", "refund", "seat", "ticket_type", "session__show", "session__hall__venue"
    )
    ticket = rows.get(pk=event.facts["ticket"])
    if received and (ticket.void or ticket.owner != people.account_of(buyer)):
        return None  # the receiver transferred it or it was refunded in the meantime
    language = language_of(buyer)
    with translation.override(language):
        subject = _("A ticket for you: %(show)s") if received else _("Your ticket for %(show)s was passed on")
    return Letter(
        to=address,
        language=language,
        subject=subject % {"show": ticket.session.show.title},
        template="passed_on",
        facts={
            "ticket": ticket,
            "session": ticket.session,
            "received": received,
            "link": links.to("ticket", ticket) if received else "",
            "paper": links.to("ticket-pdf", ticket) if received else "",
            "calendar": links.to("ticket-calendar", ticket) if received else "",
        },
        enclosed=(("ticket.pdf", paper.ticket_pdf(ticket, language=language), "application/pdf"),) if received else (),
    )


def _voided(event: Happened) -> Letter | None:
    """Write to the receiver of a transferred ticket when the house takes the ticket back."""
    holder = event.person
    address = address_of(holder)
    if not address:
        return None
    rows = Ticket.objects.select_related("seat", "ticket_type", "refund", "session__show", "session__hall__venue")
    ticket = rows.get(pk=event.facts["ticket"])
    if change_letters.was_told_of_calling_off(ticket):
        return None
    language = language_of(holder)
    with translation.override(language):
        subject = _("Your ticket for %(show)s is void") % {"show": ticket.session.show.title}
    return Letter(
        to=address,
        language=language,
        subject=subject,
        template="voided",
        facts={
            "ticket": ticket,
            "not_collected": ticket.refund is not None and ticket.refund.reason == NOT_COLLECTED,
            "session": ticket.session,
            "link": settings.SITE_URL + reverse("session", args=[ticket.session_id]),
        },
    )


def _refunded(event: Happened) -> Letter | None:
    """Write about tickets that the buyer or the house gave back."""
    sale = Sale.objects.select_related("session__show").get(pk=event.facts["sale"])
    with translation.override(sale.language):
        reasons = {
            "session_cancelled": _("The session was called off."),
            NOT_COLLECTED: _(
                "The tickets were not collected and paid for at the door in time, so their places are on sale again."
            ),
        }
        why = reasons.get(event.facts["reason"], "")
    return _money_back(
        address_of_sale(sale),
        language=sale.language,
        session=sale.session,
        facts=event.facts,
        why=why,
        link=links.to("sale", sale),
        collect=str(sale.number) if event.facts.get("by_hand") else "",
    )


def _refund_now(event: Happened) -> Letter | None:
    """Write about a refund that changed since the last letter: refused, to collect, handed out, or sent after all."""
    name, facts = event.name, event.facts
    if (name == "refund.refused" and facts.get("again")) or (name == "refund.paid_back" and not facts.get("again")):
        return None  # the buyer knows this already
    sale = Sale.objects.select_related("session__show").get(pk=facts["sale"])
    address = address_of_sale(sale)
    if not address:
        return None
    with translation.override(sale.language):
        subject = _("Your money back for %(show)s") % {"show": sale.session.show.title}
        amount = money(facts["amount"], facts["currency"])
    return Letter(
        to=address,
        language=sale.language,
        subject=subject,
        template="refund",
        facts={
            "state": name.removeprefix("refund."),
            "sale": sale,
            "session": sale.session,
            "amount": amount,
            "link": links.to("sale", sale),
        },
    )


def _returned(event: Happened) -> Letter | None:
    """Write about money that came after the places were gone, or that could not be captured in the end."""
    payment = Payment.objects.select_related("reservation__session__show").get(pk=event.facts["payment"])
    session = payment.reservation.session
    with translation.override(payment.language):
        why = _("Your payment arrived after we could no longer sell you the places, so you have no tickets.")
    return _money_back(
        payment.email or address_of(payment.reservation.buyer),
        language=payment.language,
        session=session,
        facts=event.facts,
        why=why,
        link=settings.SITE_URL + reverse("session", args=[session.pk]),
    )


def _money_back(
    address: str,
    *,
    language: str,
    session: Session,
    facts: Mapping[str, Any],
    why: str,
    link: str,
    collect: str = "",
) -> Letter | None:
    """Write about a refund, even of nothing (free, or unpaid at the door). `collect` is the number for the counter."""
    if not address:
        return None
    with translation.override(language):
        said = _("Your money back for %(show)s") if facts["amount"] else _("Your tickets for %(show)s are given back")
        subject = said % {"show": session.show.title}
        amount = money(facts["amount"], facts["currency"]) if facts["amount"] else ""
    return Letter(
        to=address,
        language=language,
        subject=subject,
        template="returned",
        facts={
            "session": session,
            "amount": amount,
            "why": why,
            "link": link,
            "collect": collect,
        },
    )


LETTERS = {
    "reservation.confirmed": _confirmed,
    "reservation.expired": _expired,
    "ticket.passed_on": _passed_on,
    "ticket.received": _passed_on,
    "ticket.voided": _voided,
    "sale.refunded": _refunded,
    "refund.refused": _refund_now,
    "refund.to_hand_out": _refund_now,
    "refund.handed_out": _refund_now,
    "refund.paid_back": _refund_now,
    "payment.returned": _returned,
    "sale.code_asked": access_letters.code_asked,
    "sale.address_corrected": _address_corrected,
    "sale.links_renewed": access_letters.sale_links_renewed,
    "ticket.links_renewed": access_letters.ticket_links_renewed,
    "sale.session_moved": change_letters.of_sale,
    "sale.session_called_off": change_letters.of_sale,
    "ticket.session_moved": change_letters.of_receiver,
    "order.session_moved": change_letters.of_order,
    "ticket.session_called_off": change_letters.of_receiver,
}
