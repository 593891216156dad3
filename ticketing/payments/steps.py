"""Take a payment through its steps: authorise, sell, capture. This order charges nothing for a seat that is gone.

Note [The steps of a payment]
1. `start_payment` (`starting.py`), one transaction: the reservation is `paying` and its seats are pinned, once.
2. The gateway authorises, outside of any transaction.
3. One transaction sells the seats and writes sale and tickets (`selling.py`), or restores the hold. If the seats went
   another way, the money goes back.
4. The gateway captures, and that is recorded with its posting.
If a process dies in between, `sweep_payments` takes the attempt up again: each step may be repeated.

Note [Together]
Payments that many threads start, sell or record at once share one transaction. It locks sessions, reservations and
payments in the order of their ids, first all of one kind and then of the next. A thread that waits for the others keeps
no connection: there are few connections, and a batch would be no larger than their number. Payments of one message stay
together if the gateway answers several at once: one question instead of many threads.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now
from prometheus_client import Counter

from base import causes
from base.breaker import BreakerOpen
from base.causes import Cause
from base.clock import db_now
from base.rows import as_array, as_json, execute
from realtime import events
from realtime.events import NewEvent
from reservations.claims.claims import NoClaims
from reservations.models import Reservation
from reservations.queueing import replies
from ticketing.bodies import PaymentOutcome
from ticketing.faults import reach
from ticketing.models import Account, Payment, PaymentStatus
from ticketing.payments import gateways, late, ledger, selling
from ticketing.payments.gateways import (
    Attempt,
    Gateway,
    GatewayTimeout,
    GatewayUnavailable,
    SeveralAtOnce,
    Standing,
    registry,
)
from ticketing.payments.ledger import Posting
from ticketing.payments.together import Together
from ticketing.queries import sale_body, sales_of

log = structlog.get_logger(__name__)


AT_ONCE = 128  # payments that a process finishes side by side; most of them wait for a gateway
SILENT = "gateway_silent"  # given up without the gateway's answer
UNREACHABLE = (GatewayTimeout, GatewayUnavailable, BreakerOpen)


payments = Counter("frontrow_payments_total", "Payment attempts that ended, by outcome.", ["outcome"])


Answer = TypeVar("Answer")


WRITE = """
UPDATE ticketing_payment AS row
SET status = new.status, reason = new.reason, reference = new.reference, reservation_id = new.reservation_id,
    changed_at = clock_timestamp()
FROM jsonb_to_recordset(%s) AS new (id uuid, status text, reason text, reference text, reservation_id uuid)
WHERE row.id = new.id
"""
NOTE_CAPTURES = """
UPDATE ticketing_payment AS row SET status = 'captured', changed_at = clock_timestamp()
  FROM reservations_reservation AS owner
WHERE row.id = ANY(%s::uuid[]) AND row.status = 'authorised' AND owner.id = row.reservation_id
RETURNING row.id, row.method, row.amount, row.currency, owner.session_id, owner.buyer, row.cause, (
    SELECT ARRAY[coalesce(sum(ticket.fee), 0), coalesce(sum(ticket.tax), 0)]::bigint[] FROM ticketing_ticket AS ticket
    JOIN ticketing_sale AS sale ON sale.id = ticket.sale_id WHERE sale.payment_id = row.id
)
"""


class NotFinished(Exception):
    """Report that the reservation is not in the table, or belongs to another buyer."""


def finish_payment(*, payment_id: uuid.UUID, reply_to: str = "") -> None:
    """Finish an attempt: a sale, a restored hold, or returned money. It is safe to repeat.

    If the gateway cannot be reached, the attempt stays open for the sweep.
    """
    payment = Payment.objects.get(pk=payment_id)
    with causes.working_for(causes.or_else(Cause(payment.cause))):
        _finish(payment)
    _reply(payment_id, reply_to)


def _finish(payment: Payment) -> None:
    try:
        if payment.status == PaymentStatus.FAILED and payment.reason == SILENT:
            late.ask_after_all(payment)
        if payment.status == PaymentStatus.STARTED:
            _authorise_and_sell(payment)
        if payment.status == PaymentStatus.AUTHORISED:
            _capture(payment)
        if payment.status == PaymentStatus.RETURNING:
            late.give_back(payment)
    except UNREACHABLE as error:
        log.warning("payment.left_to_the_sweep", payment=str(payment.pk), error=type(error).__name__)
    else:
        log.info("payment.finished", payment=str(payment.pk), status=payment.status)


def finish_payments(payments: Sequence[tuple[uuid.UUID, str]]) -> None:
    """Finish several payments at once, each with its reply address. The sweep gets those that fail."""
    waiters = dict(payments)
    found = Payment.objects.in_bulk(list(waiters))
    done = finish_together([payment for payment in found.values() if payment.is_untouched])
    for payment in done:
        _reply(payment, waiters[payment])
    left = [payment for payment in found if payment not in done]
    finish_side_by_side(left, then=lambda payment: _reply(payment, waiters[payment]))


def finish_side_by_side(payments: Sequence[uuid.UUID], *, then: Callable[[uuid.UUID], None]) -> None:
    """Finish payments in parallel threads, and call `then` after each. The sweep gets those that fail."""
    connection.close()  # back to the pool, because the threads need it
    work = functools.partial(_finish_alone, then=then)
    list(_threads(os.getpid()).map(work, payments) if len(payments) > 1 else map(work, payments))


@functools.cache
def _threads(_pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="payments")


def _finish_alone(payment_id: uuid.UUID, *, then: Callable[[uuid.UUID], None]) -> None:
    try:
        finish_payment(payment_id=payment_id)
        then(payment_id)
    except Exception:
        log.exception("payment.left_to_the_sweep", payment=str(payment_id))
    finally:
        connection.close()  # back to the pool


def ask_gateway(payment: Payment, question: Callable[[Gateway, Attempt], Answer]) -> Answer:
    """Ask the gateway without an open transaction or connection.

    Raises: GatewayTimeout, GatewayUnavailable, BreakerOpen.
    """
    if not registry.METHODS[payment.method].is_in_database:  # the sandbox returns it when it waits
        connection.close()
    with gateways.breaker_of(payment.method):
        return question(gateways.of(payment.method), _attempt_at_gateway(payment))


def finish_together(some: Sequence[Payment]) -> set[uuid.UUID]:
    """Finish untouched attempts of gateways that answer several at once, and return those that are finished.

    Each step is one for all of them. Other attempts, and those that fail on the way, are left to `finish_payment`,
    which continues them.
    """
    plain = [payment for payment in some if _is_plain(payment)]
    try:
        return _finish_plain(plain) if plain else set()
    except Exception as error:  # noqa: BLE001 each is finished alone then, and says itself what is wrong
        log.warning("payments.not_together", payments=len(plain), error=repr(error))
        return set()


def _is_plain(payment: Payment) -> bool:
    if not payment.amount:
        return True
    gateway = gateways.several_at_once(payment.method)
    return gateway is not None and gateway.is_plain(_attempt_at_gateway(payment))


def _finish_plain(some: Sequence[Payment]) -> set[uuid.UUID]:
    """Take plain payments through Note [The steps of a payment]. Raises: UNREACHABLE, and PostgreSQL's errors."""
    reach("payment.started")
    standings = _ask_together(some, lambda gateway, attempts: gateway.authorise_all(attempts), free="authorised")
    reach("payment.authorised")
    paid = [
        selling.Authorised(payment=pk, reference=found.reference) for pk, found in standings.items() if found.has_money
    ]
    sold = {
        ask.payment for ask, now in zip(paid, selling.sell.all(paid), strict=True) if now == PaymentStatus.AUTHORISED
    }
    reach("payment.sold")
    some = [payment for payment in some if payment.pk in sold]
    standings = _ask_together(some, lambda gateway, attempts: gateway.capture_all(attempts), free="captured")
    reach("payment.captured")
    taken = [_Captured(payment=pk, fee=found.fee) for pk, found in standings.items() if found.state == "captured"]
    noted = _note_capture.all(taken)
    log.info("payments.finished", payments=len(taken), request_ids=sorted({row.cause for row in some if row.cause}))
    return {ask.payment for ask, error in zip(taken, noted, strict=True) if error is None}


def _ask_together(
    some: Sequence[Payment],
    question: Callable[[SeveralAtOnce, Sequence[Attempt]], list[Standing]],
    *,
    free: gateways.State,
) -> dict[uuid.UUID, Standing]:
    """Return the state of each attempt; `free` is that of payments without an amount. Raises: UNREACHABLE."""
    standings = {payment.pk: Standing(free) for payment in some if not payment.amount}
    by_method: dict[str, list[Attempt]] = defaultdict(list)
    for payment in some:
        if payment.amount:
            by_method[payment.method].append(_attempt_at_gateway(payment))
    for method, attempts in by_method.items():
        gateway = gateways.several_at_once(method)
        assert gateway is not None
        try:
            with gateways.breaker_of(method):
                answers = question(gateway, attempts)
        except GatewayTimeout:
            touch(*(attempt.id for attempt in attempts))
            raise
        standings |= zip((attempt.id for attempt in attempts), answers, strict=True)
    return standings


def _attempt_at_gateway(payment: Payment) -> Attempt:
    return Attempt(
        id=payment.pk,
        amount=payment.amount,
        currency=payment.currency,
        token=payment.token,
        reference=payment.reference,
    )


def _authorise_and_sell(payment: Payment) -> None:
    reach("payment.started")
    try:
        standing = _authorise(payment)
    except UNREACHABLE:
        if not _is_given_up(payment):
            raise
        standing = Standing("unknown", reason=SILENT)
    reach("payment.authorised")
    if standing.has_money:
        payment.status = selling.sell(selling.Authorised(payment=payment.pk, reference=standing.reference))
        payment.reference = standing.reference or payment.reference
        reach("payment.sold")
        return
    if standing.state == "pending" and not _is_given_up(payment):
        return
    selling.put_back(payment_id=payment.pk, standing=standing)
    payment.refresh_from_db()


def _authorise(payment: Payment) -> Standing:
    """Authorise. After a time-out, ask for the state, and make sure that an unknown attempt cannot come later.

    Raises: GatewayTimeout, if it says nothing at all; GatewayUnavailable, BreakerOpen, if nothing is known of an
    earlier try.
    """
    if not payment.amount:
        return Standing("authorised")
    first_try = payment.is_untouched
    try:
        return ask_gateway(payment, lambda gateway, attempt: gateway.authorise(attempt))
    except (GatewayUnavailable, BreakerOpen):
        if not first_try:
            raise
        return Standing("unknown")
    except GatewayTimeout:
        touch(payment.pk)
    standing = ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt))
    if standing.state != "unknown":
        return standing
    standing = ask_gateway(payment, lambda gateway, attempt: gateway.void(attempt))
    return dataclasses.replace(standing, reason="gateway_timeout") if not standing.has_money else standing


def touch(*payments: uuid.UUID) -> None:
    """Record that the gateway is asked again: from now on it may know these attempts."""
    Payment.objects.filter(pk__in=payments).update(changed_at=Now())


def _is_given_up(payment: Payment) -> bool:
    """Tell whether the payment has kept its seats as long as it may."""
    pinned = Reservation.objects.filter(pk=payment.reservation_id).values_list("pinned_until", flat=True).get()
    return pinned is None or pinned <= db_now()


def write(some: Sequence[Payment]) -> None:
    """Write the state of payments with one statement."""
    columns = ("id", "status", "reason", "reference", "reservation_id")
    execute(WRITE, as_json([{name: getattr(row, name) for name in columns} for row in some]))


def _capture(payment: Payment) -> None:
    """Capture the money of a sale. If the money is gone, undo the sale."""
    standing = (
        ask_gateway(payment, lambda gateway, attempt: gateway.capture(attempt))
        if payment.amount
        else Standing("captured")
    )
    reach("payment.captured")
    if standing.state == "captured":
        _note_capture(_Captured(payment=payment.pk, fee=standing.fee))
        payment.status = PaymentStatus.CAPTURED
    elif standing.state in {"voided", "declined"}:
        log.error("payment.not_captured", payment=str(payment.pk), state=standing.state)
        selling.unsell(payment_id=payment.pk)
    else:
        log.warning("payment.capture_later", payment=str(payment.pk), state=standing.state)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Captured:
    payment: uuid.UUID
    fee: int


@transaction.atomic(durable=True)
def _note_captures(asks: Sequence[_Captured]) -> list[Exception | None]:
    fees = {ask.payment: ask.fee for ask in asks}
    new: list[NewEvent] = []
    postings: list[Posting] = []
    for payment, method, amount, currency, session, buyer, cause, (booking, tax) in execute(
        NOTE_CAPTURES, as_array(sorted(fees))
    ):
        facts = {"payment": str(payment), "amount": amount, "currency": currency}
        why = Cause(cause, buyer)
        new.append(NewEvent(event="payment.captured", session=session, buyer=buyer, facts=facts, why=why))
        parts = ledger.split(amount, fees=booking, taxes=tax)
        postings += of_capture(payment, parts, currency, into=ledger.purse_of(method), fee=fees[payment])
    ledger.post(postings)
    events.record_many(new)
    payments.labels("captured").inc(len(new))
    return [None] * len(asks)


_note_capture = Together(_note_captures)


def of_capture(
    payment: uuid.UUID, parts: dict[Account, int], currency: str, *, into: Account, fee: int
) -> list[Posting]:
    """Return the postings of a capture. `parts` are its parts by account, `fee` is the gateway's fee."""
    taken = [
        Posting(debit=into, credit=credit, amount=amount, currency=currency, payment=payment)
        for credit, amount in parts.items()
    ]
    return [
        *taken,
        Posting(debit=Account.FEES, credit=Account.GATEWAY, amount=fee, currency=currency, payment=payment),
    ]


def _reply(payment_id: uuid.UUID, address: str) -> None:
    if not address:
        return
    try:
        replies.send({address: [(payment_id, payment_outcome(payment_id))]})
    except NoClaims as error:
        log.info("payment.reply_lost", error=repr(error.__cause__))


def payment_outcome(payment_id: uuid.UUID) -> PaymentOutcome:
    """Return `{"status", "reason", "sale": body or None}`."""
    payment = Payment.objects.get(pk=payment_id)
    sale = sales_of().filter(payment=payment).first()
    return {"status": payment.status, "reason": payment.reason, "sale": sale_body(sale) if sale else None}
