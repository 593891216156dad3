from __future__ import annotations

from django.db import models
from django.db.models import F, Func, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from base.causes import LONGEST
from base.ids import uuid7

# events without a position are older than all positions
IN_ORDER = (F("position").asc(nulls_first=True), F("id").asc())


class Event(models.Model):
    """One thing that happened: outbox, audit trail and history in one table.

    A row never changes; it is only marked as published.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    position = models.BigIntegerField(
        _("position in the log"),
        null=True,
        editable=False,
        db_default=Func(Value("realtime_event_position"), function="nextval", output_field=models.BigIntegerField()),
    )
    name = models.CharField(_("event"), max_length=40)
    session = models.UUIDField(_("session"), null=True)
    buyer = models.UUIDField(_("buyer"), null=True)
    map_version = models.BigIntegerField(_("map version"), null=True)
    facts = models.JSONField(_("facts"), default=dict)
    occurred_at = models.DateTimeField(_("occurred at"), db_default=Now())
    cause = models.CharField(
        _("caused by"),
        max_length=LONGEST,
        blank=True,
        default="",
        db_default="",
        help_text=_("The id of the request or the name of the job that caused it."),
    )
    actor = models.UUIDField(
        _("actor"),
        null=True,
        blank=True,
        help_text=_("The buyer or the staff member who acted; empty if a job acted."),
    )
    published_at = models.DateTimeField(_("published at"), null=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["session", "map_version"],
                name="event_one_map_version_a_session",
                condition=models.Q(map_version__isnull=False),
            ),
        ]
        indexes = [
            # The relay: the events that are not published yet, in order.
            models.Index(*IN_ORDER, name="event_to_publish", condition=models.Q(published_at__isnull=True)),
            # A session's history, and its map at a time.
            models.Index(fields=["session", "occurred_at"], name="event_of_session"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"
