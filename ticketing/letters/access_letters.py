"""Write letters about access to tickets: a code that was asked for, and new links."""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext as _

from base.clock import db_now
from reservations import people
from ticketing.letters import mailed_codes
from ticketing.letters.letter import Happened, Letter, address_of, address_of_sale, language_of
from ticketing.models import MailedCode, Sale, Ticket
from ticketing.tickets import links


def code_asked(event: Happened) -> Letter | None:
    """Write the code to the buyer while it is valid."""
    rows = MailedCode.objects.select_related("sale__session__show")
    row = rows.filter(pk=event.facts["mailed_code"]).first()
    if row is None or row.used_at is not None or mailed_codes.ends_at(row) <= db_now():
        return None
    sale = row.sale
    address = address_of_sale(sale)
    if not address:
        return None
    with translation.override(sale.language):
        subject = _("Your code for %(show)s") % {"show": sale.session.show.title}
    return Letter(
        to=address,
        language=sale.language,
        subject=subject,
        template="code",
        facts={"sale": sale, "session": sale.session, "code": mailed_codes.digits_of(row)},
    )


def sale_links_renewed(event: Happened) -> Letter | None:
    """Write the new link of a sale to the buyer."""
    sale = Sale.objects.select_related("session__show", "session__hall__venue").get(pk=event.facts["sale"])
    return _new_link(sale, to=address_of_sale(sale), language=sale.language)


def ticket_links_renewed(event: Happened) -> Letter | None:
    """Write the new link to the holder of a transferred ticket, if that person still holds it."""
    holder = people.account_of(event.person)
    rows = Ticket.objects.select_related("sale", "session__show", "session__hall__venue")
    ticket = rows.get(pk=event.facts["ticket"])
    return _new_link(ticket, to=address_of(holder), language=language_of(holder)) if ticket.holder == holder else None


def _new_link(row: Sale | Ticket, *, to: str, language: str) -> Letter | None:
    if not to:
        return None
    session = row.session
    with translation.override(language):
        subject = _("New links to your tickets for %(show)s") % {"show": session.show.title}
    name = "sale" if isinstance(row, Sale) else "ticket"
    return Letter(
        to=to,
        language=language,
        subject=subject,
        template="new_links",
        facts={
            "session": session,
            "number": row.number if isinstance(row, Sale) else None,
            "link": links.to(name, row),
            "paper": links.to(f"{name}-pdf", row),
            "calendar": links.to(f"{name}-calendar", row),
        },
    )
