"""Show an order to the box office: its history, its money, and what staff can do about it. Plain forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from base.refusals import Refused
from reservations import orders
from reservations.hold_request import ORDER_SCOPE
from reservations.models import Reservation, Status
from reservations.orders import STATUS_NAMES
from reservations.refusals import (
    PaymentInProgress,
)
from sessions_app.staff.questions import ANSWER, Question, ask, is_confirmed, stamp_of
from sessions_app.templatetags.frontrow import money
from ticketing.models import Order, Payment, Refund, RefundStatus, Sale, Ticket, User
from ticketing.orders import care
from ticketing.orders.care import CannotPlaceAgain, NothingToCancel, NothingToTakeUp
from ticketing.orders.history import timeline
from ticketing.payments.giving_back import GivingBack

LOOK = "reservations.view_reservation"
RUN = "reservations.change_reservation"
GIVE_BACK = "ticketing.add_refund"
LONGEST_REASON = 120


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Hold the request of a member of staff."""

    action: str
    reason: str
    confirmed: str  # the stamp of the question that was answered; see sessions_app/staff/questions.py

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        return cls(
            action=request.POST.get("action", ""),
            reason=request.POST.get("reason", "").replace("\0", "").strip()[:LONGEST_REASON],
            confirmed=request.POST.get(ANSWER, ""),
        )


class NotDone(Exception):
    """Report that nothing was changed, with the reason."""


def order(request: HttpRequest, order_id: UUID | None) -> HttpResponse:
    """Show an order or act on it. Raises: PermissionDenied, Http404."""
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    rows = Order._default_manager.select_related("session__show", "ticket_type").filter(scope=ORDER_SCOPE)
    found = cast("Order | None", rows.filter(pk=order_id).first()) if order_id else None
    if found is None:
        raise Http404
    return act(request, found, Wish.of(request)) if request.method == "POST" else shown(request, found)


# --- Pages


def shown(request: HttpRequest, order: Order) -> HttpResponse:
    payments = list(Payment.objects.filter(reservation=order).order_by("id"))
    sale = Sale.objects.filter(pk=order.sale_id).first() if order.sale_id else None
    refunds = list(Refund.objects.filter(sale=sale).order_by("id")) if sale else []
    last = payments[-1] if payments else None
    may_run = request.user.has_perm(RUN)
    return render(
        request,
        "ticketing/desk/order.html",
        {
            **framed(request, order),
            "order": order,
            "standing": orders.standing(order.status),
            "state": STATUS_NAMES[orders.standing(order.status)],
            "said": orders.said_of(order.status, order.reason, standby=order.place_on_standby),
            "moments": timeline(order, payments, refunds),
            "payments": payments if request.user.has_perm("ticketing.view_payment") else [],
            "sale": sale,
            "refunds": refunds,
            "can_take_up": may_run and care.is_left_open(order, last),
            "can_place_again": may_run and not care.obstacle_to_placing_again(order, last),
            "can_cancel": is_allowed_to_cancel(request, order) and is_cancellable(order, sale),
        },
    )


def framed(request: HttpRequest, order: Order) -> dict[str, object]:
    """Return what the admin's frame needs around the page of an order."""
    return {
        **admin.site.each_context(request),
        "title": _("Order"),
        "subtitle": str(order.pk),
        "opts": Order._meta,
        "original": order,
    }


def is_cancellable(order: Order, sale: Sale | None) -> bool:
    return order.status in {Status.QUEUED, Status.HELD} or (sale is not None and bool(sale.live_tickets))


def is_allowed_to_cancel(request: HttpRequest, order: Order) -> bool:
    """Tell whether the user may run reservations and, if money goes back, also refunds."""
    needed = {RUN} | ({GIVE_BACK} if order.status == Status.CONFIRMED else set())
    return request.user.has_perms(needed)


# --- Actions


def act(request: HttpRequest, order: Order, wish: Wish) -> HttpResponse:
    user = cast(User, request.user)
    if not user.has_perm(RUN) or (wish.action == "cancel" and not is_allowed_to_cancel(request, order)):
        raise PermissionDenied
    if wish.action not in ACTIONS:
        return refused(request, order, _("The box office cannot do that."))
    try:
        if wish.action == "cancel" and wish.confirmed != (comes_to := cancelling(order)).stamp:
            return confirmation(request, order, wish, comes_to)
        question = question_about(order, wish.action)
        if question is not None and not is_confirmed(request, question):
            return ask(request, question, back=page_of(order.pk), opts=Order._meta)
        done, leads_to = ACTIONS[wish.action](order, wish, user)
    except NotDone as refusal:
        return refused(request, order, str(refusal))
    except Refused as refusal:
        return refused(request, order, refusal.told_to_staff())
    except tuple(REFUSALS) as error:
        return refused(request, order, str(REFUSALS[type(error)]))
    note = f"{wish.action}: {wish.reason}" if wish.reason else f"{wish.action} {leads_to or ''}".strip()
    LogEntry.objects.log_actions(user.pk, [order], CHANGE, note, single_object=True)
    messages.success(request, done)
    return redirect(page_of(leads_to or order.pk))


def question_about(order: Order, action: str) -> Question | None:
    """Return the question before a buyer may be charged; None for a refused action and for cancelling."""
    last = care.last_payment(order)
    possible = {
        "retry": care.is_left_open(order, last),
        "again": not care.obstacle_to_placing_again(order, last),
    }
    if not possible.get(action):
        return None
    title, warning, button = {
        "retry": (
            _("Try this order again now?"),
            _("We ask the gateway at once. If it takes the money, the tickets are sold and the buyer gets a message."),
            _("Try it again now"),
        ),
        "again": (
            _("Place this order again?"),
            _("The buyer is charged with the same means of payment, and gets a message when the tickets are sold."),
            _("Place it again"),
        ),
    }[action]
    places = ", ".join(order.seats) or f"{order.quantity} {order.ticket_type or ''}".strip()
    facts = [
        (_("Session"), str(order.session)),
        (_("Places"), places),
        (_("Money to be charged"), money(order.total, order.session.currency)),
        (_("People who get a letter"), (last.email if last else "") or _("left no address")),
    ]
    about = [order.pk, action, order.status, order.total, last and (last.pk, last.status)]
    return Question(title=title, facts=facts, warning=warning, button=button, about=about)


def refused(request: HttpRequest, order: Order, text: str) -> HttpResponse:
    messages.error(request, text)
    return redirect(page_of(order.pk))


def page_of(order_id: UUID) -> str:
    return reverse("admin:ticketing_order_change", args=[order_id])


Done = tuple[str, UUID | None]  # the message, and the order whose page to show, if it is another one


def retry(order: Order, _wish: Wish, _user: User) -> Done:
    care.take_up(order_id=order.pk)
    return _("The order is being tried again. This page will show the result."), None


def again(order: Order, _wish: Wish, _user: User) -> Done:
    new = care.place_again(order_id=order.pk)
    return _("The order was placed again for the same buyer. This is the new order."), new if _is_allocated(
        new
    ) else None


def _is_allocated(order_id: UUID) -> bool:
    return Reservation.objects.filter(pk=order_id).exists()


def cancel(order: Order, wish: Wish, user: User) -> Done:
    if not wish.reason:
        raise NotDone(_("Give the reason. It is kept with the order."))
    refund = care.cancel(order_id=order.pk, reason=wish.reason, by=user.pk)
    if refund is not None and refund.status == RefundStatus.TO_HAND_OUT:
        return _("The tickets are void, and the money is ready to be handed out at the counter."), None
    if order.status == Status.CONFIRMED:
        return _("The tickets are void, and the money is on its way back."), None
    return _("The order is cancelled, and its places are free."), None


ACTIONS: dict[str, Callable[[Order, Wish, User], Done]] = {"retry": retry, "again": again, "cancel": cancel}


@dataclass(frozen=True)
class Cancelling:
    """Describe the present effects of cancelling an order."""

    order: Order
    sale: Sale | None
    tickets: GivingBack

    @property
    def stamp(self) -> str:
        return stamp_of([self.order.pk, self.order.status, *self.tickets.about])


def cancelling(order: Order) -> Cancelling:
    """Return the effects of cancelling. Raises: PaymentInProgress, NothingToCancel."""
    sale = Sale.objects.filter(pk=order.sale_id).first() if order.sale_id else None
    if not is_cancellable(order, sale):
        if order.status == Status.PAYING:
            raise PaymentInProgress
        raise NothingToCancel
    return Cancelling(order, sale, GivingBack.of(Ticket.objects.filter(sale=sale) if sale else Ticket.objects.none()))


def confirmation(request: HttpRequest, order: Order, wish: Wish, comes_to: Cancelling) -> HttpResponse:
    context = {
        "order": order,
        "sale": comes_to.sale,
        "facts": comes_to.tickets.facts() if comes_to.sale else [],
        "stamp": comes_to.stamp,
        "has_changed": bool(wish.confirmed),
        "reason": wish.reason,
        "longest": LONGEST_REASON,
    }
    return render(request, "ticketing/desk/order_cancel.html", {**framed(request, order), **context})


REFUSALS: dict[type[Exception], Any] = {
    NothingToTakeUp: gettext_lazy("There is nothing left to do for this order."),
    CannotPlaceAgain: gettext_lazy("This order cannot be placed again. The buyer must place a new order."),
    NothingToCancel: gettext_lazy("This order has already ended, so there is nothing left to cancel."),
    Reservation.DoesNotExist: gettext_lazy("There is no such reservation."),
    OperationalError: gettext_lazy("The box office is busy. Try again."),
}
