"""List orders for the box office. It stays fast with hundreds of thousands: it never sorts or counts all rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from base.clock import reckoned_now
from realtime.admin import ReadOnly
from reservations import orders, refusals
from reservations.hold_request import ORDER_SCOPE
from reservations.models import FINAL, Status
from reservations.orders import STATUS_NAMES
from sessions_app.models import Session
from sessions_app.templatetags.frontrow import money
from ticketing.models import Order, Sale
from ticketing.staff import order_desk

COUNTED = 5_000  # orders that the list's pages reach; find older ones with filter and search
OFFERED = 30  # sessions in the filter
STATES = {
    "PENDING": [Status.QUEUED],
    "PROCESSING": [Status.HELD, Status.PAYING],
    "COMPLETED": [Status.CONFIRMED],
    "FAILED": sorted(FINAL - {Status.CONFIRMED}),
}


class CappedPaginator(Paginator):  # type: ignore[type-arg] # generic for type checkers only
    """Count no further than `COUNTED`."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED].count())


class StateFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, str(STATUS_NAMES[state])) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        states = STATES.get(self.value() or "")
        return queryset.filter(status__in=states) if states else queryset


class ReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "why"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(reason, reason.replace("_", " ")) for reason in refusals.ENDINGS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


class SessionFilter(admin.SimpleListFilter):
    """Offer the next sessions; any other is chosen by its id in the address, as its own page links here."""

    title = _("session")
    parameter_name = "of"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        coming = Session.objects.select_related("show").filter(ends_at__gt=reckoned_now()).order_by("starts_at")
        offered = {str(session.pk): str(session) for session in coming[:OFFERED]}
        if (chosen := _uuid(request.GET.get("of", ""))) and str(chosen) not in offered:
            found = Session.objects.select_related("show").filter(pk=chosen).first()
            offered |= {str(found.pk): str(found)} if found else {}
        return list(offered.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        chosen = _uuid(self.value() or "")
        return queryset.filter(session=chosen) if chosen else queryset


class OrderAdmin(ReadOnly, ModelAdmin):
    list_display = ["name", "state", "session", "places", "amount", "reason", "whose", "lane", "arrival", "accepted_at"]
    list_filter = [StateFilter, ReasonFilter, SessionFilter]
    search_fields = ["id"]  # see `get_search_results`
    search_help_text = _("The id of an order or a buyer, or the number of a sale")
    list_select_related = ["session__show", "ticket_type"]
    sortable_by: Sequence[str] = []
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_view_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        return request.user.has_perm("reservations.view_reservation")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        rows: QuerySet[Order] = super().get_queryset(request)
        return rows.filter(scope=ORDER_SCOPE)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Search only whole ids and numbers, each by its index."""
        term = search_term.strip().lstrip("#")
        if not term:
            return queryset, False
        if identity := _uuid(term):
            return queryset.filter(pk=identity) | queryset.filter(buyer=identity), False
        if term.isascii() and term.isdigit() and len(term) < 19:
            sold = Sale.objects.filter(number=int(term)).values("reservation")
            return queryset.filter(pk__in=sold), False
        return queryset.none(), False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return order_desk.order(request, _uuid(object_id))

    @display(
        description=_("status"),
        label={"PENDING": "info", "PROCESSING": "warning", "COMPLETED": "success", "FAILED": "danger"},
    )
    def state(self, order: Order) -> tuple[str, str]:
        standing = orders.standing(order.status)
        return standing, str(STATUS_NAMES[standing])

    @display(description=_("order"))
    def name(self, order: Order) -> str:
        """Show the end of the id, because long ids begin alike."""
        return f"…{str(order.pk)[-12:]}"

    @display(description=_("buyer"))
    def whose(self, order: Order) -> str:
        return f"…{str(order.buyer)[-12:]}"

    @display(description=_("places"))
    def places(self, order: Order) -> str:
        return ", ".join(order.seats) or f"{order.quantity} {order.ticket_type or ''}".strip()

    @display(description=_("total"))
    def amount(self, order: Order) -> str:
        return money(order.total, order.session.currency)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
