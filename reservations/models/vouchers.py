"""Define vouchers."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from base.ids import uuid7
from sessions_app.models import Session, currency_code

CODE = r"^[A-Z0-9][A-Z0-9-]{2,31}$"  # of a voucher, as it is stored


class Voucher(models.Model):
    """A code that takes something off: a share of each place, or an amount off the whole reservation.

    A use is a reservation that carries it and is held, being paid for or bought. Only the reservations themselves are
    counted.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(
        _("code"),
        max_length=32,
        unique=True,
        validators=[RegexValidator(CODE, _("3 to 32 letters from A to Z, digits and hyphens."))],
        help_text=_("The code that buyers type; upper and lower case are the same."),
    )
    percent_off = models.PositiveSmallIntegerField(
        _("percent off"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text=_("This discount applies to each place."),
    )
    amount = models.PositiveIntegerField(
        _("amount"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("In minor units, taken off the whole order. Give either this or a percentage."),
    )
    currency = models.CharField(
        _("currency"), max_length=3, blank=True, validators=[currency_code], help_text=_("The currency of the amount.")
    )
    session = models.ForeignKey(
        Session,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("session"),
        help_text=_("Empty: valid for all sessions."),
    )
    uses = models.PositiveIntegerField(
        _("uses"), null=True, blank=True, validators=[MinValueValidator(1)], help_text=_("Empty: no limit.")
    )
    uses_per_buyer = models.PositiveIntegerField(
        _("uses per buyer"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: no limit."),
    )
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True, help_text=_("Empty: valid immediately."))
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True, help_text=_("Empty: valid forever."))
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("If it is not active, buyers can no longer use it.")
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("voucher")
        verbose_name_plural = _("vouchers")
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(condition=Q(code__regex=CODE), name="voucher_code_is_in_capitals"),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=False, percent_off__range=(1, 100), amount__isnull=True, currency="")
                | Q(percent_off__isnull=True, amount__isnull=False, amount__gte=1) & ~Q(currency=""),
                name="voucher_is_a_share_or_an_amount",
            ),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True) | Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="voucher_ends_after_it_begins",
            ),
            models.CheckConstraint(
                condition=(Q(uses__isnull=True) | Q(uses__gte=1))
                & (Q(uses_per_buyer__isnull=True) | Q(uses_per_buyer__gte=1)),
                name="voucher_can_be_used_at_least_once",
            ),
        ]

    def __str__(self) -> str:
        return self.code
