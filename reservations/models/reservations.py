"""Reservations and their statuses."""

from __future__ import annotations

import datetime as dt
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from base.causes import LONGEST, Cause
from base.ids import uuid7
from reservations import rules
from reservations.hold_request import ORDER_SCOPE
from reservations.models.vouchers import Voucher
from sessions_app.models import Session, TicketType


class Status(models.TextChoices):
    QUEUED = "queued", _("queued")
    HELD = "held", _("held")
    PAYING = "paying", _("paying")
    CONFIRMED = "confirmed", _("confirmed")
    REJECTED = "rejected", _("rejected")
    EXPIRED = "expired", _("expired")
    CANCELLED = "cancelled", _("cancelled")


FINAL = frozenset({Status.CONFIRMED, Status.REJECTED, Status.EXPIRED, Status.CANCELLED})
Instant = dt.datetime | Combinable
LIVE = frozenset({Status.HELD, Status.PAYING, Status.CONFIRMED})  # these own their seats or stock


class ReservationQuerySet(models.QuerySet["Reservation"]):
    """Reservations by their state at an instant; `now` may be the database's own (`Now()`).

    A hold is over at its end, swept or not.
    """

    def held(self, now: Instant) -> Self:
        return self.filter(status=Status.HELD, expires_at__gt=now)

    def ran_out(self, now: Instant) -> Self:
        return self.filter(status=Status.HELD, expires_at__lte=now)

    def live(self, now: Instant) -> Self:
        """Return those that own their seats or stock at that instant."""
        return self.filter(status__in=LIVE).exclude(status=Status.HELD, expires_at__lte=now)


class Reservation(models.Model):
    """A request for seats and its outcome. Allocation writes the row first; before that the queue holds the request."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(
        Session, models.PROTECT, related_name="reservations", verbose_name=_("session"), db_index=False
    )
    buyer = models.UUIDField(_("buyer"))
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.QUEUED)
    arrival = models.BigIntegerField(
        _("arrival"), help_text=_("Its number in the order in which requests arrived for this session.")
    )
    seats = ArrayField(models.CharField(max_length=16), verbose_name=_("seats"), default=list, blank=True)
    ticket_type = models.ForeignKey(
        TicketType,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("ticket type"),
        db_index=False,
    )
    quantity = models.PositiveIntegerField(_("places"))
    best_available = models.BooleanField(
        _("best places left"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "Whether the request named no seats and took the best. Empty: a version without this field wrote it."
        ),
    )
    lines = models.JSONField(
        _("line items"),
        default=list,
        help_text=_("The seat, ticket type and price of each place at the time of the hold."),
    )
    total = models.PositiveBigIntegerField(_("total"), default=0, help_text=_("In minor units."))
    voucher = models.ForeignKey(
        Voucher,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="reservations",
        verbose_name=_("voucher"),
        db_index=False,
    )
    held_at = models.DateTimeField(_("held at"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    pinned_until = models.DateTimeField(
        _("pinned until"),
        null=True,
        blank=True,
        help_text=_("The seats are kept at least until this time, because a payment is under way."),
    )
    extensions = models.PositiveSmallIntegerField(_("extensions"), default=0)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    conflicts = models.JSONField(_("conflicts"), default=list, blank=True)
    duplicate_of = models.UUIDField(_("duplicate of"), null=True, blank=True)
    sale_id = models.UUIDField(_("sale"), null=True, blank=True)
    payment = models.JSONField(
        _("means of payment"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Only for an order. The payment is taken as soon as the places are held."),
    )
    receipt = models.JSONField(
        _("e-mail for the receipt"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Only for an order without a payment."),
    )
    scope = models.CharField(_("method and path"), max_length=120, blank=True)
    key = models.CharField(_("idempotency key"), max_length=255, blank=True, default="")
    fingerprint = models.CharField(_("fingerprint of the request"), max_length=64, blank=True)
    lane = models.CharField(
        _("lane"), max_length=40, blank=True, default="", db_default="", help_text=_("Empty: the general lane.")
    )
    # See Note [What counts as held] in reservations/hold_caps.py.
    origin = models.CharField(
        _("address, as a hash"), max_length=24, blank=True, default="", db_default="", editable=False
    )
    due = models.BooleanField(
        _("to be paid at the door"),
        default=False,
        db_default=False,
        editable=False,
        help_text=_("Until then the place counts as held."),
    )
    cause = models.CharField(_("request id"), max_length=LONGEST, blank=True, default="", db_default="")
    accepted_at = models.DateTimeField(_("accepted at"))
    settled_at = models.DateTimeField(_("allocated at"), null=True, blank=True)
    changed_at = models.DateTimeField(_("changed at"), db_default=Now())
    changed_for: Cause | None = None  # the cause of the change at hand, where that isn't the request's own

    objects = ReservationQuerySet.as_manager()

    class Meta:
        verbose_name = _("reservation")
        verbose_name_plural = _("reservations")
        ordering = ["-id"]
        constraints = [
            # Note [A key belongs to one request]: see reservations/allocation/batch.py.
            models.UniqueConstraint(
                fields=["buyer", "scope", "key"],
                name="reservation_key_once_a_buyer",
                condition=~Q(key="") & ~Q(status="rejected"),
            ),
            models.CheckConstraint(
                condition=~Q(status="held") | Q(expires_at__isnull=False), name="reservation_held_has_an_end"
            ),
            models.CheckConstraint(
                condition=~Q(status="confirmed") | Q(sale_id__isnull=False), name="reservation_confirmed_has_a_sale"
            ),
            # A purchase that was given back altogether has no places left.
            models.CheckConstraint(
                condition=Q(quantity__gte=1) | Q(status="confirmed"), name="reservation_asks_for_something"
            ),
        ]
        indexes = [
            models.Index(fields=["buyer", "-id"], name="reservation_of_buyer"),  # A buyer's own list.
            models.Index(
                fields=["buyer", "session"],  # in this order: without statistics PostgreSQL may use the first alone
                name="reservation_live_of_buyer",
                condition=Q(status__in=["held", "paying", "confirmed"]),
            ),  # Limits.
            models.Index(
                fields=["session", "expires_at"], name="reservation_held", condition=Q(status="held")
            ),  # The sweep, and the expired holds that allocation finds.
            models.Index(
                fields=["ticket_type"], name="reservation_of_stock", condition=Q(ticket_type__isnull=False)
            ),  # The audit's stock; deleting a type.
            models.Index(
                fields=["voucher", "buyer"],
                name="reservation_with_voucher",
                condition=Q(voucher__isnull=False, status__in=["held", "paying", "confirmed"]),
            ),  # How often a voucher is used, by all and by one buyer.
            models.Index(
                fields=["ticket_type", "arrival"], name="reservation_standing_by", condition=Q(status="queued")
            ),  # The next order on standby, and whether there is one.
            models.Index(
                fields=["session", "origin"], name="reservation_of_origin", condition=~Q(origin="")
            ),  # The places that an address holds of a session.
            models.Index(fields=["accepted_at"], name="reservation_keyed", condition=~Q(key="")),  # Clearing old keys.
            models.Index(fields=["session", "arrival"], name="reservation_arrivals"),  # The audit's order.
            models.Index(
                fields=["changed_at"], name="reservation_to_pay", condition=Q(status="held", payment__isnull=False)
            ),  # The sweep: orders whose payment wasn't begun.
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()} {self.id}"

    @property
    def why(self) -> Cause:
        """Return the cause of the change at hand."""
        return self.changed_for or Cause(self.cause, self.buyer)

    @property
    def currency(self) -> str:
        return self.session.currency

    @property
    def is_order(self) -> bool:
        """Tell whether it was asked for as an order."""
        return self.scope == ORDER_SCOPE

    @property
    def waits_for_its_payment(self) -> bool:
        """Tell whether it is held and carries a payment that a worker must take now."""
        return self.status == Status.HELD and self.payment is not None

    @cached_property
    def place_on_standby(self) -> int | None:
        """Return its place among the orders on standby for the same places, from 1; None if it isn't on standby.

        See reservations/allocation/standby.py.
        """
        if self.status != Status.QUEUED:
            return None
        same = Q(pk=self.ticket_type_id) | Q(pools__ticket_types=self.ticket_type_id)
        rivals = Reservation.objects.filter(ticket_type__in=TicketType.objects.filter(same), seats=[])
        return rivals.filter(status=Status.QUEUED, arrival__lt=self.arrival).count() + 1

    @property
    def has_stock(self) -> bool:
        """Tell whether it holds unnumbered places rather than seats."""
        return self.ticket_type_id is not None and not self.seats

    @property
    def claimed_until(self) -> dt.datetime | None:
        """Return when its seats come free: at the end of its hold or, while it is being paid, of its pin."""
        return self.pinned_until or self.expires_at

    def is_over_at(self, now: dt.datetime) -> bool:
        """Tell whether its hold has run out, swept or not."""
        return self.status == Status.HELD and rules.has_run_out(self.expires_at, now)

    def facts(self) -> dict[str, object]:
        """Return the facts that an event tells of it; nothing personal."""
        return {
            "reservation": str(self.id),
            "seats": list(self.seats),
            "quantity": self.quantity,
            "ticket_type": str(self.ticket_type_id) if self.ticket_type_id else None,
            "arrival": self.arrival,
            "lane": self.lane or None,
            "reason": self.reason or None,
            "sale": str(self.sale_id) if self.sale_id else None,
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
        }
