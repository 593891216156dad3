"""Check tickets in at the doors: a ticket admits one person, once.

The first scan wins, whenever the server learns of it.

Note [Scans that come late]
A gate without a connection judges codes itself and reports its scans later, each with its age. Both times are from the
gate's own clock, so that clock may be wrong. Every scan is judged by what was true when it was made. If a scan was made
before the known one, it takes the known one's place. The later one becomes the second, and the log has
`ticket.let_in_twice`. A ticket that was refunded since then was valid at the scan: its bearer came in, and that is
recorded. The ticket stays void, the log has `ticket.let_in_and_refunded`, and `manage.py audit` names it
(`let_in_and_paid_back`), because the house lost the money.

Note [When doors are open]
A ticket is accepted from DOORS_OPEN_MINUTES before its session's start until its end. `anyway` accepts it at another
time, and the log says so. No option opens the gate of a session that was called off.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping

import structlog
from django.conf import settings
from django.db import transaction
from prometheus_client import Counter

from base.clock import db_now, rfc3339
from realtime import events
from sessions_app.models import Session
from ticketing import codes, sale_locks, voiding
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
from ticketing.payments import ledger, selling
from ticketing.payments.ledger import Posting
from ticketing.refusals import (
    AlreadyUsed,
    ForgedCode,
    NotYet,
    OtherSession,
    PaymentDue,
    SessionCancelled,
    TicketVoid,
    TooLate,
    UnknownCode,
)
from ticketing.voiding import Void, VoidReason

log = structlog.get_logger(__name__)
collected = Counter("frontrow_collected_at_the_door_total", "Money taken at the door, in minor units.", ["currency"])
check_ins = Counter("frontrow_check_ins_total", "Codes scanned at a gate, by outcome.", ["outcome"])

CLOSED = frozenset({CheckInOutcome.NOT_YET, CheckInOutcome.TOO_LATE})
LATEST = 31 * 24 * 3600  # seconds; older scans are refused, but a phone may lie in a drawer for weeks


def check_in(
    *,
    code: str,
    by: User,
    gate: str = "",
    session: uuid.UUID | None = None,
    scan: uuid.UUID | None = None,
    seconds_ago: int = 0,
    paid: bool = False,
    anyway: bool = False,
) -> CheckIn:
    """Check in the bearer of the ticket. `session` is the gate's, if it serves one. A repeated `scan` counts once.

    `paid` says that the gate has collected the amount due. `anyway` admits outside of opening hours.
    See Note [When doors are open].
    Raises: UnknownCode, ForgedCode, TicketVoid, OtherSession, SessionCancelled, NotYet, TooLate, PaymentDue,
    AlreadyUsed.
    """
    ago = dt.timedelta(seconds=seconds_ago)
    try:
        short = codes.read(code)
        ticket, made = _record(short, by=by, gate=gate, session=session, scan=scan, ago=ago, paid=paid, anyway=anyway)
    except (UnknownCode, ForgedCode) as error:
        check_ins.labels("forged" if isinstance(error, ForgedCode) else "unknown").inc()
        raise
    except PaymentDue:
        check_ins.labels("payment_due").inc()
        raise
    check_ins.labels(made.outcome).inc()
    if made.outcome != CheckInOutcome.ADMITTED:
        raise _refusal(ticket, made, short)
    return made


def _refusal(ticket: Ticket, made: CheckIn, short: str) -> Exception:
    session = ticket.session
    match made.outcome:
        case CheckInOutcome.OTHER_SESSION:
            return OtherSession(session.pk)
        case CheckInOutcome.SESSION_CANCELLED:
            return SessionCancelled(session.cancelled_at or made.scanned_at)
        case CheckInOutcome.NOT_YET:
            return NotYet(opens_at=opens_at(session), starts_at=session.starts_at)
        case CheckInOutcome.TOO_LATE:
            return TooLate(session.ends_at)
        case CheckInOutcome.ALREADY_USED:
            first = ticket.check_ins.get(outcome=CheckInOutcome.ADMITTED)
            return AlreadyUsed(used_at=first.scanned_at, gate=first.gate)
    if ticket.status == TicketStatus.VOID:
        return TicketVoid(voiding.of_ticket(ticket))
    passed = ticket.transfers.filter(code=short).first()
    return TicketVoid(Void(VoidReason.PASSED_ON, passed.passed_at if passed else made.scanned_at))


def opens_at(session: Session) -> dt.datetime:
    """Return when the doors open for tickets of this session."""
    return session.starts_at - dt.timedelta(minutes=settings.DOORS_OPEN_MINUTES)


def displaced_by(made: CheckIn) -> CheckIn | None:
    """Return the scan that counted until this earlier one was reported: two people came in with one ticket."""
    told_before = made.ticket.check_ins.filter(outcome=CheckInOutcome.ALREADY_USED, recorded_at__lt=made.recorded_at)
    return told_before.order_by("scanned_at").first()


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
    anyway: bool,
) -> tuple[Ticket, CheckIn]:
    """Record a scan of this code, once. Raises: UnknownCode, PaymentDue."""
    ticket = _lock(short)
    told_before = ticket.check_ins.filter(pk=scan).first() if scan else None
    if told_before:
        return ticket, told_before
    made = CheckIn(ticket=ticket, gate=gate, by=by, scanned_at=db_now() - ago)
    if scan and not CheckIn.objects.filter(pk=scan).exists():
        made.pk = scan
    first = ticket.check_ins.filter(outcome=CheckInOutcome.ADMITTED).first()
    made.outcome = _judge(made, short=short, session=session, first=first)
    is_open = made.outcome not in CLOSED
    if anyway and not is_open:
        made.outcome = CheckInOutcome.ADMITTED
    if made.outcome == CheckInOutcome.ADMITTED:
        if ticket.due:
            _collect(made, paid=paid)
        if first:
            CheckIn.objects.filter(pk=first.pk).update(outcome=CheckInOutcome.ALREADY_USED)
        if ticket.status == TicketStatus.VALID:
            ticket.status = TicketStatus.USED
        ticket.used_at, ticket.used_gate = made.scanned_at, gate
        ticket.save(update_fields=["status", "used_at", "used_gate"])
    made.save(force_insert=True)
    _tell(made, first=first, late=bool(ago), more={} if is_open else {"anyway": anyway})
    return ticket, made


def _collect(made: CheckIn, *, paid: bool) -> None:
    """Record that the gate collected the amount due. Raises: PaymentDue, if it was not paid."""
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
    selling.close_if_paid(sale)
    facts = {"ticket": str(ticket.pk), "amount": amount, "currency": sale.currency, "gate": made.gate}
    events.record(event="ticket.paid", session=ticket.session_id, buyer=ticket.owner, facts=facts)
    collected.labels(sale.currency).inc(amount)


def _lock(short: str) -> Ticket:
    """Lock the ticket by its present or earlier code; if it has to be paid, lock its sale first, as a refund does.

    Raises: UnknownCode.
    """
    has_it = Ticket.objects.filter(code=short).values_list("pk", "due", "sale").first()
    had_it = Transfer.objects.filter(code=short).values_list("ticket", "ticket__due", "ticket__sale")
    found = has_it or had_it.first()
    if found is None:
        raise UnknownCode
    named, due, sale = found
    if due:
        sale_locks.lock_sale(sale)
    rows = Ticket.objects.select_related("sale", "seat", "ticket_type", "session__show")
    return sale_locks.lock_ticket(rows, named)


def _judge(made: CheckIn, *, short: str, session: uuid.UUID | None, first: CheckIn | None) -> CheckInOutcome:
    """Judge a scan by its time: a code that was transferred or refunded later was valid. See the Notes above."""
    ticket, at = made.ticket, made.scanned_at
    if session and session != ticket.session_id:
        return CheckInOutcome.OTHER_SESSION
    if ticket.session.cancelled_at and ticket.session.cancelled_at <= at:
        return CheckInOutcome.SESSION_CANCELLED
    if ticket.status == TicketStatus.VOID and not _was_given_back_after(made):
        return CheckInOutcome.VOID
    if short != ticket.code and ticket.transfers.filter(code=short, passed_at__lte=at).exists():
        return CheckInOutcome.VOID
    if first and first.scanned_at <= at:
        return CheckInOutcome.ALREADY_USED
    if at < opens_at(ticket.session):
        return CheckInOutcome.NOT_YET
    return CheckInOutcome.TOO_LATE if at >= ticket.session.ends_at else CheckInOutcome.ADMITTED


def _tell(made: CheckIn, *, first: CheckIn | None, late: bool, more: Mapping[str, object]) -> None:
    ticket = made.ticket
    admitted = made.outcome == CheckInOutcome.ADMITTED
    facts: dict[str, object] = {"ticket": str(ticket.pk), "check_in": str(made.pk), "outcome": made.outcome}
    facts |= {"seat": ticket.seat.label if ticket.seat else None, **_when_and_where(made), **more}
    rows = [("ticket.checked_in" if admitted else "ticket.refused", facts)]
    if first and late and (admitted or made.outcome == CheckInOutcome.ALREADY_USED):
        one, two = sorted([first, made], key=lambda scan: scan.scanned_at)
        twice = {"ticket": facts["ticket"], "first": _when_and_where(one), "second": _when_and_where(two)}
        rows.append(("ticket.let_in_twice", twice))
        log.warning("ticket.let_in_twice", ticket=facts["ticket"])
    if admitted and first is None and _was_given_back_after(made):
        rows.append(("ticket.let_in_and_refunded", {**facts, "refund": str(ticket.refund_id)}))
        log.warning("ticket.let_in_and_refunded", ticket=facts["ticket"])
    events.record_many(
        [events.NewEvent(event=name, session=ticket.session_id, buyer=ticket.owner, facts=told) for name, told in rows]
    )


def _was_given_back_after(made: CheckIn) -> bool:
    """Tell whether the ticket was valid when an offline gate scanned it, and void when the gate reported it."""
    refund = made.ticket.refund
    return refund is not None and refund.asked_at > made.scanned_at


def _when_and_where(made: CheckIn) -> dict[str, str]:
    return {"scanned_at": rfc3339(made.scanned_at), "gate": made.gate}
