"""Show a reservation at its own address."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from base.asking import staff_may
from reservations import queries, refusals
from reservations.models import Reservation, Status
from reservations.pages import bill
from sessions_app.models import Seat, Session
from sessions_app.pages.seat_plan import Words
from sessions_app.pages.views import concession_choices
from sessions_app.pages.visitors import Visitor


@require_safe
@never_cache
@ensure_csrf_cookie
def reservation(request: Visitor, reservation_id: UUID) -> HttpResponse:
    """Show the countdown and the way to pay, or the outcome. The server has the state, so a reload loses nothing."""
    is_staff = staff_may(request.user, "reservations.view_reservation")
    if request.buyer is None and not is_staff:
        raise Http404
    try:
        body = queries.find(reservation_id, buyer=None if is_staff else request.buyer)
    except Reservation.DoesNotExist:
        raise Http404 from None
    except queries.NotYetKnown:
        return HttpResponse(render_to_string("503.html", request=request), status=503, headers={"Retry-After": "1"})
    if body["status"] == Status.CONFIRMED:
        return redirect("sale", body["sale"])
    session = get_object_or_404(Session.objects.select_related("show", "hall__venue"), pk=body["session"])
    names, concessions = seat_names(session.pk, body["seats"]), concession_choices(session)
    return render(
        request,
        "reservations/reservation.html",
        {
            "reservation": body,
            "places": len(body["seats"]) or body["quantity"],
            "session": session,
            "session_url": reverse("session", args=[session.pk]),
            "seat_names": names,
            "bill": bill.of(body["lines"], names=names),
            "concessions": concessions,
            "places_to_price": bill.choices(body, concessions, names=names),
            "terms_url": reverse("price", args=[reservation_id]),
            "is_free": body["status"] == Status.HELD and not (body["total"] and body["total"]["amount"]),
            "title": title(body["status"], body["reason"]),
            "story": story(body["status"], body["reason"]),
            "held_until": dt.datetime.fromisoformat(body["expires_at"]) if body["expires_at"] else None,
        },
    )


def seat_names(session_id: UUID, labels: list[str]) -> dict[str, str]:
    """Map each label to its name, like “Row C seat 7”, in plan order."""
    words = Words.of_the_page()
    seats = Seat.objects.of(session_id).filter(label__in=labels).order_by("position")
    return {seat["label"]: words.name_of(seat) for seat in seats.values("label", "section", "row", "number")}


def story(status: str, reason: str | None) -> str:
    """Return what the status means, and what to do. `_words.html` has the same words for hold-panel.js."""
    if reason in refusals.ENDINGS:
        return refusals.ENDINGS[reason].story()
    return {
        Status.QUEUED: _("Your request is in the queue and keeps its place. This takes a moment."),
        Status.HELD: _("Pay before the time runs out."),
        Status.PAYING: _("We are waiting for the bank. Your places are safe until it answers."),
    }.get(Status(status), str(refusals.NotHeld.sentence))


def title(status: str, reason: str | None) -> str:
    """Return the heading, as hold-panel.js has it from _words.html."""
    heading = str(refusals.ENDINGS[reason].heading) if reason in refusals.ENDINGS else ""
    return (
        heading
        or {
            Status.QUEUED: _("In the queue"),
            Status.HELD: _("Held for you"),
            Status.PAYING: _("Paying"),
            Status.REJECTED: _("Not available"),
            Status.EXPIRED: _("Your hold has run out"),
            Status.CANCELLED: _("Released"),
        }[Status(status)]
    )
