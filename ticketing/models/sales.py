"""Define sales, tickets and their history: mailed codes, transfers, collections, check-ins."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from base.ids import uuid7
from reservations.models import Reservation
from sessions_app.models import Seat, Session, TicketType
from ticketing import codes, voiding
from ticketing.models.payments import Payment, PaymentStatus


class SaleQuerySet(models.QuerySet["Sale"]):
    def note_change(self) -> None:
        """Tell calendars that something about these sales changed. The caller has locked them or is changing them."""
        self.update(sequence=F("sequence") + 1, changed_at=Now())

    def with_status(self, status: str) -> SaleQuerySet:
        """Return those whose `status` is this one."""
        tickets = Ticket.objects.filter(sale=OuterRef("pk"))
        off = Q(session__cancelled_at__isnull=False)
        void = off | Exists(tickets.filter(status=TicketStatus.VOID))
        live = ~off & Exists(tickets.exclude(status=TicketStatus.VOID))
        due = Q(payment__status=PaymentStatus.DUE)
        return self.filter(
            {
                "refunded": void & ~live,
                "partly_refunded": void & live,
                "due": ~void & due,
                "paid": ~void & ~due,
            }[status]
        )


class Sale(models.Model):
    """Store a paid reservation."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.BigIntegerField(_("number"), unique=True, editable=False)
    reservation = models.OneToOneField(Reservation, models.PROTECT, related_name="+", verbose_name=_("reservation"))
    payment = models.OneToOneField(Payment, models.PROTECT, related_name="sale", verbose_name=_("payment"))
    session = models.ForeignKey(Session, models.PROTECT, related_name="+", verbose_name=_("session"))
    buyer = models.UUIDField(_("buyer"))
    lines = models.JSONField(_("line items"), default=list)
    total = models.PositiveBigIntegerField(_("total"), help_text=_("In minor units."))
    refunded = models.PositiveBigIntegerField(_("refunded"), default=0, help_text=_("In minor units."))
    waived = models.PositiveBigIntegerField(
        _("waived"),
        default=0,
        db_default=0,
        help_text=_("In minor units: given back before it was paid at the door."),
    )
    currency = models.CharField(_("currency"), max_length=3)
    email = models.EmailField(_("e-mail for the receipt"), blank=True)
    language = models.CharField(_("language"), max_length=8, default="en")
    sold_at = models.DateTimeField(_("sold at"), db_default=Now())
    links = models.PositiveIntegerField(
        _("generation of its links"),
        default=0,
        db_default=0,
        editable=False,
        help_text=_("How many times the links in its letters were revoked."),
    )
    sequence = models.PositiveIntegerField(_("changes of its tickets"), default=0, db_default=0, editable=False)
    changed_at = models.DateTimeField(_("changed at"), null=True, editable=False)

    objects = SaleQuerySet.as_manager()

    class Meta:
        verbose_name = _("sale")
        verbose_name_plural = _("sales")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(refunded__lte=F("total")), name="sale_refunds_no_more_than_it_took"),
            models.CheckConstraint(
                condition=Q(total__gte=F("refunded") + F("waived")), name="sale_gives_back_no_more_than_it_cost"
            ),
        ]
        indexes = [
            models.Index(fields=["buyer", "-id"], name="sale_of_buyer"),  # Used by the purchase history.
            # Used by sales at a glance: takings of a session.
            models.Index(fields=["session"], name="sale_of_session"),
            models.Index(fields=["sold_at"], name="sale_by_time"),  # Used by sales at a glance: by day and hour.
        ]

    def __str__(self) -> str:
        return f"#{self.number}"

    @property
    def status(self) -> str:
        return self.status_by(self.tickets.all())

    @property
    def live_tickets(self) -> list[Ticket]:
        return [ticket for ticket in self.tickets.all() if ticket.status != TicketStatus.VOID]

    def status_by(self, tickets: Iterable[Ticket]) -> str:
        """Return the status by the tickets, not by amounts: free ones can be refunded too. Called off, all are void."""
        is_off = self.session.cancelled_at is not None
        void = {is_off or ticket.status == TicketStatus.VOID for ticket in tickets}
        if True in void:
            return "partly_refunded" if False in void else "refunded"
        return "due" if self.payment.status == PaymentStatus.DUE else "paid"


class TicketStatus(models.TextChoices):
    VALID = "valid", _("valid")
    USED = "used", _("used")
    VOID = "void", _("void")


def new_code() -> str:
    """Return a code of 60 random bits, as 12 letters and digits that are easy to type."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
    return "".join(secrets.choice(alphabet) for _index in range(12))


class Ticket(models.Model):
    """Store the right of one person to enter once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sale = models.ForeignKey(Sale, models.PROTECT, related_name="tickets", verbose_name=_("sale"))
    session = models.ForeignKey(Session, models.PROTECT, related_name="+", verbose_name=_("session"))
    seat = models.ForeignKey(Seat, models.PROTECT, null=True, related_name="+", verbose_name=_("seat"))
    ticket_type = models.ForeignKey(TicketType, models.PROTECT, related_name="+", verbose_name=_("ticket type"))
    price = models.PositiveIntegerField(_("price"), help_text=_("In minor units, including the fee."))
    fee = models.PositiveIntegerField(
        _("booking fee"), default=0, db_default=0, help_text=_("In minor units; part of the price.")
    )
    tax = models.PositiveIntegerField(
        _("tax"), default=0, db_default=0, help_text=_("In minor units; part of the price.")
    )
    concession = models.CharField(
        _("concession"),
        max_length=60,
        blank=True,
        default="",
        db_default="",
        help_text=_("The name at the time of the sale."),
    )
    concession_note = models.CharField(
        _("what to show at the door"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text=_("The note at the time of the sale."),
    )
    due = models.PositiveIntegerField(
        _("to pay at the door"),
        default=0,
        db_default=0,
        help_text=_("In minor units: the amount that the gate has not collected yet."),
    )
    holder = models.UUIDField(
        _("passed on to"),
        null=True,
        blank=True,
        help_text=_("The buyer who has the ticket now; empty: the buyer of the sale."),
    )
    code = models.CharField(
        _("short code"),
        max_length=64,
        unique=True,
        default=new_code,
        help_text=_(
            "The code to type at the gate. The scanned code is this one with a signature (ticketing/codes.py)."
        ),
    )
    status = models.CharField(_("status"), max_length=5, choices=TicketStatus, default=TicketStatus.VALID)
    refund = models.ForeignKey(
        "Refund", models.PROTECT, null=True, blank=True, related_name="tickets", verbose_name=_("refund")
    )
    used_at = models.DateTimeField(_("used at"), null=True, blank=True)
    used_gate = models.CharField(_("gate"), max_length=60, blank=True)
    links = models.PositiveIntegerField(
        _("generation of its links"),
        default=0,
        db_default=0,
        editable=False,
        help_text=_("How many times the links in its letters were revoked."),
    )

    class Meta:
        verbose_name = _("ticket")
        verbose_name_plural = _("tickets")
        ordering = ["id"]
        indexes = [
            # Used by the list of one's own tickets.
            models.Index(fields=["holder"], name="ticket_of_holder", condition=Q(holder__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["seat"], name="ticket_one_live_ticket_per_seat", condition=~Q(status="void")
            ),
            models.CheckConstraint(condition=Q(due__lte=F("price")), name="ticket_owes_no_more_than_its_price"),
            models.CheckConstraint(condition=~Q(status="used") | Q(due=0), name="ticket_used_is_paid"),
            models.CheckConstraint(
                condition=Q(status="used", used_at__isnull=False) | Q(status="valid", used_at=None) | Q(status="void"),
                name="ticket_used_has_a_time",
            ),
            models.CheckConstraint(
                condition=Q(price__gte=F("fee") + F("tax")), name="ticket_price_covers_its_fee_and_tax"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.ticket_type.name} {self.seat.label if self.seat else ''}".strip()

    @property
    def kind(self) -> str:
        """Return the kind, such as “Standard · Child”."""
        return " · ".join(filter(None, (self.ticket_type.name, self.concession)))

    @property
    def owner(self) -> uuid.UUID:
        """Return the buyer who has the ticket now."""
        return self.holder or self.sale.buyer

    @property
    def void(self) -> voiding.Void | None:
        """Return why the ticket is not valid any more, and since when; None if it is valid or was used."""
        if self.status == TicketStatus.VOID:
            return voiding.of_ticket(self)
        return voiding.of_session(self.session)

    @property
    def collect_until(self) -> dt.datetime | None:
        """Return the deadline for payment at the door; None if nothing is due or there is no deadline."""
        if not self.due:
            return None
        return self.ticket_type.collect_until(self.session, asked_at=self.sale.reservation.accepted_at)

    @property
    def signed_code(self) -> str:
        """Return the text of the QR code."""
        return codes.sign(self.code, session=self.session_id)


class MailedCode(models.Model):
    """Store a code that was mailed to a sale's buyer. It is computed from this row's id; see mailed_codes.py."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sale = models.ForeignKey(Sale, models.CASCADE, related_name="+", verbose_name=_("sale"))
    made_at = models.DateTimeField(_("made at"), db_default=Now())
    tries = models.PositiveSmallIntegerField(_("tries"), default=0, db_default=0)
    used_at = models.DateTimeField(_("used at"), null=True, blank=True)

    class Meta:
        verbose_name = _("mailed code")
        verbose_name_plural = _("mailed codes")

    def __str__(self) -> str:
        return f"{self.sale} {self.made_at}"


class Transfer(models.Model):
    """Store that a ticket was transferred: its earlier code is void."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ticket = models.ForeignKey(Ticket, models.PROTECT, related_name="transfers", verbose_name=_("ticket"))
    code = models.CharField(_("old short code"), max_length=64, unique=True)
    giver = models.UUIDField(_("from"))
    receiver = models.UUIDField(_("to"))
    passed_at = models.DateTimeField(_("passed on at"), db_default=Now())

    class Meta:
        verbose_name = _("transfer")
        verbose_name_plural = _("transfers")
        ordering = ["-id"]

    def __str__(self) -> str:
        return str(self.id)


class Collection(models.Model):
    """Store that the amount due for a ticket was collected at the door."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ticket = models.OneToOneField(Ticket, models.PROTECT, related_name="collection", verbose_name=_("ticket"))
    amount = models.PositiveIntegerField(_("amount"), help_text=_("In minor units."))
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("gate staff"),
        db_index=False,
    )
    gate = models.CharField(_("gate"), max_length=60, blank=True)
    collected_at = models.DateTimeField(_("collected at"))

    class Meta:
        verbose_name = _("money collected at the door")
        verbose_name_plural = _("money collected at the door")
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=Q(amount__gte=1), name="collection_takes_something")]

    def __str__(self) -> str:
        return f"{self.amount} {self.id}"


class CheckInOutcome(models.TextChoices):
    ADMITTED = "admitted", _("admitted")
    ALREADY_USED = "already_used", _("already used")
    VOID = "void", _("void")
    OTHER_SESSION = "other_session", _("for another session")
    NOT_YET = "not_yet", _("before the doors open")
    TOO_LATE = "too_late", _("after the session's end")
    SESSION_CANCELLED = "session_cancelled", _("session called off")


class CheckIn(models.Model):
    """Store a scan at a gate and its outcome."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ticket = models.ForeignKey(Ticket, models.PROTECT, related_name="check_ins", verbose_name=_("ticket"))
    outcome = models.CharField(_("outcome"), max_length=17, choices=CheckInOutcome)
    gate = models.CharField(_("gate"), max_length=60, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("gate staff"),
        db_index=False,
    )
    scanned_at = models.DateTimeField(_("scanned at"))
    recorded_at = models.DateTimeField(
        _("recorded at"), db_default=Now(), help_text=_("Later than the scan if the gate had no connection.")
    )

    class Meta:
        verbose_name = _("check-in")
        verbose_name_plural = _("check-ins")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["ticket"], name="check_in_one_admission_a_ticket", condition=Q(outcome="admitted")
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} {self.id}"
