"""Serve what a letter's link opens besides pages: files, and the mailed code that permits more than reading."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from sessions_app.pages.visitors import Visitor
from ticketing.api.tickets import PRIVATE, calendar, picture, printed
from ticketing.letters import mailed_codes
from ticketing.letters.letter import address_of_sale
from ticketing.models import Sale
from ticketing.refusals import NoCodeAnyMore
from ticketing.tickets import calendars, paper
from ticketing.tickets.opening import by_letter, grant, open_sale, open_ticket, query_of

# --- Files


@require_safe
@by_letter
def sale_pdf(request: Visitor, sale_id: UUID) -> HttpResponse:
    found = open_sale(request, sale_id)
    headers = {"Content-Disposition": f'inline; filename="tickets-{found.number}.pdf"', **PRIVATE}
    return HttpResponse(paper.tickets_pdf(found), content_type="application/pdf", headers=headers)


@require_safe
@by_letter
def sale_calendar(request: Visitor, sale_id: UUID) -> HttpResponse:
    return calendar(calendars.of_sale(open_sale(request, sale_id)))


@require_safe
@by_letter
def ticket_pdf(request: Visitor, ticket_id: UUID) -> HttpResponse:
    return printed(open_ticket(request, ticket_id))


@require_safe
@by_letter
def ticket_calendar(request: Visitor, ticket_id: UUID) -> HttpResponse:
    return calendar(calendars.of_ticket(open_ticket(request, ticket_id)))


@require_safe
@by_letter
def ticket_qr(request: Visitor, ticket_id: UUID) -> HttpResponse:
    found = open_ticket(request, ticket_id)
    try:
        return picture(found, kind="svg", content_type="image/svg+xml")
    except NoCodeAnyMore:
        return HttpResponse(status=410, content_type="image/svg+xml")


# --- The mailed code


@require_POST
@by_letter
def mail_code(request: Visitor, sale_id: UUID) -> HttpResponse:
    """Mail a code to the buyer of the sale that this letter's link opens."""
    found = open_sale(request, sale_id)
    if not address_of_sale(found):
        messages.error(request, _("This order has no address, so we cannot mail a code. Ask the box office for help."))
        return back_to(request, found)
    try:
        mailed_codes.ask(sale_id=sale_id)
    except mailed_codes.TooManyCodes:
        messages.error(
            request, _("We have mailed the most codes that an order can get in an hour. Try again in an hour.")
        )
    else:
        text = _("A code is on its way to the address that we sent the tickets to. Type it here within ten minutes.")
        messages.success(request, text)
    return back_to(request, found)


@require_POST
@sensitive_post_parameters("code")
@by_letter
def confirm(request: Visitor, sale_id: UUID) -> HttpResponse:
    """Let this browser act for the buyer, if the code is the one that was mailed."""
    found = open_sale(request, sale_id)
    answer = back_to(request, found)
    try:
        mailed_codes.redeem(sale_id=sale_id, code=request.POST.get("code", ""))
    except mailed_codes.WrongCode as wrong:
        messages.error(request, what_is_wrong(wrong.left))
    else:
        grant(answer, found)
        messages.success(request, _("You can give tickets back and pass them on here for fifteen minutes."))
    return answer


def what_is_wrong(left: int) -> str:
    if not left:
        return _("This code is no longer valid. Ask for a new one.")
    text = ngettext(
        "The code is wrong. You can try %(left)d more time.",
        "The code is wrong. You can try %(left)d more times.",
        left,
    )
    return text % {"left": left}


def back_to(request: Visitor, sale: Sale) -> HttpResponse:
    """Return to the sale's page by the link that opened it."""
    return redirect(reverse("sale", args=[sale.pk]) + query_of(request))
