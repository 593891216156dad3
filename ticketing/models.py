from __future__ import annotations

import datetime as dt
import secrets
import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now, Upper
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from uuid6 import uuid7

from base.causes import LONGEST
from reservations.models import Reservation
from sessions_app.models import Seat, Session, TicketType
from ticketing import codes, stamps, voiding


class Users(models.QuerySet["User"]):
    """Changes that end credentials are told at once; see stamps.py."""

    def update(self, **changes: Any) -> int:
        changed = list(self.values_list("pk", flat=True)) if (STAMPED | REACHED) & changes.keys() else []
        rows = super().update(**changes)
        if REACHED & changes.keys():
            end_links(changed)
        if STAMPED & changes.keys():
            stamps.publish(changed)
        return rows

    def delete(self) -> tuple[int, dict[str, int]]:
        gone = list(self.values_list("pk", flat=True))
        rows = super().delete()
        end_links(gone)
        stamps.publish(gone)
        return rows


class Accounts(UserManager["User"]):
    """Names are compared without case and outer spaces."""

    use_in_migrations = False

    def get_queryset(self) -> Users:
        return Users(self.model, using=self._db)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(username__iexact=User.normalize_username(username or ""))


STAMPED = frozenset({"password", "is_active", "generation"})  # what a stamp is made of
REACHED = frozenset({"email", "is_active"})  # whose mailbox an account's letters lie in


def end_links(accounts: Iterable[uuid.UUID]) -> None:
    """Let no letter that went to these accounts open anything any more; see links.py."""
    some = list(accounts)
    Sale.objects.filter(buyer__in=some).update(links=F("links") + 1)
    Ticket.objects.filter(holder__in=some).update(links=F("links") + 1)


class User(AbstractUser):
    """A person with an account; the id is the buyer of what that person holds and buys."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    generation = models.PositiveIntegerField(
        _("generation"), default=0, db_default=0, editable=False, help_text=_("How often its credentials were ended.")
    )

    objects: ClassVar[Accounts] = Accounts()

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Upper("username"),
                name="user_name_once_whatever_its_case",
                violation_error_message=_("This name is taken."),
            )
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.username = self.normalize_username(self.username)
        fields = kwargs.get("update_fields")
        moves = (fields is None or REACHED & set(fields)) and self._is_reached_otherwise()
        super().save(*args, **kwargs)
        if moves:
            end_links([self.pk])
        if fields is None or STAMPED & set(fields):
            stamps.publish([self.pk])

    def _is_reached_otherwise(self) -> bool:
        """Whether the row, if there is one, has another address, or was closed or opened since."""
        known = type(self).objects.filter(pk=self.pk).values_list("email", "is_active").first()
        return known is not None and known != (self.email, self.is_active)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        account, rows = self.pk, super().delete(*args, **kwargs)
        end_links([account])
        stamps.publish([account])
        return rows

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """As it is kept: without outer spaces, and with one spelling for what looks the same (NFKC)."""
        return super().normalize_username(username).strip() if username else ""

    @property
    def stamp(self) -> str:
        """See stamps.py."""
        return salted_hmac("ticketing.stamp", f"{self.password} {self.generation}", algorithm="sha256").hexdigest()[:20]

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Django's sessions end with the other credentials. An account that never ended any keeps those it has."""
        salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
        said = f"{self.password}{self.generation or ''}"
        return salted_hmac(salt, said, secret=secret, algorithm="sha256").hexdigest()


class Order(Reservation):
    """A reservation that was asked for as an order, for the box office to look at."""

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


OPEN = (PaymentStatus.STARTED, PaymentStatus.AUTHORISED)  # attempts on their way
UNSETTLED = (*OPEN, PaymentStatus.RETURNING)  # what the sweep takes up


class Payment(models.Model):
    """One attempt to pay for a reservation; its id is the gateway's idempotency key."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    reservation = models.ForeignKey(Reservation, models.PROTECT, related_name="payments", verbose_name=_("reservation"))
    method = models.CharField(_("method"), max_length=20)
    token = models.CharField(
        _("token"), max_length=120, help_text=_("What the gateway gave the browser; never a card number.")
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
            ),  # The sweep.
            models.Index(
                fields=["changed_at"], name="payment_silent", condition=Q(reason="gateway_silent", status="failed")
            ),  # The sweep: attempts that were given up without the gateway's word.
        ]

    def __str__(self) -> str:
        return f"{self.get_status_display()} {self.id}"

    @property
    def is_untouched(self) -> bool:
        """Begun, and nobody noted to have asked the gateway in vain."""
        return self.status == PaymentStatus.STARTED and self.changed_at == self.started_at


class SaleQuerySet(models.QuerySet["Sale"]):
    def note_change(self) -> None:
        """Tell calendars that something of these sales is otherwise. They are locked, or being changed, by the caller."""
        self.update(sequence=F("sequence") + 1, changed_at=Now())

    def with_status(self, status: str) -> SaleQuerySet:
        """Those whose `status` is this one."""
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
    """A paid reservation."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.BigIntegerField(_("number"), unique=True, editable=False)
    reservation = models.OneToOneField(Reservation, models.PROTECT, related_name="+", verbose_name=_("reservation"))
    payment = models.OneToOneField(Payment, models.PROTECT, related_name="sale", verbose_name=_("payment"))
    session = models.ForeignKey(Session, models.PROTECT, related_name="+", verbose_name=_("session"))
    buyer = models.UUIDField(_("buyer"))
    lines = models.JSONField(_("lines"), default=list)
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
        help_text=_("How often the links in its letters were ended."),
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
            models.Index(fields=["buyer", "-id"], name="sale_of_buyer"),  # Purchase history.
            models.Index(fields=["session"], name="sale_of_session"),  # Sales at a glance: what a session took.
            models.Index(fields=["sold_at"], name="sale_by_time"),  # Sales at a glance: by day and hour.
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
        """Follow the sale's tickets, not its amounts: what cost nothing can be given back too. Of a session that is off all are void."""
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
    """Unguessable: 60 random bits, as 12 letters and digits that survive being typed."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
    return "".join(secrets.choice(alphabet) for _index in range(12))


class Ticket(models.Model):
    """Admits one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sale = models.ForeignKey(Sale, models.PROTECT, related_name="tickets", verbose_name=_("sale"))
    session = models.ForeignKey(Session, models.PROTECT, related_name="+", verbose_name=_("session"))
    seat = models.ForeignKey(Seat, models.PROTECT, null=True, related_name="+", verbose_name=_("seat"))
    ticket_type = models.ForeignKey(TicketType, models.PROTECT, related_name="+", verbose_name=_("ticket type"))
    price = models.PositiveIntegerField(_("price"), help_text=_("In minor units, with the fee."))
    fee = models.PositiveIntegerField(
        _("booking fee"), default=0, db_default=0, help_text=_("In minor units; part of the price.")
    )
    tax = models.PositiveIntegerField(
        _("tax"), default=0, db_default=0, help_text=_("In minor units; part of the price.")
    )
    concession = models.CharField(
        _("concession"), max_length=60, blank=True, default="", db_default="", help_text=_("Its name when it was sold.")
    )
    concession_note = models.CharField(
        _("what to show at the door"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text=_("As it was when it was sold."),
    )
    due = models.PositiveIntegerField(
        _("to pay at the door"), default=0, db_default=0, help_text=_("In minor units: what nobody collected yet.")
    )
    holder = models.UUIDField(
        _("passed on to"), null=True, blank=True, help_text=_("The buyer who has it now; empty: who bought it.")
    )
    code = models.CharField(
        _("short code"),
        max_length=64,
        unique=True,
        default=new_code,
        help_text=_("What can be typed at the gate. Signed, it is the code that is scanned (ticketing/codes.py)."),
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
        help_text=_("How often the links in its letters were ended."),
    )

    class Meta:
        verbose_name = _("ticket")
        verbose_name_plural = _("tickets")
        ordering = ["id"]
        indexes = [
            models.Index(fields=["holder"], name="ticket_of_holder", condition=Q(holder__isnull=False)),  # My tickets.
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
        """“Standard · Child”."""
        return " · ".join(filter(None, (self.ticket_type.name, self.concession)))

    @property
    def owner(self) -> uuid.UUID:
        """The buyer who has it."""
        return self.holder or self.sale.buyer

    @property
    def void(self) -> voiding.Void | None:
        """Why it admits nobody any more, and since when; None: it does, or did."""
        if self.status == TicketStatus.VOID:
            return voiding.of_ticket(self)
        return voiding.of_session(self.session)

    @property
    def collect_until(self) -> dt.datetime | None:
        """Until when it has to be paid for at the door; None: nothing is due for it, or there is no deadline."""
        if not self.due:
            return None
        return self.ticket_type.collect_until(self.session, asked_at=self.sale.reservation.accepted_at)

    @property
    def signed_code(self) -> str:
        """What is scanned."""
        return codes.sign(self.code, session=self.session_id)


class MailedCode(models.Model):
    """A code that was mailed to a sale's buyer, computed from the id of its row; see mailed_codes.py."""

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
    """A ticket changed hands: its code until then is void."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ticket = models.ForeignKey(Ticket, models.PROTECT, related_name="transfers", verbose_name=_("ticket"))
    code = models.CharField(_("short code until then"), max_length=64, unique=True)
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
    """What was due for a ticket was paid at the door, into somebody's hand."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ticket = models.OneToOneField(Ticket, models.PROTECT, related_name="collection", verbose_name=_("ticket"))
    amount = models.PositiveIntegerField(_("amount"), help_text=_("In minor units."))
    by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("gate staff"), db_index=False
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
    """A ticket was held up at a gate, and what became of that."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    ticket = models.ForeignKey(Ticket, models.PROTECT, related_name="check_ins", verbose_name=_("ticket"))
    outcome = models.CharField(_("outcome"), max_length=17, choices=CheckInOutcome)
    gate = models.CharField(_("gate"), max_length=60, blank=True)
    by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("gate staff"), db_index=False
    )
    scanned_at = models.DateTimeField(_("scanned at"))
    recorded_at = models.DateTimeField(
        _("recorded at"), db_default=Now(), help_text=_("Later than the scan where the gate had no connection.")
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


# --- Money that goes back, and where all of it is written down


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
    """Money that goes back, through the gateway or over the counter."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sale = models.ForeignKey(Sale, models.PROTECT, related_name="refunds", verbose_name=_("sale"))
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    reason = models.CharField(_("reason"), max_length=120, blank=True)
    status = models.CharField(_("status"), max_length=12, choices=RefundStatus, default=RefundStatus.ASKED)
    refusals = models.PositiveSmallIntegerField(
        _("refusals"), default=0, db_default=0, help_text=_("How often the gateway refused it.")
    )
    handed_out_at = models.DateTimeField(_("handed out at"), null=True, blank=True)
    handed_out_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("handed out by"), db_index=False
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
            models.Index(fields=["changed_at"], name="refund_asked", condition=Q(status="asked")),  # The sweep.
            models.Index(
                fields=["asked_at"], name="refund_for_a_person", condition=Q(status__in=["to_hand_out", "refused"])
            ),  # The cashier's list.
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
        """The gateway's idempotency key: a new one after each refusal, which a gateway would only repeat."""
        return uuid.uuid5(self.id, str(self.refusals)) if self.refusals else self.id


class Account(models.TextChoices):
    GATEWAY = "gateway", _("gateway clearing")  # what the gateways owe the house
    CASH = "cash", _("cash")  # what lies in the house's tills
    REVENUE = "revenue", _("revenue")
    BOOKING = "booking", _("booking fees")  # what buyers pay for booking
    TAXES = "taxes", _("taxes")  # contained in what buyers pay, and owed to the state
    FEES = "fees", _("gateways' fees")
    REFUNDS = "refunds", _("refunds")
    DUE = "due", _("due at the door")  # sold, and not collected yet
    OWED = "owed", _("owed to buyers")  # promised back and not yet paid, or taken for nothing


class LedgerEntry(models.Model):
    """Half of a posting. Debits are above zero, credits below; a posting's entries sum to zero, and none is ever changed."""

    id = models.BigAutoField(primary_key=True)
    posting = models.UUIDField(_("posting"))
    account = models.CharField(_("account"), max_length=10, choices=Account)
    amount = models.BigIntegerField(_("amount"), help_text=_("In minor units; below zero: credit."))
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
            models.Index(fields=["posting"], name="ledger_of_posting"),  # Its balance, at the commit.
            models.Index(fields=["posted_at"], name="ledger_by_time"),  # Reports.
        ]
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="ledger_entry_moves_something")]

    def __str__(self) -> str:
        return f"{self.get_account_display()} {self.amount} {self.currency}"


# --- What gateways tell us


class WebhookEvent(models.Model):
    """Something a gateway told us; written with its effect, so that it has none the second time."""

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
    """The sandbox gateway's own record of an attempt, apart from ours so that the two can be compared."""

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
    """The sandbox's own record of money it paid back."""

    id = models.UUIDField(primary_key=True, editable=False)
    charge = models.ForeignKey(SandboxCharge, models.PROTECT, related_name="refunds", verbose_name=_("sandbox charge"))
    amount = models.PositiveBigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("sandbox refund")
        verbose_name_plural = _("sandbox refunds")

    def __str__(self) -> str:
        return f"{self.amount} {self.id}"


class SandboxEvent(models.Model):
    """A webhook that the sandbox has still to send, `times` over."""

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
    """An e-mail that was sent, so that a repeated event sends no second one."""

    event = models.UUIDField(primary_key=True, editable=False)
    kind = models.CharField(_("kind"), max_length=40)
    sent_at = models.DateTimeField(_("sent at"), db_default=Now())

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")

    def __str__(self) -> str:
        return f"{self.kind} {self.event}"
