"""Serve the counter, where the box office holds places for a customer, takes cash or a card and prints the tickets.

Its forms are plain; `counter-page.js` adds the live map. Each customer is a buyer of their own.
"""

from __future__ import annotations

import re
from typing import cast
from uuid import UUID

import msgspec
from django.contrib import messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

import sessions_app.queries
from base.clock import reckoned_now
from base.ids import uuid7
from base.standing import stand
from reservations import queries
from reservations.admission import front_door
from reservations.hold_request import COUNTER_SCOPE, Means
from reservations.models import Reservation, Status
from reservations.operations import holding
from reservations.pages import bill
from reservations.pages.views import story
from sessions_app.models import Session
from sessions_app.pages import seat_plan
from sessions_app.pages.tier_looks import legend, looks_of
from sessions_app.pages.views import LONGEST_CHOICE, concession_choices, price_words, session_data
from sessions_app.pages.visitors import Visitor
from ticketing.models import Sale, User
from ticketing.pages.forms import TakenForm
from ticketing.pages.gate import allowed_to
from ticketing.pages.plain_forms import answered, asked, named_terms
from ticketing.payments import paying

SELL = "ticketing.add_sale"
PATIENCE = 10.0  # seconds to wait for the outcome of a hold
LONGEST = 200


@require_safe
@never_cache
@allowed_to(SELL)
def sessions(request: Visitor) -> HttpResponse:
    found = sessions_app.queries.on_sale()[:LONGEST]
    return render(request, "ticketing/counter/sessions.html", {"sessions": found})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@allowed_to(SELL)
def choose(request: Visitor, session_id: UUID) -> HttpResponse:
    try:
        session = sessions_app.queries.find(session_id)
    except Session.DoesNotExist:
        raise Http404 from None
    if request.method == "POST":
        return answered(request, lambda: hold(request, session), back=reverse("counter", args=[session.pk]))
    seat_map = sessions_app.queries.seat_map(session_id)
    types = list(sessions_app.queries.ticket_types().filter(session=session_id))
    tiers = {str(kind.pk): kind for kind in types}
    seats = seat_map["seats"]
    looks = looks_of(tiers, seats)
    prices = price_words(session, tiers, looks)
    return render(
        request,
        "ticketing/counter/choose.html",
        {
            "session": session,
            "plan": seat_plan.draw(seats, prices=prices) if seats else None,
            "tiers": [tiers[key] for key in looks],
            "legend": legend(tiers, looks),
            "stock": [kind for kind in types if kind.capacity is not None],
            "kinds": sorted({seat["kind"] for seat in seats} - {"standard"}),
            "quantities": range(1, min(session.max_per_buyer, LONGEST_CHOICE) + 1),
            "form_key": uuid7().hex,
            "closed": not session.sells_at(reckoned_now()),
            "data": session_data(session, types, looks, version=seat_map["version"]),
        },
    )


def hold(request: Visitor, session: Session) -> HttpResponse:
    """Hold places for a customer. Raises: what `front_door.admit` raises, NotYetKnown."""
    form = request.POST.copy()
    form.setlist("seats", re.findall(r"[^\s,;\0]+", form.get("seats", "")))
    ask = msgspec.structs.replace(asked(session.pk, form), scope=COUNTER_SCOPE)
    admission = front_door.admit(ask, buyer=uuid7(), wait=PATIENCE)
    outcome = admission.outcome or queries.find(admission.id, buyer=None)  # the reply may have been lost on its way
    if outcome["status"] == Status.HELD:
        holding.keep(reservation_id=admission.id)
        return redirect("counter-hold", admission.id)
    if outcome["status"] == Status.QUEUED:
        holding.release(reservation_id=admission.id, buyer=None)
        messages.warning(request, _("The queue is long, so no place is held yet. Try again."))
        return redirect("counter", session.pk)
    taken = ", ".join(conflict["seat"] for conflict in outcome.get("conflicts") or ())
    messages.warning(request, f"{story(outcome['status'], outcome.get('reason'))} {taken}".strip())
    return redirect("counter", session.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@allowed_to(SELL)
def take(request: Visitor, reservation_id: UUID) -> HttpResponse:
    """Show the price and take the payment."""
    held = get_object_or_404(
        Reservation.objects.select_related("session__show", "session__hall__venue", "voucher"), pk=reservation_id
    )
    if held.status == Status.CONFIRMED:
        return redirect("sale", held.sale_id)
    form = TakenForm(request.POST or None)
    here = reverse("counter-hold", args=[held.pk])
    if request.method == "POST" and request.POST.get("action") == "release":
        return answered(request, lambda: give_back(request, held), back=here)
    if request.method == "POST" and request.POST.get("action") == "price":
        return answered(request, lambda: name_terms(request, held), back=here)
    if request.method == "POST" and form.is_valid():
        return answered(request, lambda: sell(request, held, form), back=here)
    body, concessions = queries.reservation_body(held), concession_choices(held.session)
    named = {line["seat"]: f"{line['name']}, {line['seat']}" for line in held.lines}
    return render(
        request,
        "ticketing/counter/take.html",
        {
            "held": held,
            "session": held.session,
            "form": form,
            "over": held.status != Status.HELD or held.is_over_at(reckoned_now()),
            "reservation": body,
            "bill": bill.of(held.lines, names=named),
            "concessions": concessions,
            "places_to_price": bill.choices(body, concessions),
        },
    )


def name_terms(request: Visitor, held: Reservation) -> HttpResponse:
    """Set concessions and voucher. Raises: what `reservations.operations.holding.price` raises."""
    holding.price(reservation_id=held.pk, buyer=None, **named_terms(request.POST))
    return redirect("counter-hold", held.pk)


def give_back(request: Visitor, held: Reservation) -> HttpResponse:
    holding.release(reservation_id=held.pk, buyer=None)
    messages.success(request, _("The places are free again. Nothing was charged."))
    return redirect("counter", held.session_id)


def sell(request: Visitor, held: Reservation, form: TakenForm) -> HttpResponse:
    """Sell the places for the money that staff took. Raises: what `paying.pay` raises."""
    taken = form.cleaned_data
    here = redirect("counter-hold", held.pk)
    made = paying.pay(
        reservation_id=held.pk,
        buyer=None,
        means=Means(method=taken["method"], token=taken["transaction"], email=taken["email"]),
        on_start=lambda _payment: stand(request, lambda: here),
        at_the_counter=True,
    )
    if made.sale is None:
        return here
    sale = Sale.objects.get(payment=made.payment)
    clerk = cast(User, request.user)
    LogEntry.objects.log_actions(clerk.pk, [sale], ADDITION, taken["method"], single_object=True)
    messages.success(request, _("The places are sold. Order %(number)s: print the tickets.") % {"number": sale.number})
    return redirect("sale", sale.pk)


urlpatterns = [
    path("counter", sessions, name="counter-sessions"),
    path("counter/<uuid:session_id>", choose, name="counter"),
    path("counter/holds/<uuid:reservation_id>", take, name="counter-hold"),
]
