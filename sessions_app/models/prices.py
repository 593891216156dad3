"""Define ticket types, the pools that several of them share, and concessions."""

from __future__ import annotations

import datetime as dt

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from base.ids import uuid7
from sessions_app import rules
from sessions_app.models.sessions import Session


class Pool(models.Model):
    """Places that several ticket types of a session draw on beside their own.

    For example, day tickets and weekend passes share the places of Saturday.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="pools", verbose_name=_("session"))
    name = models.CharField(_("name"), max_length=60)
    capacity = models.PositiveIntegerField(_("capacity"))
    available = models.IntegerField(_("available"), editable=False)
    version = models.PositiveBigIntegerField(_("changes of what is available"), default=0, editable=False)

    class Meta:
        verbose_name = _("pool of places")
        verbose_name_plural = _("pools of places")
        ordering = ["session_id", "name"]
        constraints = [
            models.UniqueConstraint(fields=["session", "name"], name="pool_name_once_a_session"),
            models.CheckConstraint(condition=Q(available__gte=0), name="pool_available_never_negative"),
            models.CheckConstraint(
                condition=Q(available__lte=F("capacity")), name="pool_available_never_above_capacity"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class TicketType(models.Model):
    """A price. With `capacity`, also a stock of unnumbered places; without, the price of the seats that point to it.

    A place of a stock takes one from the stock and one from each of its `pools`. A stock's own rules may be narrower
    than the session's: when it is sold, and how many places one order or one buyer may have.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="ticket_types", verbose_name=_("session"))
    name = models.CharField(_("name"), max_length=60)
    price = models.PositiveIntegerField(_("price"), help_text=_("In minor units: 2500 is 25.00."))
    capacity = models.PositiveIntegerField(
        _("capacity"), null=True, blank=True, help_text=_("Places without a number; empty for seats.")
    )
    available = models.IntegerField(_("available"), null=True, blank=True, editable=False)
    stock_version = models.PositiveBigIntegerField(_("changes of what is available"), default=0, editable=False)
    position = models.PositiveIntegerField(_("order"), default=0)
    pools = models.ManyToManyField(
        Pool,
        blank=True,
        related_name="ticket_types",
        verbose_name=_("pools of places"),
        help_text=_("Each place also takes one place from each of these pools."),
    )
    sells_from = models.DateTimeField(
        _("sells from"), null=True, blank=True, help_text=_("Empty: on sale as soon as the session is.")
    )
    sells_until = models.DateTimeField(
        _("sells until"), null=True, blank=True, help_text=_("Empty: on sale until the session starts.")
    )
    max_per_order = models.PositiveIntegerField(
        _("places per order"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    max_per_buyer = models.PositiveIntegerField(
        _("places per buyer"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    holds = models.BooleanField(
        _("may be held"),
        default=True,
        db_default=True,
        help_text=_("If not, buyers can only buy it at once, with an order that carries its payment."),
    )

    pay_at_door = models.BooleanField(
        _("may be paid at the door"),
        default=False,
        db_default=False,
        help_text=_(
            "An order without a payment buys it at once. The buyer pays when the ticket is scanned at the door."
        ),
    )
    collect_minutes = models.PositiveIntegerField(
        _("collect until"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(525_600)],
        help_text=_(
            "Minutes before the start. Places that are not paid for at the door by then go back on sale. Empty: never."
        ),
    )

    class Meta:
        verbose_name = _("ticket type")
        verbose_name_plural = _("ticket types")
        ordering = ["session_id", "position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["session", "name"], name="ticket_type_name_once_a_session"),
            models.CheckConstraint(
                condition=Q(available__isnull=True) | Q(available__gte=0), name="ticket_type_available_never_negative"
            ),
            models.CheckConstraint(
                condition=Q(available__isnull=True) | Q(available__lte=F("capacity")),
                name="ticket_type_available_never_above_capacity",
            ),
            models.CheckConstraint(
                condition=Q(capacity__isnull=True, available__isnull=True)
                | Q(capacity__isnull=False, available__isnull=False),
                name="ticket_type_stock_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(capacity__isnull=False)
                | Q(
                    sells_from__isnull=True,
                    sells_until__isnull=True,
                    max_per_order__isnull=True,
                    max_per_buyer__isnull=True,
                    holds=True,
                    pay_at_door=False,
                ),
                name="ticket_type_only_a_stock_has_rules_of_its_own",
            ),
            models.CheckConstraint(
                condition=Q(sells_from__isnull=True) | Q(sells_until__isnull=True) | Q(sells_from__lt=F("sells_until")),
                name="ticket_type_sells_from_before_until",
            ),
            models.CheckConstraint(
                condition=(Q(max_per_order__isnull=True) | Q(max_per_order__gte=1))
                & (Q(max_per_buyer__isnull=True) | Q(max_per_buyer__gte=1)),
                name="ticket_type_sells_at_least_one",
            ),
            models.CheckConstraint(
                condition=Q(collect_minutes__isnull=True) | Q(pay_at_door=True),
                name="ticket_type_only_door_sales_have_a_collecting_deadline",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def is_closed_at(self, now: dt.datetime) -> bool:
        """Tell whether its own window is over; the session has one too."""
        return rules.is_window_over(now, self.sells_until)

    def sells_at(self, now: dt.datetime) -> bool:
        return not self.is_closed_at(now) and rules.is_window_open(now, self.sells_from)

    @property
    def is_free(self) -> bool:
        return not self.price

    def collect_until(self, session: Session, *, asked_at: dt.datetime | None = None) -> dt.datetime | None:
        """Return the deadline for paying its places at the door, for a request of `asked_at`; None: no deadline."""
        if self.collect_minutes is None:
            return None
        return session.deadline(minutes=self.collect_minutes, asked_at=asked_at)

    def is_paid_at_door(self, session: Session, *, now: dt.datetime, asked_at: dt.datetime | None = None) -> bool:
        """Tell whether it may still be sold without a payment, for a request of `asked_at`."""
        until = self.collect_until(session, asked_at=asked_at)
        return rules.is_paid_at_door(now, pay_at_door=self.pay_at_door, collect_until=until)


class Concession(models.Model):
    """A lower price for some people: a share off the place's own price, or a price of its own where that is lower."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="concessions", verbose_name=_("session"))
    name = models.CharField(_("name"), max_length=60, help_text=_("For example “Student”."))
    percent_off = models.PositiveSmallIntegerField(
        _("percent off"), null=True, blank=True, validators=[MaxValueValidator(100)]
    )
    price = models.PositiveIntegerField(
        _("price"), null=True, blank=True, help_text=_("In minor units. Give either this or a percentage.")
    )
    note = models.CharField(_("what to show at the door"), max_length=200, blank=True)
    position = models.PositiveIntegerField(_("order"), default=0)

    class Meta:
        verbose_name = _("concession")
        verbose_name_plural = _("concessions")
        ordering = ["session_id", "position", "id"]
        constraints = [
            models.UniqueConstraint(F("session"), Lower("name"), name="concession_name_once_a_session"),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=False, percent_off__lte=100, price__isnull=True)
                | Q(percent_off__isnull=True, price__isnull=False),
                name="concession_is_a_share_or_a_price",
            ),
        ]

    def __str__(self) -> str:
        return self.name
