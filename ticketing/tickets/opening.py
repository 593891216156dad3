"""Decide which visitors may open the page of a sale or a ticket, and which may act on it.

Its buyer, its holder and staff may open it by their identity. Other visitors need the proof of a letter's link
(links.py), which allows nothing else. A visitor who types in the code that was mailed to the buyer (mailed_codes.py)
gets a cookie for a quarter of an hour. With it this browser acts for the buyer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render

from sessions_app.pages.visitors import Visitor
from ticketing import queries
from ticketing.models import Sale, Ticket
from ticketing.people import roles
from ticketing.tickets import links

GRANT = "acting"  # name of the cookie
GRANT_SALT = "ticketing.tickets.opening"
GRANT_SECONDS = 15 * 60

Arguments = ParamSpec("Arguments")


class LinkOver(Http404):
    """Report that the address opens nothing for this browser: its proof is missing, forged or ended."""


def by_letter(
    view: Callable[Concatenate[Visitor, Arguments], HttpResponse],
) -> Callable[Concatenate[Visitor, Arguments], HttpResponse]:
    """Answer an ended link with a page that says what to do, and keep addresses with a proof in this browser.

    `strict-origin` hides the address from other sites, but forms still say which site they come from, as Django's CSRF
    check needs.
    """

    @functools.wraps(view)
    def opened(request: Visitor, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except LinkOver:
            response = render(request, "ticketing/link_over.html", status=404)
        if links.PARAMETER in request.GET:
            response.headers["Cache-Control"] = "private, no-store"
            response.headers["Referrer-Policy"] = "strict-origin"
            response.headers["X-Robots-Tag"] = "noindex"
        return response

    return opened


def owner(request: Visitor) -> UUID | None:
    """Return the buyer whose things this visitor may open; None means all, for staff with the permission."""
    if request.user.is_staff and request.user.has_perm(roles.SEES_CODES):
        return None
    if request.buyer is None:
        raise Http404
    return request.buyer


def open_sale(request: Visitor, sale_id: UUID) -> Sale:
    """Return the sale if this visitor may open it. Raises: LinkOver."""
    proof = proof_of(request)
    if not proof:
        try:
            return queries.find_sale(sale_id, buyer=owner(request))
        except (Sale.DoesNotExist, Http404):
            raise LinkOver from None
    found = queries.sales_of().filter(pk=sale_id).first()
    if found is None or not (links.opens_sale(proof, found) or found.buyer == request.buyer):
        raise LinkOver
    return found


def open_ticket(request: Visitor, ticket_id: UUID) -> Ticket:
    """Return the ticket if this visitor may open it. Raises: LinkOver."""
    proof = proof_of(request)
    if not proof:
        try:
            return queries.find_ticket(ticket_id, buyer=owner(request))
        except (Ticket.DoesNotExist, Http404):
            raise LinkOver from None
    found = queries.tickets_of(None).filter(pk=ticket_id).first()
    if found is None or not (links.opens_ticket(proof, found) or found.owner == request.buyer):
        raise LinkOver
    return found


def proof_of(request: Visitor) -> str:
    return str(request.GET.get(links.PARAMETER, ""))


def query_of(request: Visitor) -> str:
    """Return the query that makes addresses of the same sale open too."""
    proof = proof_of(request)
    return f"?{urlencode({links.PARAMETER: proof})}" if proof else ""


def may_act_for(request: Visitor, sale: Sale) -> bool:
    """Tell whether this browser belongs to the buyer, or knows the code that was mailed to the buyer."""
    if request.buyer == sale.buyer:
        return True
    granted = request.get_signed_cookie(GRANT, default="", salt=GRANT_SALT, max_age=GRANT_SECONDS)
    return granted == _grant_for(sale)


def may_pass_on(request: Visitor, ticket: Ticket) -> bool:
    """Tell whether this browser belongs to the holder, or may act for a buyer who still has the ticket."""
    return ticket.owner == request.buyer or (ticket.holder is None and may_act_for(request, ticket.sale))


def grant(response: Any, sale: Sale) -> None:
    """Let the browser that gets this answer act for the sale's buyer for a while."""
    response.set_signed_cookie(
        GRANT,
        _grant_for(sale),
        salt=GRANT_SALT,
        max_age=GRANT_SECONDS,
        httponly=True,
        secure=settings.SECURE_COOKIES,
        samesite="Lax",
    )


def _grant_for(sale: Sale) -> str:
    return f"{sale.pk} {sale.links}"
