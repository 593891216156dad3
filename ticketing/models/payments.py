"""Define orders, and attempts to pay."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from base.causes import LONGEST
from base.ids import uuid7
from reservations.models import Reservation


class Order(Reservation):
    """Show a reservation that was placed as an order to the box office."""

    class Meta:
        proxy = True
        ordering = ["-id"]
        verbose_name = _("order")
        verbose_name_plural = _("orders")


class PaymentStatus(models.TextChoices):
    STARTED = "started", _("started")
    AUTHORISED = "authorised", _("authorised")
    CAPTURED = "captured", _("captured")
    DUE = "due", _("to be paid at the door")
    DECLINED = "declined", _("declined")
    FAILED = "failed", _("failed")
    VOIDED = "voided", _("voided")
    RETURNING = "returning", _("on its way back")
    RETURNED = "returned", _("given back")


OPEN = (PaymentStatus.STARTED, PaymentStatus.AUTHORISED)  # attempts that are not finished


UNFINISHED = (*OPEN, PaymentStatus.RETURNING)  # attempts that the sweep continues


class Payment(models.Model):
    """Store one attempt to pay for a reservation; its id is the gateway's idempotency key."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    reservation = models.ForeignKey(Reservation, models.PROTECT, related_name="payments", verbose_name=_("reservation"))
    method = models.CharField(_("method"), max_length=20)
    token = models.CharField(
        _("token"), max_length=120, help_text=_("The token that the gateway gave the browser; never a card number.")
    )
    status = models.CharField(_("status"), max_length=10, choices=PaymentStatus, default=PaymentStatus.STARTED)
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    currency = models.CharField(_("currency"), max_length=3)
    reference = models.CharField(_("gateway's reference"), max_length=120, blank=True)
    reason = models.CharField(_("reason"), max_length=60, blank=True)
    email = models.EmailField(_("e-mail for the receipt"), blank=True)
    language = models.CharField(_("language"), max_length=8, default="en")
    cause = models.CharField(_("request id"), max_length=LONGEST, blank=True, default="", db_default="")
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    changed_at = models.DateTimeField(_("changed at"), db_default=Now())

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["reservation"], name="payment_one_capture_a_reservation", condition=Q(status="captured")
            ),
            models.UniqueConstraint(
                fields=["reservation"],
                name="payment_one_open_attempt_a_reservation",
                condition=Q(status__in=["started", "authorised"]),
            ),
        ]
        indexes = [
            models.Index(
                fields=["changed_at"],
                name="payment_unsettled",
                condition=Q(status__in=["started", "authorised", "returning"]),
            ),  # Used by the sweep.
            models.Index(
                fields=["changed_at"], name="payment_silent", condition=Q(reason="gateway_silent", status="failed")
            ),  # Used by the sweep: attempts that were given up without the gateway's answer.
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()} {self.id}"

    @property
    def is_untouched(self) -> bool:
        """Tell whether the attempt has begun and no unanswered question to the gateway is recorded."""
        return self.status == PaymentStatus.STARTED and self.changed_at == self.started_at
