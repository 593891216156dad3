"""List failed sign-ins and lockouts from django-axes' rows. Staff may delete a row that locks a person out."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from base.admin_forms import PatientLists

SEARCHED = ["ip_address", "username", "user_agent", "path_info"]


class Tries(PatientLists, ModelAdmin):
    search_fields = SEARCHED
    date_hierarchy = "attempt_time"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AccessAttempt)
class AttemptAdmin(Tries):
    """List attempts. Deleting a row lets its account or address try again at once."""

    list_display = ["attempt_time", "username", "ip_address", "failures_since_start", "path_info"]
    list_filter = ["attempt_time", "path_info"]


@admin.register(AccessLog)
class LogAdmin(Tries):
    list_display = ["attempt_time", "logout_time", "username", "ip_address", "path_info"]
    list_filter = ["attempt_time", "logout_time", "path_info"]


@admin.register(AccessFailureLog)
class FailureAdmin(Tries):
    list_display = ["attempt_time", "username", "ip_address", "locked_out", "path_info"]
    list_filter = ["attempt_time", "locked_out", "path_info"]
