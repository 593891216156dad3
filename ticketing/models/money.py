"""Define refunds, the ledger, and records of gateways and letters."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from base.causes import LONGEST
from base.ids import uuid7
from ticketing.models.payments import Payment
from ticketing.models.sales import Sale


class RefundStatus(models.TextChoices):
    ASKED = "asked", _("asked")
    PAID_BACK = "paid_back", _("paid back")
    REFUSED = "refused", _("refused by the gateway")
    TO_HAND_OUT = "to_hand_out", _("to be handed out at the counter")
    HANDED_OUT = "handed_out", _("handed out at the counter")


class HandedOutBy(models.TextChoices):
    CASH = "cash", _("in cash")
    TERMINAL = "terminal", _("on the card terminal")


class Refund(models.Model):
    """Store money that goes back, through the gateway or over the counter."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sale = models.ForeignKey(Sale, models.PROTECT, related_name="refunds", verbose_name=_("sale"))
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    reason = models.CharField(_("reason"), max_length=120, blank=True)
    status = models.CharField(_("status"), max_length=12, choices=RefundStatus, default=RefundStatus.ASKED)
    refusals = models.PositiveSmallIntegerField(
        _("refusals"), default=0, db_default=0, help_text=_("How often the gateway refused the refund.")
    )
    handed_out_at = models.DateTimeField(_("handed out at"), null=True, blank=True)
    handed_out_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("handed out by"),
        db_index=False,
    )
    handed_out_in = models.CharField(
        _("handed out"), max_length=8, choices=HandedOutBy, blank=True, default="", db_default=""
    )
    asked_by = models.UUIDField(_("asked by"), null=True, blank=True)
    cause = models.CharField(_("request id"), max_length=LONGEST, blank=True, default="", db_default="")
    asked_at = models.DateTimeField(_("asked at"), db_default=Now())
    changed_at = models.DateTimeField(_("changed at"), db_default=Now())

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["changed_at"], name="refund_asked", condition=Q(status="asked")),  # Used by the sweep.
            models.Index(
                fields=["asked_at"], name="refund_for_a_person", condition=Q(status__in=["to_hand_out", "refused"])
            ),  # Used by the cashier's list.
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="handed_out", handed_out_at__isnull=False)
                | ~Q(status="handed_out") & Q(handed_out_at=None),
                name="refund_handed_out_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()} {self.id}"

    @property
    def key(self) -> uuid.UUID:
        """Return the gateway's idempotency key: a new one after each refusal, which a gateway would only repeat."""
        return uuid.uuid5(self.id, str(self.refusals)) if self.refusals else self.id


class Account(models.TextChoices):
    GATEWAY = "gateway", _("gateway clearing")  # what the gateways owe the house
    CASH = "cash", _("cash")  # what is in the house's tills
    REVENUE = "revenue", _("revenue")
    BOOKING = "booking", _("booking fees")  # what buyers pay for booking
    TAXES = "taxes", _("taxes")  # contained in the price, and owed to the state
    FEES = "fees", _("gateways' fees")
    REFUNDS = "refunds", _("refunds")
    DUE = "due", _("due at the door")  # sold, and not collected yet
    OWED = "owed", _("owed to buyers")  # promised and not yet refunded, or captured without a sale


class LedgerEntry(models.Model):
    """Store half of a posting. Debits are above zero, credits below; a posting sums to zero and never changes."""

    id = models.BigAutoField(primary_key=True)
    posting = models.UUIDField(_("posting"))
    account = models.CharField(_("account"), max_length=10, choices=Account)
    amount = models.BigIntegerField(_("amount"), help_text=_("In minor units. A negative amount is a credit."))
    currency = models.CharField(_("currency"), max_length=3)
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="entries", verbose_name=_("payment"))
    refund = models.ForeignKey(
        Refund, models.PROTECT, null=True, blank=True, related_name="entries", verbose_name=_("refund")
    )
    posted_at = models.DateTimeField(_("posted at"), db_default=Now())

    class Meta:
        verbose_name = _("ledger entry")
        verbose_name_plural = _("ledger entries")
        ordering = ["-id"]
        indexes = [
            # Used by the check of its balance at the commit.
            models.Index(fields=["posting"], name="ledger_of_posting"),
            models.Index(fields=["posted_at"], name="ledger_by_time"),  # Used by reports.
        ]
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="ledger_entry_moves_something")]

    def __str__(self) -> str:
        return f"{self.get_account_display()} {self.amount} {self.currency}"


class WebhookEvent(models.Model):
    """Store a gateway's message with its effect, so that a repetition has none."""

    gateway = models.CharField(_("gateway"), max_length=20)
    event = models.CharField(_("event"), max_length=120)
    kind = models.CharField(_("kind"), max_length=60)
    received_at = models.DateTimeField(_("received at"), db_default=Now())

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["gateway", "event"], name="webhook_event_once_a_gateway")]

    def __str__(self) -> str:
        return f"{self.gateway} {self.event}"


class SandboxCharge(models.Model):
    """Store the sandbox gateway's own record of an attempt, apart from ours so that the two can be compared."""

    attempt = models.UUIDField(primary_key=True, editable=False)
    amount = models.PositiveBigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    status = models.CharField(_("status"), max_length=10)
    refunded = models.PositiveBigIntegerField(_("refunded"), default=0)
    changed_at = models.DateTimeField(_("changed at"), db_default=Now())

    class Meta:
        verbose_name = _("sandbox charge")
        verbose_name_plural = _("sandbox charges")

    def __str__(self) -> str:
        return f"{self.status} {self.attempt}"


class SandboxRefund(models.Model):
    """Store the sandbox's own record of money that it paid back."""

    id = models.UUIDField(primary_key=True, editable=False)
    charge = models.ForeignKey(SandboxCharge, models.PROTECT, related_name="refunds", verbose_name=_("sandbox charge"))
    amount = models.PositiveBigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("sandbox refund")
        verbose_name_plural = _("sandbox refunds")

    def __str__(self) -> str:
        return f"{self.amount} {self.id}"


class SandboxEvent(models.Model):
    """Store a webhook that the sandbox still has to send, `times` times."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    attempt = models.UUIDField(_("attempt"))
    kind = models.CharField(_("kind"), max_length=40)
    times = models.PositiveSmallIntegerField(_("times"), default=1)
    due_at = models.DateTimeField(_("due at"))

    class Meta:
        verbose_name = _("sandbox event")
        verbose_name_plural = _("sandbox events")
        ordering = ["due_at", "id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.attempt}"


class Notification(models.Model):
    """Store that an e-mail was sent, so that a repeated event sends no second one."""

    event = models.UUIDField(primary_key=True, editable=False)
    kind = models.CharField(_("kind"), max_length=40)
    sent_at = models.DateTimeField(_("sent at"), db_default=Now())

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")

    def __str__(self) -> str:
        return f"{self.kind} {self.event}"
