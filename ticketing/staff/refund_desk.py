"""List refunds that need a person: those to hand out at the counter, and those that a gateway refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from sessions_app.staff.questions import Question, ask, is_confirmed
from sessions_app.templatetags.frontrow import clock, money, short_day
from ticketing.models import HandedOutBy, Refund, RefundStatus, User
from ticketing.payments import handing_out, refunds
from ticketing.payments.bells import ring_refund
from ticketing.payments.handing_out import AlreadyHandedOut, NotToHandOut

LOOK = "ticketing.view_refund"
RUN = "ticketing.change_refund"
LISTED = 200


@require_http_methods(["GET", "HEAD", "POST"])
def refund_desk(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    if request.method == "POST":
        return act(request)
    number = request.GET.get("sale", "").lstrip("#").strip()
    return render(
        request,
        "ticketing/desk/refunds.html",
        {
            **admin.site.each_context(request),
            "title": _("Refunds to hand out"),
            "content_title": _("Refunds to hand out"),
            "to_hand_out": listed(RefundStatus.TO_HAND_OUT, number),
            "refused": listed(RefundStatus.REFUSED, number),
            "number": number,
            "listed": LISTED,
            "means": HandedOutBy.choices,
            "may_run": request.user.has_perm(RUN),
        },
    )


def listed(status: RefundStatus, number: str) -> QuerySet[Refund]:
    """List refunds, the oldest first; with `number`, those of that sale."""
    rows = Refund.objects.filter(status=status).select_related("sale__session__show", "sale__payment")
    if number:
        rows = rows.filter(sale__number=number) if number.isdecimal() and len(number) < 19 else rows.none()
    return rows.order_by("asked_at")[:LISTED]


def act(request: HttpRequest) -> HttpResponse:
    user = cast(User, request.user)
    if not user.has_perm(RUN):
        raise PermissionDenied
    action = ACTIONS.get(request.POST.get("action", ""))
    if action is None:
        messages.error(request, _("The box office cannot do that."))
        return redirect("refund-desk")
    try:
        refund_id = UUID(request.POST.get("refund", ""))
    except ValueError:
        raise Http404 from None
    try:
        question = question_about(request.POST["action"], request.POST.get("means", ""), refund_id)
        if question is not None and not is_confirmed(request, question):
            return ask(request, question, back=reverse("refund-desk"))
        answer = action(request, refund_id, user)
    except Refund.DoesNotExist:
        raise Http404 from None
    except AlreadyHandedOut as error:
        who = error.by.get_username() if error.by else "?"
        when = f"{short_day(error.at)}, {clock(error.at)}"
        text = _("Do not hand out this money: %(who)s already handed it out, %(when)s.")
        messages.error(request, text % {"when": when, "who": who})
        return redirect("refund-receipt", refund_id)
    except NotToHandOut as error:
        text = _("Do not hand out this money: this refund is “%(status)s”.")
        messages.error(request, text % {"status": RefundStatus(error.status).label})
        return redirect("refund-desk")
    noted = Refund.objects.get(pk=refund_id)
    LogEntry.objects.log_actions(user.pk, [noted], CHANGE, request.POST["action"], single_object=True)
    return answer


def question_about(action: str, means: str, refund_id: UUID) -> Question | None:
    """Return the question before money is handed out or sent back; None for an action that will be refused.

    Raises: Refund.DoesNotExist.
    """
    refund = Refund.objects.select_related("sale__session__show").get(pk=refund_id)
    if refund.status != (RefundStatus.TO_HAND_OUT if action == "hand_out" else RefundStatus.REFUSED):
        return None
    title, warning, button = {
        "hand_out": (
            _("Hand this money out?"),
            _("The record will say that you handed it out. This cannot be undone."),
            _("Handed out"),
        ),
        "hand_out_instead": (
            _("Hand out at the counter instead?"),
            _("The buyer gets an e-mail that says that the money can be collected at the box office."),
            _("Hand it out instead"),
        ),
        "retry": (
            _("Ask the gateway again?"),
            _("If the gateway accepts the refund this time, the money is on its way to the buyer at once."),
            _("Ask again"),
        ),
    }[action]
    facts = [
        (_("Amount"), money(refund.amount, refund.sale.currency)),
        (_("Order"), str(refund.sale)),
        (_("Session"), str(refund.sale.session)),
        (_("Buyer"), refund.sale.email or _("left no address")),
    ]
    if action == "hand_out":
        facts.append((_("How"), str(_means(means).label)))
    about = [refund.pk, action, refund.status, refund.amount, means]
    return Question(title=title, facts=facts, warning=warning, button=button, about=about)


def _means(said: str) -> HandedOutBy:
    return HandedOutBy(said) if said in HandedOutBy.values else HandedOutBy.CASH


def hand_out(request: HttpRequest, refund_id: UUID, user: User) -> HttpResponse:
    refund = handing_out.hand_out(refund_id=refund_id, by=user, means=_means(request.POST.get("means", "")))
    amount = money(refund.amount, refund.sale.currency)
    messages.success(
        request, _("%(amount)s is handed out. Print the receipt and let the buyer sign it.") % {"amount": amount}
    )
    return redirect("refund-receipt", refund_id)


def hand_out_instead(request: HttpRequest, refund_id: UUID, _user: User) -> HttpResponse:
    handing_out.hand_out_instead(refund_id=refund_id)
    messages.success(request, _("The buyer gets a message to collect it at the box office."))
    return redirect("refund-desk")


def retry(request: HttpRequest, refund_id: UUID, _user: User) -> HttpResponse:
    Refund.objects.only("pk").get(pk=refund_id)
    if refunds.try_again(refund_id=refund_id):
        ring_refund(refund_id)
        messages.success(request, _("The gateway was asked again. This page will show the result."))
    else:
        messages.error(request, _("The gateway has not refused this refund."))
    return redirect("refund-desk")


ACTIONS: dict[str, Callable[[HttpRequest, UUID, User], HttpResponse]] = {
    "hand_out": hand_out,
    "hand_out_instead": hand_out_instead,
    "retry": retry,
}


@require_safe
def refund_receipt(request: HttpRequest, refund_id: UUID) -> HttpResponse:
    """Print a receipt for the till and for the buyer."""
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    rows = Refund.objects.select_related("sale__session__show", "sale__session__hall__venue", "handed_out_by")
    refund = rows.filter(pk=refund_id, status=RefundStatus.HANDED_OUT).first()
    if refund is None:
        raise Http404
    return render(request, "ticketing/desk/refund_receipt.html", {**framed(request, refund), "refund": refund})


def framed(request: HttpRequest, refund: Refund) -> dict[str, object]:
    """Return what the admin's frame needs around the page of a refund."""
    return {
        **admin.site.each_context(request),
        "title": _("Receipt"),
        "subtitle": f"#{refund.sale.number}",
        "opts": Refund._meta,
        "original": refund,
        "desk": reverse("refund-desk"),
        "tickets": refund.tickets.select_related("seat", "ticket_type").order_by("id"),
    }
