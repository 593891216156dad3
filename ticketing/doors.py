"""The doors: a ticket lets one person in, once; the first scan wins, whenever the server hears of it.

Note [Scans that come late]
A gate without a connection judges codes by itself and tells of its scans later, each with how long ago it was: both times are
read from the gate's own clock, so that it may be wrong. A scan from before the one that is known takes its place; the later one
becomes the second, and that two came in is in the log as `ticket.let_in_twice`. A ticket that was given back stays void: a scan from
before that, told later, is refused, and that its bearer came in all the same is in the log as `ticket.let_in_and_refunded`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from typing import Any

import structlog
from django.db import transaction
from prometheus_client import Counter

from realtime import events
from realtime.clock import db_now
from ticketing import codes, ledger, locks, operations
from ticketing.ledger import Posting
from ticketing.models import (
    Account,
    CheckIn,
    CheckInOutcome,
    Collection,
    Ticket,
    TicketStatus,
    Transfer,
    User,
)
from ticketing.queries import as_text

log = structlog.get_logger(__name__)
collected = Counter("frontrow_collected_at_the_door_total", "Money taken at the door, in minor units.", ["currency"])
check_ins = Counter("frontrow_check_ins_total", "Codes held up at a gate, by outcome.", ["outcome"])

LATEST = 24 * 3600  # seconds after which nobody tells of a scan any more


class UnknownCode(Exception):
    """No ticket has it."""


class TicketVoid(Exception):
    """`reason`: passed_on (it has another code now) or refunded."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WrongSession(Exception):
    """`session`: the one it is for."""

    def __init__(self, session: uuid.UUID) -> None:
        super().__init__(str(session))
        self.session = session


@dataclasses.dataclass(eq=False)
class PaymentDue(Exception):
    """The ticket is to be paid for first: `amount`, in minor units of `currency`."""

    amount: int
    currency: str


class AlreadyUsed(Exception):
    """`used_at`, `gate`: when and where somebody came in with it."""

    def __init__(self, *, used_at: dt.datetime, gate: str) -> None:
        super().__init__(f"{used_at:%H:%M} {gate}")
        self.used_at = used_at
        self.gate = gate


def check_in(
    *,
    code: str,
    by: User,
    gate: str = "",
    session: uuid.UUID | None = None,
    scan: uuid.UUID | None = None,
    seconds_ago: int = 0,
    paid: bool = False,
) -> CheckIn:
    """Let in whoever holds up the ticket. `session`: the gate's, if it serves one; `scan`: told twice, it counts once.

    `paid`: what is due for it was taken into the hand.
    Raises: codes.NotACode, codes.BadSignature, UnknownCode, TicketVoid, WrongSession, PaymentDue, AlreadyUsed.
    """
    try:
        short = codes.read(code)
        ticket, made = _record(
            short, by=by, gate=gate, session=session, scan=scan, ago=dt.timedelta(seconds=seconds_ago), paid=paid
        )
    except (codes.NotACode, codes.BadSignature, UnknownCode) as error:
        check_ins.labels("forged" if isinstance(error, codes.BadSignature) else "unknown").inc()
        raise
    except PaymentDue:
        check_ins.labels("payment_due").inc()
        raise
    check_ins.labels(made.outcome).inc()
    match made.outcome:
        case CheckInOutcome.VOID:
            raise TicketVoid("refunded" if ticket.status == TicketStatus.VOID else "passed_on")
        case CheckInOutcome.WRONG_SESSION:
            raise WrongSession(ticket.session_id)
        case CheckInOutcome.ALREADY_USED:
            first = ticket.check_ins.get(outcome=CheckInOutcome.ADMITTED)
            raise AlreadyUsed(used_at=first.scanned_at, gate=first.gate)
    return made


@transaction.atomic(durable=True)
def _record(
    short: str,
    *,
    by: User,
    gate: str,
    session: uuid.UUID | None,
    scan: uuid.UUID | None,
    ago: dt.timedelta,
    paid: bool,
) -> tuple[Ticket, CheckIn]:
    """Raises: UnknownCode, PaymentDue."""
    ticket = _lock(short)
    told_before = ticket.check_ins.filter(pk=scan).first() if scan else None
    if told_before:
        return ticket, told_before
    made = CheckIn(ticket=ticket, gate=gate, by=by, scanned_at=db_now() - ago)
    if scan and not CheckIn.objects.filter(pk=scan).exists():
        made.pk = scan
    first = ticket.check_ins.filter(outcome=CheckInOutcome.ADMITTED).first()
    made.outcome = _judge(made, short=short, session=session, first=first)
    if made.outcome == CheckInOutcome.ADMITTED:
        if ticket.due:
            _collect(made, paid=paid)
        if first:
            CheckIn.objects.filter(pk=first.pk).update(outcome=CheckInOutcome.ALREADY_USED)
        ticket.status, ticket.used_at, ticket.used_gate = TicketStatus.USED, made.scanned_at, gate
        ticket.save(update_fields=["status", "used_at", "used_gate"])
    made.save(force_insert=True)
    _tell(made, first=first, late=bool(ago))
    return ticket, made


def _collect(made: CheckIn, *, paid: bool) -> None:
    """What is due for the ticket is in somebody's hand now. Raises: PaymentDue, if it isn't."""
    ticket = made.ticket
    sale, amount = ticket.sale, ticket.due
    if not paid:
        raise PaymentDue(amount, sale.currency)
    Collection.objects.create(ticket=ticket, amount=amount, by=made.by, gate=made.gate, collected_at=made.scanned_at)
    ticket.due = 0
    ticket.save(update_fields=["due"])
    taken = Posting(
        debit=Account.CASH, credit=Account.DUE, amount=amount, currency=sale.currency, payment=sale.payment_id
    )
    ledger.post([taken])
    operations.close_if_paid(sale)
    facts = {"ticket": str(ticket.pk), "amount": amount, "currency": sale.currency, "gate": made.gate}
    events.record(event="ticket.paid", session=ticket.session_id, buyer=ticket.owner, facts=facts)
    collected.labels(sale.currency).inc(amount)


def _lock(short: str) -> Ticket:
    """By the code it has, or had before it was passed on; if it is to be paid for, its sale first, as a refund does.

    Raises: UnknownCode.
    """
    has_it = Ticket.objects.filter(code=short).values_list("pk", "due", "sale").first()
    had_it = Transfer.objects.filter(code=short).values_list("ticket", "ticket__due", "ticket__sale")
    found = has_it or had_it.first()
    if found is None:
        raise UnknownCode
    named, due, sale = found
    if due:
        locks.lock_sale(sale)
    rows = Ticket.objects.select_related("sale", "seat", "ticket_type", "session__show")
    return locks.lock_ticket(rows, named)


def _judge(made: CheckIn, *, short: str, session: uuid.UUID | None, first: CheckIn | None) -> CheckInOutcome:
    """See Note [Scans that come late]; a code that was passed on later was good when it was scanned."""
    ticket = made.ticket
    if session and session != ticket.session_id:
        return CheckInOutcome.WRONG_SESSION
    if ticket.status == TicketStatus.VOID:
        return CheckInOutcome.VOID
    if short != ticket.code and ticket.transfers.filter(code=short, passed_at__lte=made.scanned_at).exists():
        return CheckInOutcome.VOID
    if first and first.scanned_at <= made.scanned_at:
        return CheckInOutcome.ALREADY_USED
    return CheckInOutcome.ADMITTED


def _tell(made: CheckIn, *, first: CheckIn | None, late: bool) -> None:
    ticket = made.ticket
    admitted = made.outcome == CheckInOutcome.ADMITTED
    facts: dict[str, Any] = {"ticket": str(ticket.pk), "check_in": str(made.pk), "outcome": made.outcome}
    facts |= {"seat": ticket.seat.label if ticket.seat else None, **_when_and_where(made)}
    rows = [("ticket.checked_in" if admitted else "ticket.refused", facts)]
    if first and late and (admitted or made.outcome == CheckInOutcome.ALREADY_USED):
        one, two = sorted([first, made], key=lambda scan: scan.scanned_at)
        twice = {"ticket": facts["ticket"], "first": _when_and_where(one), "second": _when_and_where(two)}
        rows.append(("ticket.let_in_twice", twice))
        log.warning("ticket.let_in_twice", ticket=facts["ticket"])
    if late and first is None and _was_refunded_since(made):
        rows.append(("ticket.let_in_and_refunded", {**facts, "refund": str(ticket.refund_id)}))
        log.warning("ticket.let_in_and_refunded", ticket=facts["ticket"])
    events.record_many(
        [events.NewEvent(event=name, session=ticket.session_id, buyer=ticket.owner, facts=told) for name, told in rows]
    )


def _was_refunded_since(made: CheckIn) -> bool:
    """Whether the ticket was good when a gate without a connection scanned it."""
    refund = made.ticket.refund
    return made.outcome == CheckInOutcome.VOID and refund is not None and refund.asked_at > made.scanned_at


def _when_and_where(made: CheckIn) -> dict[str, str]:
    return {"scanned_at": as_text(made.scanned_at), "gate": made.gate}
