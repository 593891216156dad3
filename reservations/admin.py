"""Show reservations and the inbox to staff, and let the house take seats off sale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin
from unfold.decorators import display

from base.admin_forms import Desk
from realtime.admin import ReadOnly
from reservations.allocation.stock import FewerThanTaken
from reservations.models import LIVE, InboxRequest, Reservation, Voucher
from reservations.operations import inventory
from reservations.queueing import inbox
from reservations.staff import stock_forms
from reservations.staff.forms import VoucherForm
from sessions_app.admin import TicketTypeAdmin
from sessions_app.models import Pool, Seat, TicketType
from sessions_app.staff.forms import TicketTypeForm
from sessions_app.staff.halls_admin import CatalogueDesk, Undeletable
from sessions_app.templatetags.frontrow import money


class StockAdmin(CatalogueDesk):
    """Change numbers of places under the locks, and never to fewer than are taken."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        form.keep()

    def save_related(self, request: HttpRequest, form: Any, formsets: list[Any], change: bool) -> None:
        """Do nothing: `keep` has saved them."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except FewerThanTaken as error:
            self.message_user(request, stock_forms.too_few(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response


@admin.register(TicketType)
class StockTypeAdmin(StockAdmin, TicketTypeAdmin):
    """Edit prices of seats, and unnumbered places with their rules."""

    autocomplete_fields = ["session"]
    rules = [
        "total",
        "shared",
        ("sells_from", "sells_until"),
        ("max_per_order", "max_per_buyer"),
        ("holds", "pay_at_door", "collect_minutes"),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(ModelAdmin.has_add_permission(self, request))

    def get_form(
        self, request: HttpRequest, obj: TicketType | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[TicketType]]:
        kwargs["form"] = stock_forms.StockForm if self.is_stock(obj) else TicketTypeForm
        form: type[ModelForm[TicketType]] = super().get_form(request, obj, change, **kwargs)
        return form

    def get_fields(self, request: HttpRequest, obj: TicketType | None = None) -> list[Any]:
        fields = ["session", "name", "price", *(self.rules if self.is_stock(obj) else ["places"])]
        return [*fields, "places_left"] if obj else fields

    def get_readonly_fields(self, request: HttpRequest, obj: TicketType | None = None) -> list[str]:
        return ["session", "places", "places_left"] if obj else []

    def save_model(self, request: HttpRequest, obj: TicketType, form: Any, change: bool) -> None:
        if self.is_stock(obj if change else None):
            form.keep()
        else:
            super(StockAdmin, self).save_model(request, obj, form, change)

    def is_stock(self, obj: TicketType | None) -> bool:
        """Tell whether it is of unnumbered places, as all are that are added here."""
        return obj is None or obj.capacity is not None


@admin.register(Pool)
class PoolAdmin(Undeletable, StockAdmin):
    form = stock_forms.PoolForm
    list_display = ["name", "session", "capacity", "available", "drawn_on_by"]
    list_filter = ["session__hall__venue", "session__starts_at"]
    search_fields = ["name", "session__show__title"]
    list_select_related = ["session__show"]
    autocomplete_fields = ["session"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        pools: QuerySet[Pool] = super().get_queryset(request).prefetch_related("ticket_types")
        return pools

    def get_fields(self, request: HttpRequest, obj: Pool | None = None) -> list[Any]:
        return ["session", "name", "total", *(["available", "drawn_on_by"] if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: Pool | None = None) -> list[str]:
        return ["session", "available", "drawn_on_by"] if obj else []

    @display(description=_("ticket types"))
    def drawn_on_by(self, pool: Pool) -> str:
        return ", ".join(kind.name for kind in pool.ticket_types.all())


@admin.register(Seat)
class SeatAdmin(Desk):
    list_display = ["label", "session", "section", "row", "number", "kind", "ticket_type", "state", "held_until"]
    list_filter = ["status", "kind", "session__hall", "session__starts_at"]
    search_fields = ["label", "section", "session__show__title", "=session__id", "=reservation_id"]
    list_select_related = ["session__show", "ticket_type"]
    actions = ["block", "unblock"]
    show_full_result_count = False
    list_per_page = 100

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Seat | None = None) -> list[str]:
        """Return every field: reservations change seats, never a form; the house only has `block` and `unblock`."""
        return [field.name for field in self.model._meta.fields]

    @display(
        description=_("status"),
        ordering="status",
        label={"f": "success", "h": "warning", "s": "info", "b": "danger"},
    )
    def state(self, seat: Seat) -> tuple[str, str]:
        return seat.status, seat.get_status_display()

    @admin.action(description=_("Take the chosen seats off sale"), permissions=["change"])
    def block(self, request: HttpRequest, seats: QuerySet[Seat]) -> None:
        changed = for_each_session(seats, inventory.block_seats)
        text = ngettext("%(number)d seat was taken off sale.", "%(number)d seats were taken off sale.", changed)
        self.report(request, text % {"number": changed}, left=seats.count() - changed)

    @admin.action(description=_("Put the chosen seats back on sale"), permissions=["change"])
    def unblock(self, request: HttpRequest, seats: QuerySet[Seat]) -> None:
        changed = for_each_session(seats, inventory.unblock_seats)
        text = ngettext("%(number)d seat is on sale again.", "%(number)d seats are on sale again.", changed)
        self.report(request, text % {"number": changed}, left=seats.count() - changed)

    def report(self, request: HttpRequest, done: str, *, left: int) -> None:
        """Show a message of what was done; `left` is how many of the chosen seats were not in a state for it."""
        self.message_user(request, done, messages.WARNING if left else messages.SUCCESS)
        if left:
            text = ngettext("%(number)d seat was not changed.", "%(number)d seats were not changed.", left)
            self.message_user(request, text % {"number": left}, messages.WARNING)


def for_each_session(seats: QuerySet[Seat], change: Callable[..., list[str]]) -> int:
    """Change the seats, session by session; return how many changed."""
    labels = defaultdict[UUID, list[str]](list)
    for session, label in seats.order_by().values_list("session", "label"):
        labels[session].append(label)
    return sum(len(change(session=session, labels=chosen)) for session, chosen in labels.items())


@admin.register(Reservation)
class ReservationAdmin(ReadOnly, ModelAdmin):
    list_display = ["id", "state", "session", "places", "amount", "buyer", "arrival", "accepted_at", "expires_at"]
    list_filter = ["status", "reason", "accepted_at", "session__hall"]
    search_fields = ["=id", "=buyer", "=session__id", "session__show__title"]
    list_select_related = ["session__show", "ticket_type", "voucher"]
    date_hierarchy = "accepted_at"
    show_full_result_count = False
    list_per_page = 50

    @display(
        description=_("status"),
        ordering="status",
        label={
            "held": "warning",
            "paying": "info",
            "confirmed": "success",
            "rejected": "danger",
        },
    )
    def state(self, reservation: Reservation) -> tuple[str, str]:
        return reservation.status, reservation.get_status_display()

    @display(description=_("places"))
    def places(self, reservation: Reservation) -> str:
        if reservation.seats:
            return ", ".join(reservation.seats)
        return f"{reservation.quantity} {reservation.ticket_type}" if reservation.ticket_type else ""

    @display(description=_("total"), ordering="total")
    def amount(self, reservation: Reservation) -> str:
        return money(reservation.total, reservation.session.currency)


@admin.register(Voucher)
class VoucherAdmin(Desk):
    """Edit vouchers. A used voucher is taken out of use, not deleted."""

    form = VoucherForm
    list_display = ["code", "off", "session", "used", "valid_from", "valid_until", "is_active"]
    list_filter = ["is_active", "valid_until", "currency"]
    search_fields = ["code", "session__show__title"]
    list_select_related = ["session__show"]
    autocomplete_fields = ["session"]
    fieldsets = [
        (None, {"fields": ["code", "percent_off", ("amount", "currency"), "session"]}),
        (
            _("Number of uses and dates"),
            {"fields": [("uses", "uses_per_buyer"), "valid_from", "valid_until", "is_active"]},
        ),
    ]
    list_per_page = 50

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Voucher]:
        live = Count("reservations", filter=Q(reservations__status__in=LIVE))
        vouchers: QuerySet[Voucher] = super().get_queryset(request).annotate(used_times=live)
        return vouchers

    @display(description=_("takes off"))
    def off(self, voucher: Voucher) -> str:
        return f"{voucher.percent_off} %" if voucher.amount is None else money(voucher.amount, voucher.currency)

    @display(description=_("used"), ordering="used_times")
    def used(self, voucher: Any) -> str:
        return f"{voucher.used_times} / {voucher.uses or '∞'}"


@admin.register(InboxRequest)
class InboxRequestAdmin(ReadOnly, ModelAdmin):
    list_display = ["id", "shard", "arrival", "buyer", "accepted_at", "attempts", "error"]
    list_filter = ["attempts", "shard", "accepted_at"]
    search_fields = ["=id", "=buyer"]
    actions = ["requeue"]

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reservations.change_inboxrequest")

    @admin.action(description=_("Try the chosen requests again"), permissions=["requeue"])
    def requeue(self, request: HttpRequest, rows: QuerySet[InboxRequest]) -> None:
        again = inbox.put_back(list(rows.values_list("pk", flat=True)))
        text = ngettext("%(number)d request will be tried again.", "%(number)d requests will be tried again.", again)
        self.message_user(request, text % {"number": again}, messages.SUCCESS)
