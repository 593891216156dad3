"""Show the event log to staff."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from base.admin_forms import PatientLists
from realtime.models import Event


class ReadOnly(PatientLists):
    """Show rows that only the house's own operations write, as a list of the admin or inside another row's page."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Event)
class EventAdmin(ReadOnly, ModelAdmin):
    list_display = ["name", "occurred_at", "session", "buyer", "map_version", "cause", "actor", "published_at"]
    list_filter = ["name", "occurred_at", ("published_at", admin.EmptyFieldListFilter)]
    search_fields = ["=session", "=buyer", "=id", "=cause", "=actor"]
    show_full_result_count = False
    list_per_page = 50
