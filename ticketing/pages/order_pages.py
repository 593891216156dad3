"""Serve the pages of orders: one order from the queue to the tickets, and all orders of a buyer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

import reservations.orders
import reservations.queries
from base.asking import staff_may
from base.clock import reckoned_now
from reservations import refusals
from reservations.api.views import SEES_RESERVATIONS
from reservations.bodies import Amount, OrderBody
from reservations.hold_request import HoldRequest
from reservations.models import Reservation
from reservations.orders import STATUS_NAMES
from reservations.pages import bill
from reservations.queries import NotYetKnown
from sessions_app.models import Session, TicketType
from sessions_app.pages.visitors import Visitor
from ticketing import queries
from ticketing.models import Ticket

LISTED = 20  # orders per page
UNFINISHED = frozenset({"PENDING", "PROCESSING"})
STEPS = (
    ("PENDING", gettext_lazy("In the queue")),
    ("PROCESSING", gettext_lazy("Paying")),
    ("COMPLETED", gettext_lazy("Tickets")),
)
TITLES = {
    "PENDING": gettext_lazy("You are in the queue"),
    "PROCESSING": gettext_lazy("We are getting your tickets"),
    "COMPLETED": gettext_lazy("Your tickets are ready"),
    "FAILED": gettext_lazy("You have no tickets"),
}
STANDS_BY = gettext_lazy("You are on standby")


@require_safe
@never_cache
@ensure_csrf_cookie
def order(request: Visitor, order_id: UUID) -> HttpResponse:
    """Show the state of an order. The server keeps the state, so a reload or a visit tomorrow loses nothing."""
    try:
        body = reservations.orders.body(reservations.queries.find(order_id, buyer=whose(request)))
    except Reservation.DoesNotExist:
        raise Http404 from None
    except NotYetKnown:
        return HttpResponse(render_to_string("503.html", request=request), status=503, headers={"Retry-After": "1"})
    session = get_object_or_404(Session.objects.select_related("show", "hall__venue"), pk=body["session"])
    status, place = body["status"], queries.place_of(body)
    return render(
        request,
        "ticketing/order.html",
        {
            "order": body,
            "bill": bill.of(body["lines"]),
            "session": session,
            "title": STANDS_BY if body["standby"] else TITLES[status],
            "steps": [(name, reached(step, status)) for step, name in STEPS],
            "is_unfinished": status in UNFINISHED,
            "ahead": None if place is None else place - 1,
            "places": places_of(body, _type_names([body["ticket_type"]])),
            "advice": advice(body["reason"]) if status == "FAILED" else "",
            "pay_until": _pay_until(order_id, body),
            "collect_until": _collect_until(body),
            "sells": session.sells_at(reckoned_now()),
            "page": "orders",
        },
    )


def advice(reason: str | None) -> str:
    return str(refusals.ENDINGS[reason].advice if reason in refusals.ENDINGS else refusals.ORDER_AGAIN)


def whose(request: Visitor) -> UUID | None:
    """Return the buyer whose orders this visitor may open; None means all, for staff with the permission."""
    if staff_may(request.user, SEES_RESERVATIONS):
        return None
    if request.buyer is None:
        raise Http404
    return request.buyer


def _collect_until(body: OrderBody) -> dt.datetime | None:
    if body["status"] != "COMPLETED" or body["sale"] is None:
        return None
    rows = Ticket.objects.filter(sale=UUID(body["sale"])).select_related("ticket_type", "session", "sale__reservation")
    return queries.collect_until(rows)


def reached(step: str, status: str) -> str:
    """Return “past”, “now” or “next” for a step; “” for all steps of a failed order."""
    order = [name for name, _words in STEPS]
    if status not in order:
        return ""
    at, now = order.index(step), order.index(status)
    return "now" if at == now else "past" if at < now else "next"


def _pay_until(order_id: UUID, body: OrderBody) -> dt.datetime | None:
    end = body["expires_at"]
    return dt.datetime.fromisoformat(end) if end and is_to_be_paid(order_id, body) else None


def is_to_be_paid(order_id: UUID, body: OrderBody) -> bool:
    """Tell whether the order is held without a payment, so that its buyer must pay."""
    if body["status"] != "PROCESSING" or not body["expires_at"]:
        return False
    return Reservation.objects.filter(pk=order_id, payment__isnull=True).exists()


def places_of(body: OrderBody, names: dict[str, str]) -> str:
    """Write the places: “A1, A2”, or a number of a ticket type."""
    if body["seats"]:
        return ", ".join(body["seats"])
    name = names.get(body["ticket_type"] or "")
    if name:
        return f"{body['quantity']} \N{MULTIPLICATION SIGN} {name}"
    return ngettext("%(n)d place", "%(n)d places", body["quantity"]) % {"n": body["quantity"]}


def _type_names(types: Iterable[str | None]) -> dict[str, str]:
    found = TicketType.objects.filter(pk__in={kind for kind in types if kind})
    return {str(pk): name for pk, name in found.values_list("pk", "name")}


# --- All orders


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Hold an order as a line of the list."""

    id: str
    status: str
    name: str
    message: str
    session: Session
    places: str
    total: Amount | None
    ordered_at: dt.datetime


@require_safe
@never_cache
def orders(request: Visitor) -> HttpResponse:
    """List the buyer's own orders, newest first. The first page begins with those in the queue."""
    before = _before(request)
    rows: list[Reservation] = []
    waiting: list[HoldRequest] = []
    if request.buyer is not None:
        if before is None:
            waiting = [asked for asked in reservations.queries.in_queue(request.buyer) if asked.is_order]
        found = reservations.queries.orders_of(request.buyer).select_related("session__show", "session__hall__venue")
        rows = list((found.filter(pk__lt=before) if before else found)[: LISTED + 1])
    return render(
        request,
        "ticketing/orders.html",
        {
            "orders": listed(waiting, rows[:LISTED]),
            "older": rows[LISTED - 1].pk if len(rows) > LISTED else None,
            "is_first": before is None,
            "page": "orders",
        },
    )


def _before(request: Visitor) -> UUID | None:
    """Return the order before which the page begins; None if it cannot be read."""
    try:
        return UUID(request.GET["before"])
    except (KeyError, ValueError):
        return None


def listed(waiting: list[HoldRequest], rows: list[Reservation]) -> list[Listed]:
    """Join queue and table. An order that was finished between the two readings is shown from its row."""
    known = {row.pk for row in rows}
    sessions: dict[UUID, Session] = {row.session_id: row.session for row in rows}
    lacking = {request.session for request in waiting} - sessions.keys()
    sessions |= Session.objects.select_related("show", "hall__venue").in_bulk(list(lacking)) if lacking else {}
    bodies = [
        *(
            (reservations.queries.queued_body(request), request.accepted_at)
            for request in waiting
            if request.id not in known and request.session in sessions
        ),
        *((reservations.queries.reservation_body(row), row.accepted_at) for row in rows),
    ]
    names = _type_names(body["ticket_type"] for body, _at in bodies)
    return [_line(reservations.orders.body(body), sessions, names, ordered_at=at) for body, at in bodies]


def _line(body: OrderBody, sessions: dict[UUID, Session], names: dict[str, str], *, ordered_at: dt.datetime) -> Listed:
    return Listed(
        id=body["id"],
        status=body["status"],
        name=str(STATUS_NAMES[body["status"]]),
        message=body["message"],
        session=sessions[UUID(body["session"])],
        places=places_of(body, names),
        total=body["total"],
        ordered_at=ordered_at,
    )
