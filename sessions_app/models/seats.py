"""Define the seats of a session."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from sessions_app.models.halls import Chair
from sessions_app.models.prices import TicketType
from sessions_app.models.sessions import Session


class SeatStatus(models.TextChoices):
    """A seat's status, stored and sent as one letter."""

    FREE = "f", _("free")
    HELD = "h", _("held")
    SOLD = "s", _("sold")
    BLOCKED = "b", _("blocked")


class SeatQuerySet(models.QuerySet["Seat"]):
    def of(self, session: uuid.UUID) -> SeatQuerySet:
        return self.filter(session_id=session)

    def claimable(self) -> SeatQuerySet:
        """Return seats that are free, or held past their end: at that instant they are free, swept or not."""
        return self.filter(Q(status=SeatStatus.FREE) | Q(status=SeatStatus.HELD, held_until__lte=Now()))


class Seat(Chair):
    """One chair in one session, which a reservation can take."""

    # A seat is found by session and label. No index holds a column that a hold or a sale changes, so that PostgreSQL
    # updates the row in its page (HOT) and touches no index.
    session = models.ForeignKey(
        Session, models.CASCADE, related_name="seats", verbose_name=_("session"), db_index=False
    )
    ticket_type = models.ForeignKey(TicketType, models.PROTECT, related_name="seats", verbose_name=_("ticket type"))
    status = models.CharField(_("status"), max_length=1, choices=SeatStatus, default=SeatStatus.FREE)
    reservation_id = models.UUIDField(_("reservation"), null=True, editable=False)
    held_until = models.DateTimeField(_("held until"), null=True, editable=False)

    objects = SeatQuerySet.as_manager()

    class Meta:
        verbose_name = _("seat")
        verbose_name_plural = _("seats")
        ordering = ["session_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["session", "label"], name="seat_label_once_a_session"),
            models.CheckConstraint(
                condition=~Q(status__in=["h", "s"]) | Q(reservation_id__isnull=False),
                name="seat_held_or_sold_has_a_reservation",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["f", "b"]) | Q(reservation_id__isnull=True), name="seat_free_has_none"
            ),
            models.CheckConstraint(
                condition=Q(status="h", held_until__isnull=False) | ~Q(status="h") & Q(held_until__isnull=True),
                name="seat_held_until_while_held",
            ),
        ]
