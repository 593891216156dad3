"""Tickets to show, to print and to remember: the code as a picture, a sale as PDF, its session for a calendar."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import segno
from django.utils.translation import gettext, override

from sessions_app.models import Session
from sessions_app.templatetags.frontrow import clock, full_day, money, spelled
from ticketing.models import Sale, Ticket

if TYPE_CHECKING:
    from fpdf import FPDF

PAGE = (105.0, 148.0)  # millimetres: A6, four on a sheet of A4
CODE_SIDE = 62.0
QUIET_ZONE = 4  # modules around a code, as ISO 18004 asks


def qr(code: str, *, kind: Literal["svg", "png"]) -> bytes:
    out = io.BytesIO()
    segno.make(code, error="m", micro=False).save(out, kind=kind, scale=8, border=QUIET_ZONE, light="#fff")
    return out.getvalue()


def tickets_pdf(sale: Sale) -> bytes:
    """One page for each live ticket that was not passed on, in the sale's language."""
    from fpdf import FPDF  # takes a quarter of a second, which only who prints should wait for

    pdf = FPDF(unit="mm", format=PAGE)
    pdf.set_auto_page_break(auto=False)
    pdf.set_title(f"Frontrow {sale.number}")
    with override(sale.language):
        for ticket in sale.live_tickets:
            if ticket.holder is None:
                pdf.add_page()
                _write(pdf, sale, ticket)
        if not pdf.pages:
            pdf.add_page()  # none is left, and a PDF has a page
    return bytes(pdf.output())


def _write(pdf: FPDF, sale: Sale, ticket: Ticket) -> None:
    session = sale.session
    when = f"{full_day(session.starts_at)}, {clock(session.starts_at)}"
    where = " · ".join(_where(session))
    place = gettext("Seat %s") % ticket.seat.label if ticket.seat else ticket.ticket_type.name
    pdf.set_xy(8, 10)
    paid = f"{ticket.kind} · {money(ticket.price, sale.currency)}"
    for size, text in ((16, session.show.title), (11, when), (11, where), (20, place), (10, paid)):
        pdf.set_font("Helvetica", style="B" if size > 12 else "", size=size)
        pdf.set_x(8)
        pdf.multi_cell(PAGE[0] - 16, size * 0.5, _printable(text), align="L", new_x="LMARGIN", new_y="NEXT")
    _draw_code(pdf, ticket.signed_code, x=(PAGE[0] - CODE_SIDE) / 2, y=68)
    pdf.set_font("Courier", size=11)
    pdf.set_xy(8, 131)
    pdf.cell(PAGE[0] - 16, 5, spelled(ticket.code), align="C")
    pdf.set_font("Helvetica", size=8)
    pdf.set_xy(8, 138)
    pdf.cell(PAGE[0] - 16, 5, _printable(gettext("Sale %s") % sale.number), align="C")
    if ticket.due:
        pdf.set_xy(8, 142)
        owed = f"{gettext('To pay at the door')}: {money(ticket.due, sale.currency)}"
        pdf.cell(PAGE[0] - 16, 5, _printable(owed), align="C")


def _where(session: Session) -> list[str]:
    return [part for part in (session.hall.venue.name if session.hall else "", session.room) if part]


def _printable(text: str) -> str:
    """PDF's own fonts know Latin-1; a font file is not worth its megabytes here."""
    return text.replace("€", "EUR ").encode("latin-1", "replace").decode("latin-1")


def _draw_code(pdf: FPDF, code: str, *, x: float, y: float) -> None:
    rows = [list(row) for row in segno.make(code, error="m", micro=False).matrix_iter(border=QUIET_ZONE)]
    side = CODE_SIDE / len(rows)
    pdf.set_fill_color(0)
    for line, row in enumerate(rows):
        for column, dark in enumerate(row):
            if dark:
                pdf.rect(x + column * side, y + line * side, side + 0.02, side + 0.02, style="F")
