"""Define shows, and their sessions."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
import zlib

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from base.ids import uuid7
from sessions_app import rules
from sessions_app.models.halls import Hall

HEAVIEST_LANE = 100
HIGHEST_FEE = 100_000_000  # minor units a ticket; with the dearest place and its share it fits into a ticket's price
WHOLE = 10_000  # basis points
currency_code = RegexValidator(r"^[A-Z]{3}$", _("Three capital letters of ISO 4217, for example BRL."))


class Show(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    title = models.CharField(_("title"), max_length=160)
    synopsis = models.TextField(_("synopsis"), blank=True)
    duration_minutes = models.PositiveIntegerField(
        _("minutes"), default=120, validators=[MinValueValidator(1), MaxValueValidator(1440)]
    )
    rating = models.CharField(_("age rating"), max_length=10, blank=True)
    genre = models.CharField(_("genre"), max_length=40, blank=True)

    class Meta:
        verbose_name = _("show")
        verbose_name_plural = _("shows")
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class TsTzRange(Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class SessionQuerySet(models.QuerySet["Session"]):
    def upcoming(self) -> SessionQuerySet:
        """Return sessions that are on sale or will be: not started, not cancelled."""
        return self.filter(starts_at__gt=Now(), cancelled_at__isnull=True)


class Session(models.Model):
    """One showing, with the rules of its sale."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    show = models.ForeignKey(Show, models.PROTECT, related_name="sessions", verbose_name=_("show"))
    hall = models.ForeignKey(
        Hall, models.PROTECT, null=True, blank=True, related_name="sessions", verbose_name=_("hall")
    )
    room = models.CharField(
        _("room"), max_length=80, blank=True, help_text=_("The name that buyers read, for example “Sala 1”.")
    )
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    on_sale_at = models.DateTimeField(
        _("on sale from"), null=True, blank=True, help_text=_("Empty: valid immediately.")
    )
    cancelled_at = models.DateTimeField(_("cancelled at"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, default="BRL", validators=[currency_code])
    hold_seconds = models.PositiveIntegerField(
        _("seconds of a hold"), default=30, validators=[MinValueValidator(1), MaxValueValidator(3600)]
    )
    max_hold_seconds = models.PositiveIntegerField(
        _("longest hold in seconds"), default=300, validators=[MinValueValidator(1), MaxValueValidator(7200)]
    )
    max_per_buyer = models.PositiveIntegerField(
        _("seats per buyer"), default=10, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    accounts_required = models.BooleanField(
        _("accounts only"), default=False, db_default=False, help_text=_("Guests must sign in before they can buy.")
    )
    refund_minutes = models.PositiveIntegerField(
        _("refunds until"),
        null=True,
        blank=True,
        default=60,
        validators=[MaxValueValidator(525_600)],
        help_text=_("Minutes before the start. Buyers may give tickets back until then. Empty: never."),
    )
    # See Note [How a price is put together] in reservations/allocation/pricing.py.
    booking_fee = models.PositiveIntegerField(
        _("booking fee"),
        default=0,
        db_default=0,
        validators=[MaxValueValidator(HIGHEST_FEE)],
        help_text=_("Added to the price of each ticket that is not free."),
    )
    booking_fee_basis_points = models.PositiveIntegerField(
        _("booking fee in hundredths of a percent"),
        default=0,
        db_default=0,
        validators=[MaxValueValidator(WHOLE)],
        help_text=_("A share of the price, added to the price as well: 750 is 7.5 percent."),
    )
    tax_basis_points = models.PositiveIntegerField(
        _("tax in hundredths of a percent"),
        default=0,
        db_default=0,
        validators=[MaxValueValidator(WHOLE)],
        help_text=_("Contained in the price and shown separately: 700 is 7 percent of the price without tax."),
    )
    settle_rate = models.PositiveIntegerField(
        _("requests allocated per second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "Further requests wait in the queue in their order, and buyers need not ask again. Empty: no limit."
        ),
    )
    settle_full_at = models.DateTimeField(
        _("allocated in advance until"), null=True, editable=False
    )  # see reservations/claims/pace.py
    admission_rate = models.PositiveIntegerField(
        _("requests admitted per second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "Requests above this rate are asked to come again in a moment, and do not join the queue. Empty: no limit."
        ),
    )
    payment_rate = models.PositiveIntegerField(
        _("payments of orders started per second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "Further orders keep their places and wait, for at most the longest hold. Buyers who pay by hand are "
            "never refused. Empty: no limit."
        ),
    )
    payments_full_at = models.DateTimeField(_("payments started in advance until"), null=True, editable=False)
    standby = models.BooleanField(
        _("standby"),
        default=False,
        db_default=False,
        help_text=_(
            "When no unnumbered places are left, orders wait with their payment. They get the places that come "
            "back, first come, first served."
        ),
    )
    lanes_ahead = models.TextField(
        _("lanes ahead of their share"), default="", db_default="", editable=False
    )  # see reservations/queueing/turns.py
    map_version = models.BigIntegerField(_("map version"), default=0, editable=False)
    plan_version = models.PositiveIntegerField(_("plan version"), default=0, editable=False)
    free_seats = models.PositiveIntegerField(_("free seats"), default=0, editable=False)  # so that a diff needn't count
    arrival_high = models.BigIntegerField(_("last arrival allocated"), default=0, editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    # Calendars and tickets show these facts, and the facts from before the session was last moved; see
    # ticketing/letters/moving.py. `sequence` also rises when its show, venue or a ticket type is renamed: by the
    # trigger of 0016_renaming_is_a_change, and by `operations.note_renaming`.
    sequence = models.PositiveIntegerField(
        _("changes of time, place or state"), default=0, db_default=0, editable=False
    )
    changed_at = models.DateTimeField(_("changed at"), null=True, editable=False)
    moved_at = models.DateTimeField(_("moved at"), null=True, editable=False)
    moved_from = models.DateTimeField(_("moved from"), null=True, editable=False)
    moved_from_place = models.CharField(
        _("moved from the place"), max_length=200, default="", db_default="", editable=False
    )
    moved_earlier_at = models.DateTimeField(_("moved to an earlier time at"), null=True, editable=False)
    moved_earlier_from = models.DateTimeField(_("moved to an earlier time from"), null=True, editable=False)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering = ["starts_at", "id"]
        indexes = [models.Index(fields=["starts_at", "id"], name="session_upcoming")]  # Upcoming sessions, by time.
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="session_ends_after_it_starts"),
            models.CheckConstraint(
                condition=Q(on_sale_at__isnull=True) | Q(on_sale_at__lt=F("starts_at")),
                name="session_goes_on_sale_before_it_starts",
            ),
            models.CheckConstraint(
                condition=Q(hold_seconds__gte=1) & Q(max_hold_seconds__gte=F("hold_seconds")),
                name="session_longest_hold_covers_a_hold",
            ),
            models.CheckConstraint(condition=Q(max_per_buyer__gte=1), name="session_sells_at_least_one_a_buyer"),
            models.CheckConstraint(
                condition=Q(booking_fee__lte=HIGHEST_FEE)
                & Q(booking_fee_basis_points__lte=WHOLE)
                & Q(tax_basis_points__lte=WHOLE),
                name="session_fees_and_tax_are_bounded",
            ),
            models.CheckConstraint(
                condition=(Q(admission_rate__isnull=True) | Q(admission_rate__gte=1))
                & (Q(payment_rate__isnull=True) | Q(payment_rate__gte=1)),
                name="session_lets_in_and_charges_at_least_one_a_second",
            ),
            models.CheckConstraint(
                condition=Q(settle_rate__isnull=True) | Q(settle_rate__gte=1),
                name="session_settles_at_least_one_a_second",
            ),
            ExclusionConstraint(
                name="session_hall_hosts_one_at_a_time",
                expressions=[
                    ("hall", RangeOperators.EQUAL),
                    (TsTzRange("starts_at", "ends_at"), RangeOperators.OVERLAPS),
                ],
                condition=Q(cancelled_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.show.title} · {timezone.localtime(self.starts_at):%Y-%m-%d %H:%M}"

    @property
    def place(self) -> str:
        """“Cine Belas Artes · Sala 1”."""
        return " · ".join(filter(None, (self.hall.venue.name if self.hall else "", self.room)))

    def fee_of(self, left: int) -> int:
        """Return the booking fee, in minor units, of a place that costs `left` without it; a free place has none."""
        return self.booking_fee + (2 * left * self.booking_fee_basis_points + WHOLE) // (2 * WHOLE) if left else 0

    def deadline(self, *, minutes: int, asked_at: dt.datetime | None = None) -> dt.datetime:
        """Return the instant this many minutes before the start.

        If the session was moved to an earlier time after `asked_at`, the deadline leaves the buyer fair notice.
        See Note [Moved to an earlier time] in ticketing/letters/moving.py.
        """
        before = dt.timedelta(minutes=minutes)
        usual, notice = self.starts_at - before, self.notice_until(asked_at)
        if notice is None or self.moved_earlier_from is None:
            return usual
        return max(usual, min(self.moved_earlier_from - before, notice))

    def notice_until(self, asked_at: dt.datetime | None) -> dt.datetime | None:
        """Return until when a request of `asked_at` has notice of an earlier start; None: no such move since."""
        if self.moved_earlier_at is None or asked_at is None or asked_at > self.moved_earlier_at:
            return None
        return self.moved_earlier_at + dt.timedelta(hours=settings.MOVED_NOTICE_HOURS)

    def sells_at(self, now: dt.datetime) -> bool:
        return not self.is_closed_at(now) and rules.is_window_open(now, self.on_sale_at)

    def is_closed_at(self, now: dt.datetime) -> bool:
        return rules.is_session_closed(now, starts_at=self.starts_at, is_called_off=self.cancelled_at is not None)


def new_lane_code() -> str:
    return secrets.token_urlsafe(9)


class Lane(models.Model):
    """A part of a session's queue, for buyers who know its code.

    A session without lanes serves first come, first served.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="lanes", verbose_name=_("session"))
    name = models.CharField(_("name"), max_length=40, help_text=_("The name that buyers read, for example “Members”."))
    weight = models.PositiveSmallIntegerField(
        _("weight"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(HEAVIEST_LANE)],
        help_text=_(
            "How many requests of this lane are allocated for each request of the general lane while both lanes wait."
        ),
    )
    code = models.CharField(
        _("access code"),
        max_length=64,
        default=new_lane_code,
        validators=[RegexValidator(r"^[!-~]+$", _("Letters, digits and signs without spaces."))],
        help_text=_(
            "Buyers with this code may use the lane: by a link to the session's page with ?lane=CODE, or as "
            "lane_code in the API."
        ),
    )

    class Meta:
        verbose_name = _("lane")
        verbose_name_plural = _("lanes")
        ordering = ["session_id", "-weight", "name"]
        constraints = [
            models.UniqueConstraint(fields=["session", "name"], name="lane_name_once_a_session"),
            models.UniqueConstraint(fields=["session", "code"], name="lane_code_once_a_session"),
            models.CheckConstraint(
                condition=Q(weight__gte=1) & Q(weight__lte=HEAVIEST_LANE), name="lane_weight_is_bounded"
            ),
            models.CheckConstraint(condition=~Q(name="") & ~Q(code=""), name="lane_has_a_name_and_a_code"),
        ]

    def __str__(self) -> str:
        return self.name


def shard_of(session: uuid.UUID, shards: int) -> int:
    """Return the queue that a session always uses, by a stable hash that is the same in every process."""
    return zlib.crc32(session.bytes) % shards
