"""Refund money: promise it in the transaction that frees the places, pay it back outside, then post it.

Note [Called off]
When a session is called off, every buyer gets the money back. The remaining work is read from the tables: live holds,
valid tickets, open refunds. So it may stop at any moment and start again, and starting twice is safe.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import uuid
from collections.abc import Callable, Collection, Sequence

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from prometheus_client import Counter

from base import causes
from base.causes import Cause
from base.clock import db_now
from realtime import events
from reservations.allocation import endings, locks
from reservations.allocation.announcements import Announcements
from reservations.operations.queued import announce
from reservations.refusals import PaymentInProgress
from sessions_app import operations as catalogue
from sessions_app.models import Session
from ticketing import sale_locks
from ticketing.faults import reach
from ticketing.models import (
    Account,
    PaymentStatus,
    Refund,
    RefundStatus,
    Sale,
    Ticket,
    TicketStatus,
)
from ticketing.payments import ledger, selling, steps, sweeping
from ticketing.payments.gateways import RefundRefused, registry
from ticketing.payments.ledger import Posting
from ticketing.people import holders
from ticketing.queries import find_sale, sale_body
from ticketing.refusals import NothingToRefund, RefundClosed
from ticketing.voiding import SESSION_CANCELLED

log = structlog.get_logger(__name__)

HOLDS_AT_ONCE = 500
BOX_OFFICE = "box office"  # the default reason of staff's refunds
ended = Counter("frontrow_refunds_total", "Refunds that ended, by outcome.", ["outcome"])

_sweeping = threading.Lock()


# --- Promises


@transaction.atomic(durable=True)
def ask_refund(
    *,
    sale_id: uuid.UUID,
    buyer: uuid.UUID | None,
    tickets: Collection[uuid.UUID] | None = None,
    reason: str = "",
    asked_by: uuid.UUID | None = None,
) -> Refund:
    """Make these tickets, or all that are left, void, and promise their money. `pay_back` must follow.

    Without a buyer, staff act, at any time and for used tickets too.
    Raises: Sale.DoesNotExist, PaymentInProgress (not captured yet), RefundClosed, NothingToRefund.
    """
    owned = Sale.objects.filter(pk=sale_id)
    found = (owned.filter(buyer=buyer) if buyer else owned).get()
    locked, sale, tickets_of_sale = lock_all_of(found)
    if sale.payment.status not in {PaymentStatus.CAPTURED, PaymentStatus.DUE}:
        raise PaymentInProgress
    if buyer is not None:
        _require_open(locked.session, asked_at=locked.reservation.accepted_at, now=locked.now)
    chosen = _choose(tickets_of_sale, tickets, used_too=buyer is None)
    return promise(locked, sale, chosen, reason=reason, asked_by=asked_by or buyer)


def lock_all_of(sale: Sale) -> tuple[locks.Locked, Sale, list[Ticket]]:
    """Lock all that a refund may change, in the order of the Notes, and return reservation, sale and tickets."""
    locked = locks.lock_reservation(reservation_id=sale.reservation_id, buyer=None)
    endings.lock_places_of(locked)
    again = sale_locks.lock_sale(sale.pk)
    return locked, again, sale_locks.lock_tickets(again)


def promise(
    locked: locks.Locked, sale: Sale, chosen: Sequence[Ticket], *, reason: str, asked_by: uuid.UUID | None = None
) -> Refund:
    """Make these valid tickets of a locked sale void and promise their price, in the caller's transaction."""
    unpaid = [ticket for ticket in chosen if ticket.due]
    amount = sum(ticket.price for ticket in chosen if not ticket.due)
    why = causes.current()
    by_hand = amount > 0 and registry.is_handed_back(sale.payment.method)
    refund = Refund.objects.create(
        sale=sale,
        amount=amount,
        reason=reason,
        status=RefundStatus.TO_HAND_OUT if by_hand else RefundStatus.ASKED,
        asked_by=asked_by or why.actor,
        cause=why.id,
    )
    selling.give_places_back(locked, sale, chosen)
    Ticket.objects.filter(pk__in=[ticket.pk for ticket in chosen]).update(refund=refund)
    sale.refunded += amount
    sale.waived += sum(ticket.due for ticket in unpaid)
    sale.save(update_fields=["refunded", "waived"])
    ledger.post([*_promised(refund, [ticket for ticket in chosen if not ticket.due]), *_waived(sale, unpaid)])
    if unpaid:
        selling.close_if_paid(sale)
    facts = {**_facts(refund), "by_hand": by_hand, "tickets": [str(ticket.pk) for ticket in chosen]}
    locked.news.fact("sale.refunded", reservation=locked.reservation, facts=facts)
    locked.news.sold(locked.reservation, sale=sale_body(find_sale(sale.pk, buyer=None)))
    announce(locked.news)
    return refund


def refundable_until(session: Session, *, asked_at: dt.datetime) -> dt.datetime | None:
    """Return the deadline for refunds of what buyers asked for at that time; None: no refunds.

    Buyers who asked before the session was moved may get refunds for a while after the move, whenever they paid: at
    most until it starts, or until there was fair notice of an earlier start. See Note [Moved to an earlier time] in
    moving.py.
    """
    until = None
    if session.refund_minutes is not None:
        until = session.deadline(minutes=session.refund_minutes, asked_at=asked_at)
    if session.moved_at is None or asked_at > session.moved_at or not settings.MOVED_REFUND_HOURS:
        return until
    last = max(session.starts_at, session.notice_until(asked_at) or session.starts_at)
    opened = min(session.moved_at + dt.timedelta(hours=settings.MOVED_REFUND_HOURS), last)
    return opened if until is None else max(until, opened)


def _require_open(session: Session, *, asked_at: dt.datetime, now: dt.datetime) -> None:
    until = refundable_until(session, asked_at=asked_at)
    if session.cancelled_at is None and (until is None or until < now):
        raise RefundClosed(until)


def _choose(locked: Sequence[Ticket], tickets: Collection[uuid.UUID] | None, *, used_too: bool) -> list[Ticket]:
    given = {TicketStatus.VALID, TicketStatus.USED} if used_too else {TicketStatus.VALID}
    live = {
        ticket.pk: ticket
        for ticket in locked
        # a transferred ticket belongs to its receiver
        if ticket.status in given and (used_too or ticket.holder is None)
    }
    wanted = set(live if tickets is None else tickets)
    if not wanted or wanted - live.keys():
        raise NothingToRefund(sorted(wanted - live.keys()))
    return [live[ticket] for ticket in sorted(wanted)]


def _promised(refund: Refund, tickets: Sequence[Ticket]) -> list[Posting]:
    """Post the promised refund in the same parts as the payment."""
    parts = ledger.parts_of(tickets)
    parts[Account.REFUNDS] = parts.pop(Account.REVENUE)  # the ledger keeps what was earned
    return [posting(refund, amount=amount, debit=account, credit=Account.OWED) for account, amount in parts.items()]


def _waived(sale: Sale, tickets: Sequence[Ticket]) -> list[Posting]:
    """Post that these tickets will never be paid at the door."""
    parts = ledger.parts_of(tickets)
    parts[Account.REFUNDS] = parts.pop(Account.REVENUE)
    return [
        Posting(debit=account, credit=Account.DUE, amount=amount, currency=sale.currency, payment=sale.payment_id)
        for account, amount in parts.items()
    ]


def posting(refund: Refund, *, amount: int, debit: Account, credit: Account) -> Posting:
    return Posting(
        debit=debit,
        credit=credit,
        amount=amount,
        currency=refund.sale.currency,
        payment=refund.sale.payment_id,
        refund=refund.pk,
    )


def _facts(refund: Refund) -> dict[str, object]:
    return {
        "sale": str(refund.sale_id),
        "refund": str(refund.pk),
        "amount": refund.amount,
        "currency": refund.sale.currency,
        "reason": refund.reason or None,
    }


# --- Payments to buyers


def pay_back(*, refund_id: uuid.UUID) -> None:
    """Pay a refund back. It is safe to repeat. Without an answer of the gateway it stays open for the sweep."""
    refund = Refund.objects.select_related("sale__payment").get(pk=refund_id)
    if refund.status == RefundStatus.ASKED:
        with causes.working_for(causes.or_else(Cause(refund.cause, refund.asked_by))):
            _pay_back(refund)


def _pay_back(refund: Refund) -> None:
    reach("refund.asked")
    try:
        if refund.amount:
            steps.ask_gateway(
                refund.sale.payment,
                lambda gateway, attempt: gateway.refund(attempt, refund=refund.key, amount=refund.amount),
            )
    except RefundRefused as error:
        log.warning("refund.refused", refund=str(refund.pk), error=str(error))
        _note(refund.pk, RefundStatus.REFUSED)
    except steps.UNREACHABLE as error:
        log.warning("refund.left_to_the_sweep", refund=str(refund.pk), error=type(error).__name__)
    else:
        reach("refund.paid_back")
        _note(refund.pk, RefundStatus.PAID_BACK)
        log.info("refund.paid_back", refund=str(refund.pk))


@transaction.atomic(durable=True)
def _note(refund_id: uuid.UUID, status: RefundStatus) -> None:
    refund = lock(refund_id)
    if refund.status != RefundStatus.ASKED:
        return
    again = refund.refusals > 0
    refund.status, refund.changed_at = status, db_now()
    refund.refusals += status == RefundStatus.REFUSED
    refund.save(update_fields=["status", "changed_at", "refusals"])
    if status == RefundStatus.PAID_BACK:
        ledger.post([posting(refund, amount=refund.amount, debit=Account.OWED, credit=Account.GATEWAY)])
    tell(refund, again=again)
    ended.labels(status).inc()


def lock(refund_id: uuid.UUID) -> Refund:
    """Lock the refund. Raises: Refund.DoesNotExist."""
    rows = Refund.objects.select_related("sale__session__show", "handed_out_by")
    return rows.select_for_update(no_key=True, of=("self",)).get(pk=refund_id)


def tell(refund: Refund, **more: object) -> None:
    """Record the refund's present state as an event, in the caller's transaction."""
    events.record(
        event=f"refund.{refund.status}",
        session=refund.sale.session_id,
        buyer=refund.sale.buyer,
        facts={**_facts(refund), **more},
    )


def try_again(*, refund_id: uuid.UUID) -> bool:
    """Reopen a refund that the gateway refused, and tell whether it was refused. `pay_back` must follow."""
    refused = Refund.objects.filter(pk=refund_id, status=RefundStatus.REFUSED)
    return bool(refused.update(status=RefundStatus.ASKED, changed_at=Now()))


def leave_to_the_sweep(refund: uuid.UUID) -> None:
    """Let the next sweep pay it back, because no worker got a message about it."""
    Refund.objects.filter(pk=refund, status=RefundStatus.ASKED).update(changed_at=Now() - sweeping.SWEEP_AFTER)


def sweep_refunds(*, limit: int = 200) -> int:
    """Pay back refunds that no process works on, and return how many. Skip this while the process still sweeps."""
    if not _sweeping.acquire(blocking=False):
        return 0
    try:
        return _sweep_refunds(limit)
    finally:
        _sweeping.release()


def _sweep_refunds(limit: int) -> int:
    left = Refund.objects.filter(status=RefundStatus.ASKED, changed_at__lt=Now() - sweeping.SWEEP_AFTER)
    swept = list(left.order_by("changed_at").values_list("pk", flat=True)[:limit])
    for refund_id in swept:
        log.warning("refund.swept", refund=str(refund_id))
        pay_back(refund_id=refund_id)
    return len(swept)


# --- Called-off sessions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Count the sales of a called-off session. `to_hand_out` are those that buyers collect at the counter."""

    sales: int
    paid_back: int
    refused: int
    to_hand_out: int

    @property
    def is_over(self) -> bool:
        """Tell whether only people have something left to do."""
        return self.done == self.sales

    @property
    def done(self) -> int:
        return self.paid_back + self.refused + self.to_hand_out


@transaction.atomic
def call_off(*, session_id: uuid.UUID) -> Session:
    """Stop all sales of the session and write to its ticket holders; `refund_everybody` must follow.

    See Note [Called off].

    Raises: Session.DoesNotExist.
    """
    before = locks.lock_sessions([session_id]).get(session_id)
    session = catalogue.cancel_session(session_id=session_id, though_it_has_buyers=True)
    if before is not None and before.cancelled_at is None:
        holders.tell(session, "session_called_off")
    return session


def refund_everybody(*, session_id: uuid.UUID, each: Callable[[Refund], None]) -> int:
    """End the holds of a called-off session, promise every buyer the money back, and return how many were promised now.

    `each` makes sure that a refund is paid.
    """
    while _end_some_holds(session_id):
        pass
    promised = 0
    for sale_id in _with_live_tickets(session_id).values_list("pk", flat=True):
        try:
            refund = ask_refund(sale_id=sale_id, buyer=None, reason=SESSION_CANCELLED)
        except (PaymentInProgress, NothingToRefund):
            continue  # not captured yet, so the next round does it; or another process was faster
        each(refund)
        promised += 1
    return promised


def _with_live_tickets(session_id: uuid.UUID) -> QuerySet[Sale]:
    live = Ticket.objects.filter(sale=OuterRef("pk")).exclude(status=TicketStatus.VOID)
    return Sale.objects.filter(Exists(live), session=session_id).order_by("pk")


@transaction.atomic(durable=True)
def _end_some_holds(session_id: uuid.UUID) -> int:
    session = locks.lock_sessions([session_id])[session_id]
    news = Announcements(now=db_now())
    ended = endings.end_holds_in(session, news, limit=HOLDS_AT_ONCE)
    announce(news)
    return ended


def left_to_refund() -> list[uuid.UUID]:
    """Return called-off sessions that still have valid tickets."""
    live = Ticket.objects.filter(session=OuterRef("pk")).exclude(status=TicketStatus.VOID)
    return list(Session.objects.filter(Exists(live), cancelled_at__isnull=False).values_list("pk", flat=True))


def progress(session_id: uuid.UUID) -> Progress:
    """Count how far refunds are. A sale counts as paid back when all its promised refunds are."""
    sales = Sale.objects.filter(session=session_id)
    left = [
        Count("refunds", filter=Q(refunds__status=status))
        for status in (RefundStatus.ASKED, RefundStatus.REFUSED, RefundStatus.TO_HAND_OUT)
    ]
    live = Exists(Ticket.objects.filter(sale=OuterRef("pk")).exclude(status=TicketStatus.VOID))
    counted = sales.annotate(live=live, waiting=left[0], refused=left[1], to_hand_out=left[2])
    found = list(counted.values_list("live", "waiting", "refused", "to_hand_out"))
    finished = [(refused, to_hand_out) for live, waiting, refused, to_hand_out in found if not live and not waiting]
    return Progress(
        sales=len(found),
        paid_back=sum(not refused and not to_hand_out for refused, to_hand_out in finished),
        refused=sum(bool(refused) for refused, _to_hand_out in finished),
        to_hand_out=sum(bool(to_hand_out) and not refused for refused, to_hand_out in finished),
    )
