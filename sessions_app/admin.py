"""Give the house its admin pages for halls, shows and sessions on sale."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.decorators import action, display

from base.admin_forms import InlineDesk
from base.clock import reckoned_now
from sessions_app import operations, queries
from sessions_app.models import Concession, Lane, Session, TicketType
from sessions_app.staff.forms import (
    CatalogueForm,
    ConcessionForm,
    CreateSessionForm,
    SessionRulesForm,
    TicketTypeForm,
)
from sessions_app.staff.halls_admin import CatalogueDesk, Undeletable
from sessions_app.staff.questions import Question, ask, is_confirmed
from sessions_app.templatetags.frontrow import money


class TicketTypeInline(InlineDesk):
    """Edit prices. A buyer who holds a seat keeps the price of the time of the hold."""

    model = TicketType
    form = TicketTypeForm
    fields = ["name", "price", "places", "places_left"]
    readonly_fields = ["places", "places_left"]
    extra = 0
    can_delete = False
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[TicketType]:
        return queries.ticket_types()

    @display(description=_("capacity"))
    def places(self, ticket_type: Any) -> int:
        return int(ticket_type.places)

    @display(description=_("available"))
    def places_left(self, ticket_type: Any) -> int:
        return int(ticket_type.places_left)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ConcessionInline(InlineDesk):
    """Edit concessions. Sold tickets keep the name and the price they had."""

    model = Concession
    form = ConcessionForm
    fields = ["name", "percent_off", "price", "note", "position"]
    extra = 0


class LaneInline(InlineDesk):
    """Edit lanes.

    New codes and weights apply at admission within two seconds, and in the queue from the next batch on.
    """

    model = Lane
    form = CatalogueForm
    fields = ["name", "weight", "code", "link"]
    readonly_fields = ["link"]
    extra = 0

    @display(description=_("link"))
    def link(self, lane: Lane) -> str:
        if not lane.session_id:
            return ""
        return f"{settings.SITE_URL}{reverse('session', args=[lane.session_id])}?{urlencode({'lane': lane.code})}"


@admin.register(Session)
class SessionAdmin(Undeletable, CatalogueDesk):
    list_display = ["show", "place", "starts_at", "state", "left", "price_from", "live_map"]
    list_filter = ["starts_at", "hall__venue", "hall", "cancelled_at"]
    search_fields = ["show__title", "room", "hall__name", "hall__venue__name"]
    date_hierarchy = "starts_at"
    autocomplete_fields = ["show", "hall"]
    actions = ["call_off"]
    actions_detail = ["open_map"]
    list_per_page = 50
    readonly_fields = ["show", "hall", "currency", "cancelled_at", "map_version", "created_at"]
    add_fieldsets = [
        (None, {"fields": ["show", "starts_at", "duration_minutes", "on_sale_at"]}),
        (_("Where"), {"fields": ["hall", "room", ("rows", "seats_per_row")]}),
        (
            _("Price"),
            {"fields": [("price", "currency"), "concessions", "fee", "booking_fee_basis_points", "tax_basis_points"]},
        ),
        (_("Places without a number"), {"fields": ["places", ("places_name", "places_price")]}),
        (
            _("Rules"),
            {
                "fields": [("max_per_buyer", "hold_seconds", "max_hold_seconds"), "accounts_required"],
                "classes": ["collapse"],
            },
        ),
    ]
    fieldsets = [
        (None, {"fields": ["show", "hall", "room", "starts_at", "ends_at", "on_sale_at", "cancelled_at"]}),
        (
            _("Rules"),
            {
                "fields": [
                    ("max_per_buyer", "hold_seconds", "max_hold_seconds"),
                    "accounts_required",
                    "refund_minutes",
                    "currency",
                ]
            },
        ),
        (
            _("The queue"),
            {
                "fields": ["admission_rate", "settle_rate", "payment_rate", "standby"],
                "description": _("A change applies from the next request on, also during the sale."),
            },
        ),
        (_("Fees and tax"), {"fields": ["booking_fee", "booking_fee_basis_points", "tax_basis_points"]}),
        (_("Behind the scenes"), {"fields": [("map_version", "created_at")], "classes": ["collapse"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return queries.with_places(super().get_queryset(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Session | None = None) -> list[str]:
        return self.readonly_fields if obj else []

    def get_inlines(self, request: HttpRequest, obj: Session | None) -> list[type[TabularInline]]:
        return [TicketTypeInline, ConcessionInline, LaneInline] if obj else []

    def get_form(
        self, request: HttpRequest, obj: Session | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Session]]:
        kwargs["form"] = SessionRulesForm if obj else CreateSessionForm
        form: type[ModelForm[Session]] = super().get_form(request, obj, change, **kwargs)
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except operations.HallBusy as busy:  # between the form's check and the write
            text = gettext("The hall is taken at that time: %(session)s.") % {"session": busy.clash or ""}
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response

    def save_model(self, request: HttpRequest, obj: Session, form: Any, change: bool) -> None:
        if change:
            # Save only edited fields: seats may be sold while a person reads the form.
            obj.save(update_fields=[name for name in form.changed_data if name in form.fields])
            return
        made = operations.create_session(**form.asked())
        obj.pk, obj.ends_at = made.pk, made.ends_at
        obj._state.adding = False  # noqa: SLF001 Django's own way to say that a row exists

    def save_formset(
        self, request: HttpRequest, form: ModelForm[Session], formset: BaseModelFormSet[Any, Any], change: bool
    ) -> None:
        if formset.model in {Concession, Lane}:
            formset.save()
            return
        rows = formset.save(commit=False)
        if any("name" in changed for _row, changed in formset.changed_objects):
            operations.note_renaming(session_id=form.instance.pk)
        for row in rows:
            row.save(update_fields=["name", "price"])

    @admin.action(description=_("Call off the chosen sessions"), permissions=["change"])
    def call_off(self, request: HttpRequest, sessions: QuerySet[Session]) -> HttpResponse | None:
        chosen = list(sessions)
        question = Question(
            title=gettext("Call off the chosen sessions?"),
            facts=[
                (gettext("Sessions"), "; ".join(str(session) for session in chosen)),
                (gettext("Money to be given back"), gettext("nothing")),
                (
                    gettext("People who get a letter"),
                    gettext("no one: a session that has buyers is not called off here"),
                ),
            ],
            warning=gettext("This cannot be undone: a session that was called off stays called off."),
            button=gettext("Call off"),
            about=[session.pk for session in chosen],
        )
        if not is_confirmed(request, question):
            return ask(request, question, back=request.get_full_path(), opts=self.opts)
        called_off = [session for session in chosen if self._is_called_off(request, session)]
        if called_off:
            text = ngettext(
                "%(number)d session was called off.", "%(number)d sessions were called off.", len(called_off)
            )
            self.message_user(request, text % {"number": len(called_off)}, messages.SUCCESS)
        return None

    def _is_called_off(self, request: HttpRequest, session: Session) -> bool:
        try:
            operations.cancel_session(session_id=session.pk)
        except operations.HasBuyers:
            text = gettext("“%(session)s” has buyers, so it was not called off.") % {"session": session}
            self.message_user(request, text, messages.ERROR)
            return False
        self.log_change(request, session, gettext("Called off."))
        return True

    @action(description=_("Live map"), url_path="live-map", icon="map", permissions=["view"])
    def open_map(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect("seat-desk", object_id)

    @display(description=_("live map"))
    def live_map(self, session: Session) -> SafeString:
        return format_html(
            '<a class="underline" href="{}">{}</a>', reverse("seat-desk", args=[session.pk]), gettext("Live map")
        )

    @display(description=_("where"), ordering="room")
    def place(self, session: Session) -> str:
        return f"{session.hall.venue.name} · {session.room}" if session.hall else session.room

    @display(
        description=_("state"),
        label={"open": "success", "soon": "info", "over": "", "off": "danger", "full": "warning"},
    )
    def state(self, session: Any) -> tuple[str, str]:
        now = reckoned_now()
        if session.cancelled_at:
            return "off", gettext("called off")
        if session.is_closed_at(now):
            return "over", gettext("over")
        if not session.sells_at(now):
            return "soon", gettext("not yet on sale")
        return ("open", gettext("on sale")) if session.available else ("full", gettext("sold out"))

    @display(description=_("places left"))
    def left(self, session: Any) -> str:
        return f"{session.available} / {session.capacity}"

    @display(description=_("from"))
    def price_from(self, session: Any) -> str:
        return money(session.from_price, session.currency)


class TicketTypeAdmin(Undeletable, CatalogueDesk):
    """Edit ticket types. `reservations.admin` registers it, because a change of stock needs the locks there."""

    form = TicketTypeForm
    list_display = ["name", "session", "price_tag", "places", "places_left"]
    list_filter = ["session__hall__venue", "session__starts_at"]
    search_fields = ["name", "session__show__title", "session__room"]
    fields = ["session", "name", "price", "places", "places_left"]
    readonly_fields = ["session", "places", "places_left"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[TicketType]:
        return queries.ticket_types().select_related("session__show", "session__hall")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: TicketType, form: Any, change: bool) -> None:
        if "name" in form.changed_data:
            operations.note_renaming(session_id=obj.session_id)
        obj.save(update_fields=["name", "price"])  # never the stock: it is being sold

    @display(description=_("price"), ordering="price")
    def price_tag(self, ticket_type: TicketType) -> str:
        return money(ticket_type.price, ticket_type.session.currency)

    @display(description=_("capacity"), ordering="places")
    def places(self, ticket_type: Any) -> int:
        return int(ticket_type.places)

    @display(description=_("available"), ordering="places_left")
    def places_left(self, ticket_type: Any) -> int:
        return int(ticket_type.places_left)
