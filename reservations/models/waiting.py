"""Define the tables of waiting requests, and of marks about their buyers."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _


class InboxRequest(models.Model):
    """An accepted request in PostgreSQL's own queue, for when no broker holds it. Allocation deletes it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    shard = models.PositiveIntegerField(_("shard"))
    arrival = models.BigIntegerField(_("arrival"))
    buyer = models.UUIDField(_("buyer"))
    request = models.JSONField(_("request"))
    attempts = models.PositiveSmallIntegerField(_("failed attempts"), default=0)
    error = models.CharField(_("last error"), max_length=200, blank=True)
    accepted_at = models.DateTimeField(_("accepted at"), db_default=Now())
    session = models.GeneratedField(
        expression=Coalesce(KeyTextTransform("session", "request"), Value(""), output_field=models.TextField()),
        output_field=models.TextField(),
        db_persist=True,
        verbose_name=_("session"),
        help_text=_("The session that the request names; empty if the request cannot be read."),
    )
    lane = models.GeneratedField(
        expression=Coalesce(KeyTextTransform("lane", "request"), Value(""), output_field=models.TextField()),
        output_field=models.TextField(),
        db_persist=True,
        verbose_name=_("lane"),
    )

    class Meta:
        verbose_name = _("request in the inbox")
        verbose_name_plural = _("requests in the inbox")
        ordering = ["arrival"]
        indexes = [
            models.Index(fields=["shard", "arrival"], name="inbox_in_order"),  # The drain.
            models.Index(
                fields=["shard", "session", "lane", "arrival"], name="inbox_in_lanes", condition=Q(attempts__lt=5)
            ),  # The sessions with waiting requests, their lanes, and the turn of each.
            models.Index(fields=["buyer"], name="inbox_of_buyer"),  # A buyer's own list.
        ]

    def __str__(self) -> str:
        return str(self.id)


class CancelMark(models.Model):
    """A mark that the buyer gave the request up while it was queued; allocation obeys it."""

    id = models.UUIDField(primary_key=True, editable=False)
    buyer = models.UUIDField(_("buyer"))
    marked_at = models.DateTimeField(_("marked at"), db_default=Now())

    class Meta:
        verbose_name = _("cancel mark")
        verbose_name_plural = _("cancel marks")

    def __str__(self) -> str:
        return str(self.id)


class JoinedGuest(models.Model):
    """A guest who became this account, for good: see reservations/people.py."""

    guest = models.UUIDField(_("guest"), primary_key=True, editable=False)
    account = models.UUIDField(_("account"), editable=False)
    joined_at = models.DateTimeField(_("joined at"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("guest who became an account")
        verbose_name_plural = _("guests who became accounts")
        ordering = ["-joined_at"]
        indexes = [
            models.Index(
                fields=["account", "joined_at"], name="joined_guests_of_account"
            ),  # The guests that an account was before.
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(guest=F("account")), name="joined_guest_is_not_its_own_account"),
        ]

    def __str__(self) -> str:
        return f"{self.guest} → {self.account}"
