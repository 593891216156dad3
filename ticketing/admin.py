"""People, and what was sold, to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from realtime.admin import ReadOnly
from sessions_app.templatetags.frontrow import money
from ticketing.models import CheckIn, Payment, Refund, Sale, SandboxCharge, Ticket, Transfer, User

if TYPE_CHECKING:
    AccountAdmin = DjangoUserAdmin[User]
else:  # Django's is generic for type checkers only
    AccountAdmin = DjangoUserAdmin

admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(AccountAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "first_name", "last_name", "is_staff", "is_active", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active", "groups"]
    search_fields = ["username", "email", "first_name", "last_name", "=id"]


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass


class TicketInline(ReadOnly, TabularInline):
    model = Ticket
    fields = ["seat", "ticket_type", "price_tag", "state", "used_at", "used_gate"]
    readonly_fields = fields
    extra = 0

    @display(description=_("price"))
    def price_tag(self, ticket: Ticket) -> str:
        return money(ticket.price, ticket.sale.currency)

    @display(description=_("status"))
    def state(self, ticket: Ticket) -> str:
        return ticket.get_status_display()


@admin.register(Sale)
class SaleAdmin(ReadOnly, ModelAdmin):
    list_display = ["number", "session", "amount", "state", "email", "buyer", "sold_at"]
    list_filter = ["sold_at", "session__hall", "currency"]
    search_fields = ["=number", "=id", "=buyer", "=reservation__id", "email", "session__show__title"]
    list_select_related = ["session__show"]
    date_hierarchy = "sold_at"
    inlines = [TicketInline]
    list_per_page = 50

    @display(description=_("total"), ordering="total")
    def amount(self, sale: Sale) -> str:
        return money(sale.total, sale.currency)

    @display(
        description=_("status"),
        label={"paid": "success", "partly_refunded": "warning", "refunded": "danger"},
    )
    def state(self, sale: Sale) -> tuple[str, Any]:
        names = {"paid": _("paid"), "partly_refunded": _("partly refunded"), "refunded": _("refunded")}
        return sale.status, names[sale.status]


class CheckInInline(ReadOnly, TabularInline):
    model = CheckIn
    fields = ["scanned_at", "outcome", "gate", "by", "recorded_at"]
    readonly_fields = fields
    extra = 0


@admin.register(Ticket)
class TicketAdmin(ReadOnly, ModelAdmin):
    list_display = ["id", "session", "seat", "ticket_type", "state", "used_at", "used_gate"]
    inlines = [CheckInInline]
    list_filter = ["status", "session__starts_at", "session__hall"]
    search_fields = ["=code", "=id", "=sale__number", "seat__label", "session__show__title"]
    list_select_related = ["session__show", "seat", "ticket_type"]
    exclude = ["code"]  # whoever reads it could walk in with it
    list_per_page = 50

    @display(
        description=_("status"),
        ordering="status",
        label={"valid": "success", "used": "info", "void": "danger"},
    )
    def state(self, ticket: Ticket) -> tuple[str, str]:
        return ticket.status, ticket.get_status_display()


@admin.register(CheckIn)
class CheckInAdmin(ReadOnly, ModelAdmin):
    list_display = ["scanned_at", "state", "ticket", "gate", "by", "recorded_at"]
    list_filter = ["outcome", "gate", "scanned_at", "ticket__session__hall"]
    search_fields = ["=id", "=ticket__id", "ticket__seat__label", "gate", "by__username"]
    list_select_related = ["ticket__seat", "ticket__ticket_type", "by"]
    date_hierarchy = "scanned_at"
    list_per_page = 50

    @display(
        description=_("outcome"),
        ordering="outcome",
        label={"admitted": "success", "already_used": "danger", "void": "danger", "wrong_session": "warning"},
    )
    def state(self, made: CheckIn) -> tuple[str, str]:
        return made.outcome, made.get_outcome_display()


@admin.register(Transfer)
class TransferAdmin(ReadOnly, ModelAdmin):
    list_display = ["passed_at", "ticket", "giver", "receiver"]
    list_filter = ["passed_at", "ticket__session__hall"]
    search_fields = ["=code", "=ticket__id", "=giver", "=receiver"]
    list_select_related = ["ticket__seat", "ticket__ticket_type"]
    list_per_page = 50


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
    list_display = ["id", "sale", "amount", "status", "reason", "asked_at"]
    list_filter = ["status", "asked_at"]
    search_fields = ["=id", "=sale__number"]
    list_select_related = ["sale"]


@admin.register(SandboxCharge)
class SandboxChargeAdmin(ReadOnly, ModelAdmin):
    list_display = ["attempt", "status", "amount", "currency", "refunded", "changed_at"]
    list_filter = ["status", "currency"]
    search_fields = ["=attempt"]
