"""Write a sale, or one ticket, as an entry of a calendar (iCalendar, RFC 5545).

Note [One entry, many versions]
The UID belongs to the sale or the ticket, so two sales of one session are two entries. SEQUENCE is the sum of counts
that only rise: changes of the session (time, place, called off; the names of its show, venue and ticket types), changes
of the sale (refunded, moved to other seats, joined), and transfers. So opening the file again replaces the entry by the
newer one. Its link has no proof (links.py), because calendars are shared: each reader of the entry would have the
tickets.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Count, Max
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, override

from ticketing.models import Sale, Ticket, TicketStatus, Transfer


def of_sale(sale: Sale) -> bytes:
    """Write an entry for the tickets that the buyer still has."""
    kept = [ticket for ticket in sale.live_tickets if ticket.holder is None]
    passed = Transfer.objects.filter(ticket__sale=sale)
    return _entry(f"sale-{sale.pk}", sale, kept, passed=passed, link=reverse("sale", args=[sale.pk]))


def of_ticket(ticket: Ticket) -> bytes:
    live = [ticket] if ticket.status != TicketStatus.VOID else []
    passed = Transfer.objects.filter(ticket=ticket)
    return _entry(f"ticket-{ticket.pk}", ticket.sale, live, passed=passed, link=reverse("ticket", args=[ticket.pk]))


def _entry(name: str, sale: Sale, tickets: Sequence[Ticket], *, passed: Any, link: str) -> bytes:
    """Write an entry for these valid tickets; without any, the entry is cancelled."""
    from icalendar import STATUS, Calendar, Event  # slow to import

    session, link = sale.session, settings.SITE_URL + link
    transfers = passed.aggregate(count=Count("pk"), last=Max("passed_at"))
    changes = [sale.sold_at, sale.changed_at, session.changed_at, transfers["last"]]
    is_off = session.cancelled_at is not None
    with override(sale.language):
        said = [gettext("The session was called off.")] if is_off else [str(ticket) for ticket in tickets]
        event = Event.new(
            uid=f"{name}@frontrow",
            stamp=timezone.now(),
            created=_utc(sale.sold_at),
            last_modified=_utc(max(moment for moment in changes if moment is not None)),
            sequence=session.sequence + sale.sequence + transfers["count"],
            status=STATUS.CANCELLED if is_off or not tickets else STATUS.CONFIRMED,
            start=_utc(session.starts_at),
            end=_utc(session.ends_at),
            summary=session.show.title,
            location=", ".join(filter(None, [session.place, session.hall.venue.address if session.hall else ""])),
            description="\n".join([*said, link]),
            url=link,
        )
    return bytes(Calendar.new(prodid="-//Frontrow//Tickets//EN", subcomponents=[event]).to_ical())


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(microsecond=0)
