"""Edit venues, halls, their seats and shows in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import slugify
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from base.admin_forms import Desk
from sessions_app import plan_files, plans
from sessions_app.models import Hall, HallSeat, Session, Show, Venue
from sessions_app.pages import seat_plan
from sessions_app.staff.forms import (
    CatalogueForm,
    HallForm,
    PlanForm,
)


class CatalogueDesk(Desk):
    form = CatalogueForm


class Undeletable:
    """Rows that sales may point to are called off or renamed, not deleted."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Venue)
class VenueAdmin(CatalogueDesk):
    list_display = ["name", "city", "address", "halls"]
    search_fields = ["name", "city", "address"]
    list_filter = ["city"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Venue]:
        venues: QuerySet[Venue] = super().get_queryset(request).annotate(hall_count=Count("halls"))
        return venues

    @display(description=_("halls"), ordering="hall_count")
    def halls(self, venue: Any) -> int:
        return int(venue.hall_count)


@admin.register(Hall)
class HallAdmin(CatalogueDesk):
    form = HallForm
    list_display = ["name", "venue", "seats"]
    list_filter = ["venue"]
    search_fields = ["name", "venue__name"]
    autocomplete_fields = ["venue"]
    list_select_related = ["venue"]
    actions_list = ["import_hall"]
    actions_detail = ["import_plan", "export_plan"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Hall]:
        halls: QuerySet[Hall] = super().get_queryset(request).annotate(seat_count=Count("seats"))
        return halls

    def get_fieldsets(self, request: HttpRequest, obj: Hall | None = None) -> list[tuple[Any, dict[str, Any]]]:
        place = (None, {"fields": ["venue", "name"]})
        if obj is not None and obj.seats.exists():
            return [place]
        chairs = {
            "fields": [("rows", "seats_per_row")],
            "description": _("Makes a plain room of rows: A1, A2 and so on."),
        }
        return [place, (_("Chairs"), chairs)]

    def save_related(self, request: HttpRequest, form: HallForm, formsets: list[Any], change: bool) -> None:
        super().save_related(request, form, formsets, change)
        form.make_chairs()

    @display(description=_("seats"), ordering="seat_count")
    def seats(self, hall: Any) -> int:
        return int(hall.seat_count)

    @action(description=_("New hall from a plan"), url_path="from-plan", permissions=["add"])
    def import_hall(self, request: HttpRequest) -> HttpResponse:
        return self.plan_page(request, hall=None)

    @action(description=_("Import a plan"), url_path="plan", permissions=["change"])
    def import_plan(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.plan_page(request, hall=self.found(request, object_id))

    @action(description=_("Download the plan"), url_path="plan.json", permissions=["view"])
    def export_plan(self, request: HttpRequest, object_id: str) -> HttpResponse:
        hall = self.found(request, object_id)
        plan = plan_files.document.write(plans.of_chairs(list(hall.seats.order_by("position"))))
        name = f"{slugify(hall.name) or 'plan'}.json"
        return HttpResponse(plan, "application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'})

    def found(self, request: HttpRequest, object_id: str) -> Hall:
        hall: Hall | None = self.get_object(request, object_id)
        if hall is None:
            raise Http404
        return hall

    def plan_page(self, request: HttpRequest, *, hall: Hall | None) -> HttpResponse:
        """Show a plan before it is kept; keep it once it was shown."""
        form = PlanForm(request.POST or None, request.FILES or None, hall=hall)
        valid = form.is_valid()
        if valid and "keep" in request.POST and form.was_seen():
            return self.keep_plan(request, form)
        context = {
            **self.admin_site.each_context(request),
            "title": hall or gettext("New hall from a plan"),
            "opts": self.opts,
            "form": form,
            "original": hall,
            "hall": hall,
            "plan": seat_plan.draw_chairs(form.places) if valid else None,
            "sizes": plans.sizes(form.places),
            "upcoming": hall.sessions.filter(pk__in=Session.objects.upcoming()).count() if hall else 0,
        }
        return TemplateResponse(request, "sessions_app/desk/plan.html", context)

    def keep_plan(self, request: HttpRequest, form: PlanForm) -> HttpResponse:
        hall, seats = form.keep(), len(form.places)
        text = ngettext("A plan of %(number)d seat.", "A plan of %(number)d seats.", seats) % {"number": seats}
        (self.log_change if form.hall else self.log_addition)(request, hall, text)
        self.message_user(
            request, gettext("The chairs of “%(hall)s” were replaced.") % {"hall": hall}, messages.SUCCESS
        )
        return HttpResponseRedirect(reverse("admin:sessions_app_hall_change", args=[hall.pk]))


@admin.register(HallSeat)
class HallSeatAdmin(CatalogueDesk):
    list_display = ["label", "hall", "section", "row", "number", "kind"]
    list_editable = ["section", "kind"]
    list_filter = ["hall", "kind"]
    search_fields = ["label", "section", "hall__name"]
    autocomplete_fields = ["hall"]
    list_select_related = ["hall__venue"]
    list_per_page = 50


@admin.register(Show)
class ShowAdmin(CatalogueDesk):
    list_display = ["title", "genre", "rating", "duration_minutes"]
    list_filter = ["genre", "rating"]
    search_fields = ["title", "synopsis"]
