"""Show the box office's live map of a session: buyers of seats, taking seats off sale, releasing and moving.

Every action works as a plain form; `desk.js` sends the same form without leaving the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

import sessions_app.queries
from base.refusals import Refused
from reservations.allocation.changes import CannotMove
from reservations.models import Reservation
from reservations.operations import holding, inventory
from reservations.queries import NotYetKnown
from reservations.refusals import NotHeld
from sessions_app.models import MAX_SEATS, Seat, Session
from sessions_app.pages import seat_plan
from sessions_app.pages.tier_looks import legend, looks_of
from sessions_app.pages.views import price_words, session_data
from ticketing import queries
from ticketing.bodies import HolderBody, LinkedHolder
from ticketing.models import User
from ticketing.payments import selling

LOOK = "sessions_app.view_session"
LOOK_AT_HOLDERS = "reservations.view_reservation"
CHANGE_SEATS = "sessions_app.change_seat"
CHANGE_RESERVATIONS = "reservations.change_reservation"
NEEDED = {
    "block": CHANGE_SEATS,
    "unblock": CHANGE_SEATS,
    "release": CHANGE_RESERVATIONS,
    "move": CHANGE_RESERVATIONS,
}
LISTED = 100  # reservations that the page lists; the admin's list of reservations shows all


class NotDone(Exception):
    """Report that nothing was changed, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """Hold a request of staff. `reservation` is the one on the page; by now another may hold the seats."""

    action: str
    seats: list[str]
    to: list[str]
    reservation: UUID | None
    confirmed: bool

    @classmethod
    def of(cls, posted: QueryDict) -> Self:
        return cls(
            action=posted.get("action", ""),
            seats=labels(posted.get("seats", "")),
            to=labels(posted.get("to", "")),
            reservation=_uuid(posted.get("reservation", "")),
            confirmed=posted.get("confirmed") == "yes",
        )


def labels(text: str) -> list[str]:
    """Read “A1, A2” as people write it, each label once."""
    return list(dict.fromkeys(re.findall(r"[^\s,;\0]+", text)))[:MAX_SEATS]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _require(request: HttpRequest, permission: str) -> User:
    user = cast(User, request.user)
    if not user.has_perm(permission):
        raise PermissionDenied
    return user


def _find(session_id: UUID) -> Session:
    try:
        return sessions_app.queries.find(session_id)
    except Session.DoesNotExist:
        raise Http404 from None


# --- Pages


@require_http_methods(["GET", "HEAD", "POST"])
def seat_desk(request: HttpRequest, session_id: UUID) -> HttpResponse:
    user = _require(request, LOOK)
    session = _find(session_id)
    if request.method == "POST":
        return act(request, session, Order.of(request.POST))
    seat_map = sessions_app.queries.seat_map(session_id)
    types = list(sessions_app.queries.ticket_types().filter(session=session_id))
    tiers = {str(kind.pk): kind for kind in types}
    seats = seat_map["seats"]
    looks = looks_of(tiers, seats)
    prices = price_words(session, tiers, looks)
    may_see = user.has_perm(LOOK_AT_HOLDERS)
    data = session_data(session, types, looks, version=seat_map["version"])
    return render(
        request,
        "ticketing/desk/seats.html",
        {
            **framed(request, session),
            "session": session,
            "plan": seat_plan.draw(seats, prices=prices) if seats else None,
            "counts": seat_map["counts"],
            "tiers": [tiers[key] for key in looks],
            "legend": legend(tiers, looks),
            "stock": [kind for kind in types if kind.capacity is not None],
            "kinds": sorted({seat["kind"] for seat in seats} - {"standard"}),
            "may": {action: user.has_perm(permission) for action, permission in NEEDED.items()},
            "may_see": may_see,
            "holders": [linked(holder) for holder in queries.holders(session_id, limit=LISTED)] if may_see else [],
            "listed": LISTED,
            "data": data | {"holders": reverse("seat-holders", args=[session_id]) if may_see else None},
        },
    )


def framed(request: HttpRequest, session: Session) -> dict[str, object]:
    """Return what the admin's frame needs around a page of this session."""
    return {
        **admin.site.each_context(request),
        "title": _("Live map"),
        "subtitle": str(session),
        "opts": Session._meta,
        "original": session,
    }


@require_safe
def seat_holders(request: HttpRequest, session_id: UUID) -> JsonResponse:
    """List the newest reservations that hold or bought something; with `?seats=A1,A2`, those of these seats."""
    _require(request, LOOK_AT_HOLDERS)
    seats = labels(request.GET["seats"]) if "seats" in request.GET else None
    found = queries.holders(session_id, seats=seats, limit=LISTED)
    return JsonResponse({"holders": [linked(holder) for holder in found]})


def linked(holder: HolderBody) -> LinkedHolder:
    link = reverse("admin:reservations_reservation_change", args=[holder["reservation"]])
    return {**holder, "link": link, "name": holder["username"] or _("Guest …%s") % holder["buyer"][-6:]}


# --- Actions


def act(request: HttpRequest, session: Session, order: Order) -> HttpResponse:
    if order.action not in NEEDED:
        return refused(request, session, _("The box office cannot do that."))
    user = _require(request, NEEDED[order.action])
    try:
        if order.action in CONFIRMED_FIRST and not order.confirmed:
            return confirmation(request, session, order)
        done = ACTIONS[order.action](session, order)
    except NotDone as refusal:
        return refused(request, session, str(refusal))
    except Refused as refusal:
        return refused(request, session, refusal.told_to_staff())
    except tuple(REFUSALS) as error:
        return refused(request, session, REFUSALS[type(error)](error))
    note = (
        f"{order.action}: {', '.join(order.seats)} {'→ ' + ', '.join(order.to) if order.to else ''} "
        f"{order.reservation or ''}"
    )
    LogEntry.objects.log_actions(user.pk, [session], CHANGE, " ".join(note.split()), single_object=True)
    return told(request, session, done, messages.SUCCESS)


def block(session: Session, order: Order) -> str:
    changed = inventory.block_seats(session=session.pk, labels=_chosen(order))
    text = ngettext("%(number)d seat was taken off sale.", "%(number)d seats were taken off sale.", len(changed))
    return _with_the_rest(text, changed, order.seats)


def unblock(session: Session, order: Order) -> str:
    changed = inventory.unblock_seats(session=session.pk, labels=_chosen(order))
    text = ngettext("%(number)d seat is on sale again.", "%(number)d seats are on sale again.", len(changed))
    return _with_the_rest(text, changed, order.seats)


def _with_the_rest(text: str, changed: Sequence[str], chosen: Sequence[str]) -> str:
    """Add how many seats were not changed. Raises: NotDone, if none of the chosen ones changed."""
    left = len(chosen) - len(changed)
    rest = ngettext("%(number)d seat was not changed.", "%(number)d seats were not changed.", left)
    rest = rest % {"number": left} if left else ""
    if not changed:
        raise NotDone(rest)
    return f"{text % {'number': len(changed)}} {rest}".strip()


def release(session: Session, order: Order) -> str:
    holding.release(reservation_id=_reservation(session, order), buyer=None)
    return _("The reservation is released; its places are free.")


def move(session: Session, order: Order) -> str:
    selling.move_seats(reservation_id=_reservation(session, order), seats=_chosen(order), to=order.to)
    return _("The buyer was moved from %(seats)s to %(to)s.") % {
        "seats": ", ".join(order.seats),
        "to": ", ".join(order.to),
    }


ACTIONS: dict[str, Callable[[Session, Order], str]] = {
    "block": block,
    "unblock": unblock,
    "release": release,
    "move": move,
}
CONFIRMED_FIRST = frozenset({"release", "move"})


def _chosen(order: Order) -> list[str]:
    """Return the chosen seats. Raises: NotDone."""
    if not order.seats:
        raise NotDone(_("Choose seats first."))
    return order.seats


def _reservation(session: Session, order: Order) -> UUID:
    """Return the reservation that was named, or that of all the chosen seats. Raises: NotDone."""
    if order.reservation:
        named = Reservation.objects.filter(session=session, pk=order.reservation)
        owners: list[UUID | None] = list(named.values_list("pk", flat=True))
    else:
        owned = Seat.objects.of(session.pk).filter(label__in=_chosen(order)).order_by()
        owners = list(owned.values_list("reservation_id", flat=True).distinct())
    if len(owners) != 1 or owners[0] is None:
        raise NotDone(_("Choose seats of one reservation."))
    return owners[0]


def confirmation(request: HttpRequest, session: Session, order: Order) -> HttpResponse:
    """Ask for confirmation, with the name of the buyer. Raises: NotDone."""
    reservation_id = _reservation(session, order)
    found = queries.holders(session.pk, reservation=reservation_id, limit=1)
    if not found:
        raise NotHeld
    may_see = request.user.has_perm(LOOK_AT_HOLDERS)
    context = {"session": session, "order": order, "holder": linked(found[0]), "may_see": may_see}
    return render(request, "ticketing/desk/confirm.html", {**framed(request, session), **context})


# --- Answers


def refused(request: HttpRequest, session: Session, text: str) -> HttpResponse:
    return told(request, session, text, messages.ERROR)


def told(request: HttpRequest, session: Session, text: str, level: int) -> HttpResponse:
    """Answer a script in JSON, and a form with a message on its page."""
    done = level == messages.SUCCESS
    if request.headers.get("Accept") == "application/json":
        return JsonResponse({"done": done, "text": text}, status=200 if done else 409)
    messages.add_message(request, level, text)
    return redirect("seat-desk", session.pk)


def _conflicts(error: CannotMove) -> str:
    words = {
        "held": _("held"),
        "sold": _("sold"),
        "blocked": _("not for sale"),
        "price": _("at another price"),
        "unknown": _("no such seat"),
        "not_theirs": _("not in this reservation"),
        "uneven": _("choose as many new seats as seats to give up"),
    }
    reasons = ", ".join(f"{label} ({words[reason]})" for label, reason in error.conflicts.items())
    return _("The buyer was not moved: %(reasons)s.") % {"reasons": reasons}


REFUSALS: dict[type[Exception], Callable[[Any], str]] = {
    CannotMove: _conflicts,
    Reservation.DoesNotExist: lambda _error: _("There is no such reservation."),
    NotYetKnown: lambda _error: _("There is no such reservation."),
    OperationalError: lambda _error: _("The box office is busy. Try again."),
}
