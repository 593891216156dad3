"""Show people, sales and tickets in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from base.admin_forms import Desk, WholeRowForm
from realtime.admin import ReadOnly
from reservations.refusals import PaymentInProgress
from sessions_app.staff.questions import Question, Unanswered, ask, is_confirmed
from sessions_app.templatetags.frontrow import clock, full_day, money
from ticketing.letters import correcting, letter
from ticketing.models import (
    CheckIn,
    Collection,
    Order,
    Refund,
    Sale,
    SaleQuerySet,
    Ticket,
    Transfer,
    User,
)
from ticketing.payments import refunds
from ticketing.payments.bells import ring_refund
from ticketing.payments.giving_back import GivingBack
from ticketing.refusals import NothingToRefund
from ticketing.staff import guessing_admin, payments_admin, session_admin  # noqa: F401 they register their lists
from ticketing.staff.order_admin import OrderAdmin
from ticketing.staff.payments_admin import tell_refunds
from ticketing.tickets import links

admin.site.register(Order, OrderAdmin)

if TYPE_CHECKING:
    AccountAdmin = DjangoUserAdmin[User]
else:  # Django's is generic for type checkers only
    AccountAdmin = DjangoUserAdmin

admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(AccountAdmin, Desk):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "first_name", "last_name", "is_staff", "is_active", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active", "groups"]
    search_fields = ["username", "email", "first_name", "last_name", "=id"]


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, Desk):
    pass


def void_since(ticket: Ticket) -> str:
    """Return why the ticket is void and since when; a dash for one that is not."""
    if ticket.void is None:
        return "\N{EN DASH}"
    return f"{ticket.void.reason.label} {full_day(ticket.void.at)}, {clock(ticket.void.at)}"


class TicketInline(ReadOnly, TabularInline):
    model = Ticket
    fields = ["seat", "ticket_type", "concession", "price_tag", "of_it", "state", "void", "used_at", "used_gate"]
    readonly_fields = fields
    extra = 0

    @display(description=_("price"))
    def price_tag(self, ticket: Ticket) -> str:
        return money(ticket.price, ticket.sale.currency)

    @display(description=_("of which fee · tax"))
    def of_it(self, ticket: Ticket) -> str:
        return " · ".join(money(part, ticket.sale.currency) for part in (ticket.fee, ticket.tax))

    @display(description=_("status"))
    def state(self, ticket: Ticket) -> str:
        return ticket.get_status_display()

    @display(description=_("void since"))
    def void(self, ticket: Ticket) -> str:
        return void_since(ticket)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ticket]:
        rows: QuerySet[Ticket] = super().get_queryset(request)
        return rows.select_related("sale__payment", "refund", "session", "seat", "ticket_type")


SALE_STATUSES = {
    "due": _("to be paid at the door"),
    "paid": _("paid"),
    "partly_refunded": _("partly refunded"),
    "refunded": _("refunded"),
}


class SaleStatusFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "status"

    def lookups(self, _request: HttpRequest, _model_admin: admin.ModelAdmin[Sale]) -> list[tuple[str, Any]]:
        return list(SALE_STATUSES.items())

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Sale]) -> QuerySet[Sale]:
        status = self.value()
        return cast(SaleQuerySet, queryset).with_status(status) if status in SALE_STATUSES else queryset


class AddressForm(WholeRowForm):
    class Meta:
        model = Sale
        fields = ["email"]
        labels = {"email": _("Address of its letters")}
        help_texts = {"email": _("If the address is wrong, correct it, and we send the tickets again.")}

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"])
        if not email and self.initial.get("email"):
            raise ValidationError(gettext("The tickets need an address: enter the correct one."))
        return email


@admin.register(Sale)
class SaleAdmin(ReadOnly, Desk):
    """Show sales, read-only except for the address, which can be corrected."""

    form = AddressForm
    readonly_fields = [
        *("number", "session", "reservation", "payment", "buyer", "lines", "total", "refunded", "waived"),
        *("currency", "language", "sold_at"),
    ]
    list_display = ["number", "session", "amount", "state", "email", "buyer", "sold_at"]
    list_filter = [SaleStatusFilter, "sold_at", "session__hall", "currency"]
    search_fields = ["=number", "=id", "=buyer", "=reservation__id", "email", "session__show__title"]
    list_select_related = ["session__show", "payment"]
    date_hierarchy = "sold_at"
    inlines = [TicketInline]
    list_per_page = 50
    actions = ["refund", "send_new_links"]

    @display(description=_("total"), ordering="total")
    def amount(self, sale: Sale) -> str:
        return money(sale.total, sale.currency)

    @display(
        description=_("status"),
        label={"paid": "success", "due": "info", "partly_refunded": "warning", "refunded": "danger"},
    )
    def state(self, sale: Sale) -> tuple[str, Any]:
        status = sale.status
        return status, SALE_STATUSES[status]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sale]:
        rows: QuerySet[Sale] = super().get_queryset(request)
        return rows.prefetch_related("tickets")

    def has_change_permission(self, request: HttpRequest, obj: Sale | None = None) -> bool:
        return request.user.has_perm("ticketing.change_sale")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Unanswered as unanswered:
            return ask(request, unanswered.question, back=request.get_full_path(), opts=self.opts)

    def save_model(self, request: HttpRequest, obj: Sale, form: Any, change: bool) -> None:
        """Save a corrected address. Raises: Unanswered."""
        if "email" not in form.changed_data:
            return
        before = correcting.correct_address(sale_id=obj.pk, email=obj.email)
        question = about_correcting(obj, before=before)
        if not is_confirmed(request, question):
            raise Unanswered(question)
        text = gettext("The tickets go to %(email)s. The links in earlier letters no longer work.")
        self.message_user(request, text % {"email": obj.email}, messages.SUCCESS)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        if "email" not in form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        text = gettext("The address was corrected from %(old)s to %(new)s, and the tickets were sent again.")
        return text % {"old": form.initial.get("email") or gettext("none"), "new": form.cleaned_data["email"]}

    @admin.action(description=_("Give the money back for the chosen sales"), permissions=["refund"])
    def refund(self, request: HttpRequest, sales: QuerySet[Sale]) -> HttpResponse | None:
        return give_back(self, request, Ticket.objects.filter(sale__in=sales.order_by().values("pk")))

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ticketing.add_refund")

    @admin.action(description=_("Send new links for the chosen sales"), permissions=["links"])
    def send_new_links(self, request: HttpRequest, sales: QuerySet[Sale]) -> HttpResponse | None:
        chosen = list(sales)
        question = Question(
            title=gettext("Send new links?"),
            facts=[
                (gettext("Orders"), ", ".join(str(sale) for sale in chosen)),
                (gettext("People who get a letter"), GivingBack.of(Ticket.objects.filter(sale__in=chosen)).told()),
            ],
            warning=gettext("The links in earlier letters stop working at once."),
            button=gettext("Send new links"),
            about=[sale.pk for sale in chosen],
        )
        if not is_confirmed(request, question):
            return ask(request, question, back=request.get_full_path(), opts=self.opts)
        for sale in chosen:
            links.renew(sale_id=sale.pk)
            self.log_change(request, sale, gettext("New links were sent. The old links no longer work."))
        text = ngettext(
            "The links of %(number)d sale no longer work. Buyers with an address get new links.",
            "The links of %(number)d sales no longer work. Buyers with an address get new links.",
            len(chosen),
        )
        self.message_user(request, text % {"number": len(chosen)}, messages.SUCCESS)
        return None

    def has_links_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ticketing.add_sale")


def about_correcting(sale: Sale, *, before: str) -> Question:
    return Question(
        title=gettext("Correct the address of this order?"),
        facts=[
            (gettext("Order"), str(sale)),
            (gettext("Until now"), before or letter.address_of(sale.buyer) or gettext("left no address")),
            (gettext("From now on"), sale.email),
            (gettext("People who get a letter"), gettext("%(email)s, with the tickets") % {"email": sale.email}),
        ],
        warning=gettext(
            "The links and codes that were mailed until now stop working at once. People who have the tickets "
            "themselves can still show them."
        ),
        button=gettext("Correct it and send the tickets"),
        about=[sale.pk, before, sale.email],
    )


def give_back(desk: ModelAdmin, request: HttpRequest, chosen: QuerySet[Ticket]) -> HttpResponse | None:
    """Ask first, then refund exactly the tickets in the question."""
    giving = GivingBack.of(chosen)
    if not giving.tickets:
        desk.message_user(request, gettext("There is nothing left to give back for these."), messages.WARNING)
        return None
    question = Question(
        title=gettext("Give the money back?"),
        facts=giving.facts(),
        warning=gettext(
            "The tickets no longer open any door, and their places go back on sale. This cannot be undone."
        ),
        button=gettext("Give the money back"),
        about=giving.about,
    )
    if not is_confirmed(request, question):
        return ask(request, question, back=request.get_full_path(), opts=desk.opts)
    tried = [refunded(request, sale, tickets) for sale, tickets in giving.by_sale.items()]
    for refund in filter(None, tried):
        amount = money(refund.amount, refund.sale.currency)
        desk.log_change(request, refund.sale, gettext("%(amount)s was given back.") % {"amount": amount})
    tell_refunds(desk, request, tried)
    return None


def refunded(request: HttpRequest, sale: UUID, tickets: list[UUID]) -> Refund | None:
    """Refund these tickets. Return None if one was refunded at this moment, or nothing was captured yet."""
    by = request.user.pk
    try:
        refund = refunds.ask_refund(sale_id=sale, buyer=None, tickets=tickets, reason=refunds.BOX_OFFICE, asked_by=by)
    except (NothingToRefund, PaymentInProgress):
        return None
    ring_refund(refund.pk)
    return refund


@admin.register(Collection)
class CollectionAdmin(ReadOnly, ModelAdmin):
    list_display = ["collected_at", "amount_tag", "ticket", "by", "gate"]
    list_filter = ["collected_at", "gate"]
    search_fields = ["=ticket__code", "=ticket__sale__number", "by__username"]
    list_select_related = ["ticket__sale", "ticket__seat", "ticket__ticket_type", "by"]
    date_hierarchy = "collected_at"

    @display(description=_("amount"), ordering="amount")
    def amount_tag(self, made: Collection) -> str:
        return money(made.amount, made.ticket.sale.currency)


class CheckInInline(ReadOnly, TabularInline):
    model = CheckIn
    fields = ["scanned_at", "outcome", "gate", "by", "recorded_at"]
    readonly_fields = fields
    extra = 0


@admin.register(Ticket)
class TicketAdmin(ReadOnly, ModelAdmin):
    list_display = ["id", "session", "seat", "ticket_type", "concession", "state", "void", "used_at", "used_gate"]
    readonly_fields = ["void"]
    inlines = [CheckInInline]
    list_filter = ["status", "session__starts_at", "session__hall"]
    search_fields = ["=code", "=id", "=sale__number", "seat__label", "session__show__title"]
    list_select_related = ["sale__payment", "refund", "session__show", "seat", "ticket_type"]
    exclude = ["code"]  # a reader could enter with it
    list_per_page = 50
    actions = ["refund"]

    @display(
        description=_("status"),
        ordering="status",
        label={"valid": "success", "used": "info", "void": "danger"},
    )
    def state(self, ticket: Ticket) -> tuple[str, str]:
        return ticket.status, ticket.get_status_display()

    @display(description=_("void since"))
    def void(self, ticket: Ticket) -> str:
        return void_since(ticket)

    @admin.action(description=_("Give the money back for the chosen tickets"), permissions=["refund"])
    def refund(self, request: HttpRequest, tickets: QuerySet[Ticket]) -> HttpResponse | None:
        return give_back(self, request, Ticket.objects.filter(pk__in=tickets.order_by().values("pk")))

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ticketing.add_refund")


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
        label={
            "admitted": "success",
            "already_used": "danger",
            "void": "danger",
            "session_cancelled": "danger",
            "other_session": "warning",
            "not_yet": "warning",
            "too_late": "warning",
        },
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
