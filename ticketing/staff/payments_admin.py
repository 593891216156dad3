"""Show payments, refunds, the ledger and webhooks of gateways in the admin, read-only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from realtime.admin import ReadOnly
from sessions_app.staff.questions import Question, ask, is_confirmed
from sessions_app.templatetags.frontrow import money
from ticketing.models import (
    LedgerEntry,
    Payment,
    Refund,
    RefundStatus,
    SandboxCharge,
    User,
    WebhookEvent,
)
from ticketing.payments import handing_out, refunds
from ticketing.payments.bells import ring_refund
from ticketing.payments.giving_back import in_currencies
from ticketing.staff import guessing_admin  # noqa: F401 it registers its lists

if TYPE_CHECKING:
    AccountAdmin = DjangoUserAdmin[User]
else:  # Django's is generic for type checkers only
    AccountAdmin = DjangoUserAdmin


def tell_refunds(desk: ModelAdmin, request: HttpRequest, tried: list[Refund | None]) -> None:
    done = [refund for refund in tried if refund]
    if done:
        by_hand = [refund for refund in done if refund.status == RefundStatus.TO_HAND_OUT]
        for some, text in (
            ([refund for refund in done if refund not in by_hand], gettext("%(amounts)s is on its way back.")),
            (by_hand, gettext("%(amounts)s is ready to be handed out at the counter. See “Refunds to hand out”.")),
        ):
            if some:
                desk.message_user(request, text % {"amounts": amounts_of(some)}, messages.SUCCESS)
    if len(done) < len(tried):
        text = gettext("Some sales had nothing left to give back, or nothing was charged for them yet.")
        desk.message_user(request, text, messages.WARNING)


def amounts_of(some: list[Refund]) -> str:
    sums: Counter[str] = Counter()
    for refund in some:
        sums[refund.sale.currency] += refund.amount
    return in_currencies(sums)


@admin.register(Payment)
class PaymentAdmin(ReadOnly, ModelAdmin):
    list_display = ["id", "state", "method", "money", "reason", "reference", "started_at"]
    list_filter = ["status", "method", "started_at"]
    search_fields = ["=id", "=reservation__id", "=reference", "email"]
    exclude = ["token"]
    list_per_page = 50

    @display(
        description=_("status"),
        ordering="status",
        label={"captured": "success", "declined": "danger", "failed": "danger", "voided": "warning"},
    )
    def state(self, payment: Payment) -> tuple[str, str]:
        return payment.status, payment.get_status_display()

    @display(description=_("amount"), ordering="amount")
    def money(self, payment: Payment) -> str:
        return money(payment.amount, payment.currency)


@admin.register(Refund)
class RefundAdmin(ReadOnly, ModelAdmin):
    list_display = ["id", "sale", "amount", "status", "reason", "asked_at", "handed_out_at", "handed_out_by"]
    list_filter = ["status", "asked_at", "handed_out_at"]
    search_fields = ["=id", "=sale__number"]
    list_select_related = ["sale", "handed_out_by"]
    actions = ["try_again", "hand_out_instead"]

    @admin.action(description=_("Ask the gateway again"), permissions=["retry"])
    def try_again(self, request: HttpRequest, chosen: QuerySet[Refund]) -> HttpResponse | None:
        question = about_refused(
            chosen,
            title=gettext("Ask the gateway again?"),
            warning=gettext(
                "If the gateway accepts the refund this time, the money is on its way to the buyer at once."
            ),
            button=gettext("Ask again"),
        )
        if not is_confirmed(request, question):
            return ask(request, question, back=request.get_full_path(), opts=self.opts)
        tried = [refund for refund in chosen.values_list("pk", flat=True) if refunds.try_again(refund_id=refund)]
        for refund in tried:
            ring_refund(refund)
        text = ngettext(
            "The gateway was asked again for %(number)d refund.",
            "The gateway was asked again for %(number)d refunds.",
            len(tried),
        )
        for noted in Refund.objects.filter(pk__in=tried):
            self.log_change(request, noted, "retry")
        self.message_user(request, text % {"number": len(tried)}, messages.SUCCESS)
        return None

    @admin.action(description=_("Hand out at the counter instead"), permissions=["retry"])
    def hand_out_instead(self, request: HttpRequest, chosen: QuerySet[Refund]) -> HttpResponse | None:
        question = about_refused(
            chosen,
            title=gettext("Hand out at the counter instead?"),
            warning=gettext("The buyers get an e-mail that says that they can collect the money at the box office."),
            button=gettext("Hand it out instead"),
        )
        if not is_confirmed(request, question):
            return ask(request, question, back=request.get_full_path(), opts=self.opts)
        refused = list(chosen.filter(status=RefundStatus.REFUSED).values_list("pk", flat=True))
        for refund in refused:
            handing_out.hand_out_instead(refund_id=refund)
        text = ngettext(
            "%(number)d refund is ready to be handed out. See “Refunds to hand out”.",
            "%(number)d refunds are ready to be handed out. See “Refunds to hand out”.",
            len(refused),
        )
        for noted in Refund.objects.filter(pk__in=refused):
            self.log_change(request, noted, "hand_out_instead")
        self.message_user(request, text % {"number": len(refused)}, messages.SUCCESS)
        return None

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ticketing.change_refund")


def about_refused(chosen: QuerySet[Refund], *, title: str, warning: str, button: str) -> Question:
    refused = list(chosen.filter(status=RefundStatus.REFUSED).select_related("sale").order_by("pk"))
    others = chosen.count() - len(refused)
    return Question(
        title=title,
        facts=[
            (gettext("Refunds that a gateway refused"), str(len(refused))),
            (gettext("Money to be given back"), amounts_of(refused)),
            (gettext("Orders"), ", ".join(str(refund.sale) for refund in refused) or gettext("none")),
            *([(gettext("Chosen, but not refused"), str(others))] if others else []),
        ],
        warning=warning,
        button=button,
        about=[(refund.pk, refund.amount) for refund in refused],
    )


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnly, ModelAdmin):
    list_display = ["id", "posted_at", "account", "amount", "currency", "payment", "refund"]
    list_filter = ["account", "posted_at", "currency"]
    search_fields = ["=posting", "=payment__id", "=refund__id", "=payment__sale__number"]
    list_select_related = ["payment", "refund"]
    list_per_page = 100


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnly, ModelAdmin):
    list_display = ["event", "gateway", "kind", "received_at"]
    list_filter = ["gateway", "kind", "received_at"]
    search_fields = ["=event"]


@admin.register(SandboxCharge)
class SandboxChargeAdmin(ReadOnly, ModelAdmin):
    list_display = ["attempt", "status", "amount", "currency", "refunded", "changed_at"]
    list_filter = ["status", "currency"]
    search_fields = ["=attempt"]
