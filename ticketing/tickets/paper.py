"""Show and print tickets: the code as a picture, a sale or one ticket as PDF."""

from __future__ import annotations

import datetime as dt
import io
from typing import TYPE_CHECKING, Literal

import segno
from django.utils import timezone
from django.utils.translation import gettext, override

from sessions_app.models import Session
from sessions_app.templatetags.frontrow import clock, full_day, money, spelled, within
from ticketing.models import Sale, Ticket
from ticketing.tickets.typesetting import Box, Paragraph, Typesetter
from ticketing.voiding import Void

if TYPE_CHECKING:
    from fpdf import FPDF

PAGE = (105.0, 148.0)  # millimetres: A6, four on a sheet of A4
TEXT = Box(8, 9, PAGE[0] - 16, 57)
CODE = Box((PAGE[0] - 62) / 2, 68, 62, 62)
FOOT = Box(8, 137.5, PAGE[0] - 16, 8)
MINUS = "\N{MINUS SIGN}"
QUIET_ZONE = 4  # modules around a code, as ISO 18004 asks


def qr(code: str, *, kind: Literal["svg", "png"]) -> bytes:
    out = io.BytesIO()
    segno.make(code, error="m", micro=False).save(out, kind=kind, scale=8, border=QUIET_ZONE, light="#fff")
    return out.getvalue()


def tickets_pdf(sale: Sale) -> bytes:
    """Make a PDF with a page for each ticket that the buyer has, void ones crossed out, in the sale's language."""
    printed = [ticket for ticket in sale.tickets.all() if ticket.holder is None or ticket.void]
    with override(sale.language):
        setter = typesetter_for(sale, sale.language)
        for ticket in printed:
            print_ticket(setter, sale, sale.session, ticket)
        if not printed:
            _print_all_passed_on(setter, sale)
    return bytes(setter.pdf.output())


def ticket_pdf(ticket: Ticket, *, language: str) -> bytes:
    """Make a PDF of one ticket for its holder."""
    with override(language):
        setter = typesetter_for(None if ticket.holder else ticket.sale, language)
        print_ticket(setter, ticket.sale, ticket.session, ticket)
    return bytes(setter.pdf.output())


def typesetter_for(sale: Sale | None, language: str) -> Typesetter:
    return Typesetter(page=PAGE, title=f"Frontrow {sale.number}" if sale else "Frontrow", language=language)


def print_ticket(setter: Typesetter, sale: Sale, session: Session, ticket: Ticket) -> None:
    """Add the ticket's page, in the active language."""
    setter.pdf.add_page()
    if ticket.void:
        _cross_out(setter.pdf)
    setter.write([*_of_session(session), *_of_place(ticket, sale.currency)], TEXT)
    if ticket.void:
        _print_void(setter, ticket.void)
    else:
        _draw_code(setter.pdf, ticket.signed_code)
        setter.pdf.set_font("Courier", size=11)
        setter.pdf.set_xy(CODE.x, CODE.y + CODE.height + 1)
        setter.pdf.cell(CODE.width, 5, spelled(ticket.code), align="C")
    # The box office asks a buyer for the sale's number. The receiver of a transferred ticket must not learn it, nor the
    # price.
    foot = [] if ticket.holder else [Paragraph(gettext("Sale %s") % sale.number, 8)]
    if ticket.due:
        foot.append(Paragraph(f"{gettext('To pay at the door')}: {money(ticket.due, sale.currency)}", 8))
    setter.write(foot, FOOT, align="center")


def _of_session(session: Session) -> list[Paragraph]:
    return [
        Paragraph(session.show.title, 16, bold=True),
        Paragraph(f"{full_day(session.starts_at)}, {clock(session.starts_at)}", 11),
        Paragraph(zone(session.starts_at), 8),
        *(Paragraph(text, 11) for text in _where(session)),
    ]


def _of_place(ticket: Ticket, currency: str) -> list[Paragraph]:
    section = [Paragraph(ticket.seat.section, 11)] if ticket.seat and ticket.seat.section else []
    place = gettext("Seat %s") % ticket.seat.label if ticket.seat else ticket.ticket_type.name
    return [
        *section,
        Paragraph(place, 20, bold=True),
        Paragraph(ticket.kind, 10),
        *([] if ticket.holder else [Paragraph(money(ticket.price, currency), 10)]),
    ]


def _cross_out(pdf: FPDF) -> None:
    """Draw a grey cross over the whole page, below the text."""
    pdf.set_draw_color(170)
    pdf.set_line_width(1)
    pdf.line(0, 0, *PAGE)
    pdf.line(0, PAGE[1], PAGE[0], 0)


def _print_void(setter: Typesetter, void: Void) -> None:
    since = gettext("Void since %(day)s, %(time)s.") % {"day": within(full_day(void.at)), "time": clock(void.at)}
    why = [Paragraph(text, 11) for text in (str(void.reason.label), since)]
    more = Paragraph(gettext("This ticket is void. It no longer opens any door."), 9)
    setter.write([Paragraph(gettext("Void"), 24, bold=True), *why, more], CODE, align="center")


def _print_all_passed_on(setter: Typesetter, sale: Sale) -> None:
    setter.pdf.add_page()
    told = Paragraph(
        gettext("All tickets of this order were passed on. Only the people who have them now can print them."), 11
    )
    setter.write([*_of_session(sale.session), told], TEXT)
    setter.write([Paragraph(gettext("Sale %s") % sale.number, 8)], FOOT, align="center")


def zone(moment: dt.datetime) -> str:
    """Name the time zone of the house at that time, as in “local time, UTC+1”."""
    offset = timezone.localtime(moment).utcoffset() or dt.timedelta()
    hours, minutes = divmod(abs(offset) // dt.timedelta(minutes=1), 60)
    sign = MINUS if offset < dt.timedelta() else "+"
    ahead = f"{sign}{hours}{f':{minutes:02}' if minutes else ''}" if offset else ""
    return gettext("local time, UTC%(offset)s") % {"offset": ahead}


def _where(session: Session) -> list[str]:
    return [part for part in (session.hall.venue.name if session.hall else "", session.room) if part]


def _draw_code(pdf: FPDF, code: str) -> None:
    rows = [list(row) for row in segno.make(code, error="m", micro=False).matrix_iter(border=QUIET_ZONE)]
    side = CODE.width / len(rows)
    pdf.set_fill_color(0)
    for line, row in enumerate(rows):
        for column, dark in enumerate(row):
            if dark:
                pdf.rect(CODE.x + column * side, CODE.y + line * side, side + 0.02, side + 0.02, style="F")
