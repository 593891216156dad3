"""Write letters about a session that was moved or called off, to each buyer and each receiver of tickets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from base.clock import db_now
from realtime.models import Event
from reservations import people
from reservations.models import Reservation, Status
from sessions_app.models import Session
from ticketing import queries
from ticketing.letters.letter import Happened, Letter, address_of, address_of_sale, language_of
from ticketing.models import Ticket, TicketStatus
from ticketing.payments import refunds
from ticketing.tickets import calendars, links
from ticketing.voiding import SESSION_CANCELLED

MOVED = "session_moved"


def of_sale(event: Happened) -> Letter | None:
    """Write to the buyer, also about transferred tickets, because the money is the buyer's.

    The letter names the tickets that the buyer still has, and counts the transferred ones.
    """
    sale = queries.find_sale(UUID(event.facts["sale"]), buyer=None)
    address = address_of_sale(sale)
    if not address or _is_outdated(event, sale.session, sale.live_tickets):
        return None
    told = sale.live_tickets if _is_about_moving(event) else _ended_with(sale.session, sale.tickets.all())
    own = [ticket for ticket in told if ticket.holder is None]
    until = refunds.refundable_until(sale.session, asked_at=sale.reservation.accepted_at)
    may_come_back = any(ticket.status == TicketStatus.VALID for ticket in own or told)
    return _letter(
        event,
        sale.session,
        to=address,
        language=sale.language,
        facts={
            "number": sale.number,
            "is_buyer": True,
            "paid": _paid_for(told),
            "refundable_until": until if may_come_back and until is not None and until > db_now() else None,
            "collect_until": queries.collect_until(own),
            "tickets": [{"name": str(ticket), "link": ""} for ticket in own],
            "passed_on": len(told) - len(own),
            "link": links.to("sale", sale),
        },
        calendar=calendars.of_sale(sale),
    )


def _ended_with(session: Session, tickets: Iterable[Ticket]) -> list[Ticket]:
    """Return the tickets that ended when the session was called off, without those that were refunded before."""
    off = session.cancelled_at
    return [ticket for ticket in tickets if off and ticket.void and ticket.void.at >= off]


def _paid_for(tickets: Iterable[Ticket]) -> int:
    """Return how much of their price was paid, in minor units."""
    return sum(ticket.price for ticket in tickets if not ticket.due)


def of_receiver(event: Happened) -> Letter | None:
    """Write to the receiver of transferred tickets about those that this person still has."""
    holder = people.account_of(event.person)
    rows = queries.tickets_of(None).filter(pk__in=event.facts["tickets"], holder=holder).order_by("pk")
    tickets = list(rows.exclude(status=TicketStatus.VOID) if _is_about_moving(event) else rows)
    address = address_of(holder)
    if not address or not tickets or _is_outdated(event, tickets[0].session, tickets):
        return None
    return _letter(
        event,
        tickets[0].session,
        to=address,
        language=language_of(holder),
        facts={
            "is_buyer": False,
            "paid": _paid_for(tickets),
            "collect_until": queries.collect_until(tickets),
            "tickets": [{"name": str(ticket), "link": links.to("ticket", ticket)} for ticket in tickets],
            "link": links.to("ticket", tickets[0]),
        },
        calendar=calendars.of_ticket(tickets[0]) if len(tickets) == 1 else None,
    )


def of_order(event: Happened) -> Letter | None:
    """Write to the buyer of an order on standby, while it waits: nothing was sold to this buyer yet."""
    rows = Reservation.objects.select_related("session__show", "session__hall__venue")
    order = rows.get(pk=event.facts["reservation"])
    session, means = order.session, order.payment or {}
    address = means.get("email") or address_of(order.buyer)
    if not address or order.status != Status.QUEUED or session.cancelled_at is not None:
        return None
    language = means.get("language") or language_of(order.buyer)
    link = settings.SITE_URL + reverse("session", args=[session.pk])
    return _letter(
        event,
        session,
        to=address,
        language=language,
        template="waiting_moved",
        facts={"link": link},
        calendar=None,
    )


def was_told_of_calling_off(ticket: Ticket) -> bool:
    """Tell whether the holder of a void ticket gets the letter that calls the session off and says so."""
    if ticket.refund is None or ticket.refund.reason != SESSION_CANCELLED:
        return False
    told = Event.objects.filter(session=ticket.session_id, name="ticket.session_called_off")
    return told.filter(facts__tickets__contains=[str(ticket.pk)]).exists()


def _is_outdated(event: Happened, session: Session, tickets: Sequence[Ticket]) -> bool:
    """Tell whether news of a move is outdated: the session was called off since, or all these tickets are void."""
    if not _is_about_moving(event):
        return False
    return session.cancelled_at is not None or all(ticket.status == TicketStatus.VOID for ticket in tickets)


def _is_about_moving(event: Happened) -> bool:
    return event.name.endswith(MOVED)


def _letter(
    event: Happened,
    session: Session,
    *,
    to: str,
    language: str,
    facts: Mapping[str, object],
    calendar: bytes | None,
    template: str = "",
) -> Letter:
    moved = _is_about_moving(event)
    with translation.override(language):
        subject = _("%(show)s has another time or place") if moved else _("%(show)s is called off")
    return Letter(
        to=to,
        language=language,
        subject=subject % {"show": session.show.title},
        template=template or ("moved" if moved else "called_off"),
        facts={"session": session, **(_old_and_new(event) if moved else {}), **facts},
        enclosed=(("session.ics", calendar, "text/calendar"),) if calendar else (),
    )


class Moment(TypedDict):
    """When and where a session is."""

    starts_at: dt.datetime
    place: str


def _old_and_new(event: Happened) -> dict[str, Moment]:
    """Return time and place before and after that change, even if there was another change since."""
    return {
        name: {"starts_at": dt.datetime.fromisoformat(said["starts_at"]), "place": said["place"]}
        for name, said in (("old", event.facts["from"]), ("new", event.facts["to"]))
    }
