"""Define venues, halls and their chairs."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from base.ids import uuid7

MAX_SEATS = 20_000  # of one hall; DESIGN's largest is an arena of 10,000


class Venue(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=120, unique=True)
    city = models.CharField(_("city"), max_length=80, blank=True)
    address = models.CharField(_("address"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("venue")
        verbose_name_plural = _("venues")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Hall(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    venue = models.ForeignKey(Venue, models.PROTECT, related_name="halls", verbose_name=_("venue"))
    name = models.CharField(_("name"), max_length=80)

    class Meta:
        verbose_name = _("hall")
        verbose_name_plural = _("halls")
        ordering = ["venue__name", "name"]
        constraints = [models.UniqueConstraint(fields=["venue", "name"], name="hall_name_once_a_venue")]

    def __str__(self) -> str:
        return f"{self.venue.name} · {self.name}"


class SeatKind(models.TextChoices):
    STANDARD = "standard", _("standard")
    WHEELCHAIR = "wheelchair", _("wheelchair space")
    COMPANION = "companion", _("companion")
    LOVE = "love", _("love seat")


class Chair(models.Model):
    """A chair's place, for hall and session: `x`, `y` on the plan, in seat widths, with the stage at y = 0."""

    label = models.CharField(_("label"), max_length=16)
    section = models.CharField(_("section"), max_length=40, blank=True)
    row = models.CharField(_("row"), max_length=8)
    number = models.PositiveIntegerField(_("number"))
    x = models.FloatField(_("x"), default=0)
    y = models.FloatField(_("y"), default=0)
    kind = models.CharField(_("kind"), max_length=10, choices=SeatKind, default=SeatKind.STANDARD)
    position = models.PositiveIntegerField(_("plan order"))

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.label


class HallSeat(Chair):
    hall = models.ForeignKey(Hall, models.CASCADE, related_name="seats", verbose_name=_("hall"))

    class Meta:
        verbose_name = _("hall seat")
        verbose_name_plural = _("hall seats")
        ordering = ["hall_id", "position"]
        constraints = [models.UniqueConstraint(fields=["hall", "label"], name="hall_seat_label_once_a_hall")]
