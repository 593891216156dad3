"""Serve pages of people and tickets: sales, tickets, history, accounts, language."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

import reservations.queries
from base.clock import reckoned_now
from base.standing import stand
from reservations.allocation.decision import FREE
from reservations.models import FINAL, Reservation
from reservations.pages import bill
from reservations.refusals import PaymentInProgress
from sessions_app.models import Session
from sessions_app.pages.visitors import Visitor
from sessions_app.templatetags.frontrow import money
from ticketing import queries
from ticketing.models import PaymentStatus, RefundStatus, Sale, Ticket, TicketStatus
from ticketing.pages.forms import PassOnForm, RegisterForm
from ticketing.pages.letter_pages import back_to
from ticketing.payments import refunds
from ticketing.payments.bells import ring_refund
from ticketing.payments.gateways import registry
from ticketing.refusals import NothingToRefund, RefundClosed
from ticketing.tickets import links, transfers
from ticketing.tickets.opening import (
    GRANT,
    by_letter,
    may_act_for,
    may_pass_on,
    open_sale,
    open_ticket,
    proof_of,
    query_of,
)

LONGEST = 100  # purchases that a page lists


@require_safe
@by_letter
@never_cache
def sale(request: Visitor, sale_id: UUID) -> HttpResponse:
    found = open_sale(request, sale_id)
    words = {
        "due": _("To pay at the door"),
        "paid": _("Paid"),
        "partly_refunded": _("Partly given back"),
        "refunded": _("Given back"),
    }
    return render(
        request,
        "ticketing/sale.html",
        {
            "sale": found,
            "tickets": found.tickets.all(),
            "status": words[found.status],
            "paid_by": paid_by(found.payment.method),
            "bill": bill.of(found.lines),
            "due": sum(ticket.due for ticket in found.tickets.all()),
            "collect_until": queries.collect_until(found.tickets.all()),
            "live": [
                ticket
                for ticket in found.tickets.all()
                if ticket.status == TicketStatus.VALID and ticket.holder is None
            ],
            "refundable_until": open_until(found),
            "may_act": may_act_for(request, found),
            "query": query_of(request),
            "refunds": [refund for refund in found.refunds.order_by("id") if refund.amount],
            "register_link": f"{reverse('register')}?{urlencode({'next': request.path})}",
        },
    )


def open_until(sale: Sale) -> dt.datetime | None:
    """Return until when the buyer may get a refund; None if it is too late."""
    until = refunds.refundable_until(sale.session, asked_at=sale.reservation.accepted_at)
    finished = sale.payment.status in {PaymentStatus.CAPTURED, PaymentStatus.DUE}
    return until if finished and until is not None and until > reckoned_now() else None


@require_POST
@by_letter
def refund(request: Visitor, sale_id: UUID) -> HttpResponse:
    """Refund tickets for the buyer."""
    found = open_sale(request, sale_id)
    if not may_act_for(request, found):
        messages.error(request, _("To give tickets back, sign in or let us mail a code to you."))
        return back_to(request, found)
    try:
        chosen = [UUID(text) for text in request.POST.getlist("ticket")]
    except ValueError:
        raise Http404 from None
    try:
        asked = refunds.ask_refund(sale_id=sale_id, buyer=found.buyer, tickets=chosen)
    except Sale.DoesNotExist:
        raise Http404 from None
    except NothingToRefund:
        messages.error(request, _("Choose the tickets you want to give back."))
    except (RefundClosed, PaymentInProgress):
        messages.error(request, _("These tickets cannot be given back now."))
    else:
        stand(request, lambda: back_to(request, found))
        ring_refund(asked.pk)
        amount = money(asked.amount, asked.sale.currency)
        if asked.status == RefundStatus.TO_HAND_OUT:
            text = _("%(amount)s is ready for you at the box office. Give the number of your order there: %(number)s.")
            messages.success(request, text % {"amount": amount, "number": asked.sale.number})
        elif asked.amount:
            messages.success(request, _("%(amount)s is on its way back to you.") % {"amount": amount})
        else:
            messages.success(request, _("The tickets were given back. They had cost nothing."))
    return back_to(request, found)


def paid_by(method: str) -> str:
    """Return the name of a means of payment on a receipt."""
    return str(_("Nothing to pay") if method == FREE.method else registry.METHODS[method].receipt)


@require_http_methods(["GET", "HEAD", "POST"])
@by_letter
@never_cache
def ticket(request: Visitor, ticket_id: UUID) -> HttpResponse:
    """Show one ticket for a gate or a printer; a posted form transfers it."""
    found = open_ticket(request, ticket_id)
    allowed, giver = may_pass_on(request, found), found.owner
    form = PassOnForm(request.POST or None)
    if request.method == "POST" and allowed and form.is_valid() and form.pass_on(found, giver=giver):
        back = redirect("purchases") if request.buyer == giver else redirect(links.to("sale", found.sale))
        stand(request, lambda: back)
        messages.success(request, _("You passed the ticket on."))
        return back
    passable = not transfers.obstacle(found, now=reckoned_now())
    return render(
        request,
        "ticketing/ticket.html",
        {
            "ticket": found,
            "form": form if allowed and (form.is_bound or passable) else None,
            "passable": passable,
            "query": query_of(request),
            "opens_sale": ticket_opens_its_sale(request, found),
        },
    )


def ticket_opens_its_sale(request: Visitor, ticket: Ticket) -> bool:
    """Tell whether the page may link to the whole order. A ticket's own proof opens only the ticket."""
    proof = proof_of(request)
    return ticket.holder is None and (not proof or links.opens_sale(proof, ticket.sale))


@require_safe
@never_cache
def purchases(request: Visitor) -> HttpResponse:
    """List what this visitor holds, has bought and has seen."""
    sales: list[Sale] = []
    given: list[Ticket] = []
    holds: list[Reservation] = []
    waiting: list[Waiting] = []
    if request.buyer is not None:
        sales = list(queries.sales_of(request.buyer)[:LONGEST])
        given = list(queries.tickets_of(request.buyer).filter(holder=request.buyer)[:LONGEST])
        mine = reservations.queries.of_buyer(request.buyer).select_related("session__show")
        waiting = in_queue(request.buyer)
        holds = [hold for hold in mine.exclude(status__in=FINAL) if not hold.is_over_at(reckoned_now())]
    called_off = [one for one in sales if one.session.cancelled_at is not None]
    upcoming = [one for one in sales if one not in called_off and one.session.ends_at > reckoned_now()]
    return render(
        request,
        "ticketing/purchases.html",
        {
            "waiting": waiting,
            "holds": holds,
            "given": sorted(given, key=lambda one: one.session.starts_at),
            "upcoming": sorted(upcoming, key=lambda one: one.session.starts_at),
            "called_off": called_off,
            "past": [one for one in sales if one not in upcoming and one not in called_off],
            "page": "purchases",
        },
    )


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Hold a request in the queue as the page of purchases lists it."""

    id: UUID
    is_order: bool
    session: Session
    places: str


def in_queue(buyer: UUID) -> list[Waiting]:
    """List the buyer's unfinished requests, orders and holds, each with its session."""
    asked = reservations.queries.in_queue(buyer)
    sessions = Session.objects.select_related("show").in_bulk({one.session for one in asked}) if asked else {}
    return [
        Waiting(id=one.id, is_order=one.is_order, session=sessions[one.session], places=", ".join(one.seats))
        for one in asked
        if one.session in sessions
    ]


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: Visitor) -> HttpResponse:
    form = AuthenticationForm(request, data=request.POST or None)
    if request.method == "POST" and form.is_valid():
        request.sign_in(form.get_user())
        return redirect(onward(request))
    return render(request, "ticketing/sign_in.html", {"form": form, "next": onward(request), "page": "sign-in"})


@never_cache
@sensitive_post_parameters("password1", "password2")
@require_http_methods(["GET", "HEAD", "POST"])
def register(request: Visitor) -> HttpResponse:
    form = RegisterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.save(commit=False)
        with transaction.atomic():  # otherwise a failed merge with the guest would leave an account that keeps the name
            user.save()
            request.sign_in(user)
        return redirect(onward(request))
    return render(request, "ticketing/register.html", {"form": form, "next": onward(request), "page": "register"})


@require_POST
def sign_out(request: Visitor) -> HttpResponse:
    request.sign_out()
    answer = redirect("whats-on")
    answer.delete_cookie(GRANT, samesite="Lax")
    return answer


def onward(request: Visitor) -> str:
    """Return the address that the visitor wanted, but never one of another site."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    here = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if here else resolve_url("whats-on")
