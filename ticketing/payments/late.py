"""Return money, or use money that comes late.

Note [Money that comes late]
A gateway may charge after we gave it up, because it was silent or told us only later by a webhook. Then the buyer gets
the same places as a new reservation, if they are still free; never others without being asked. Otherwise the money goes
back, and the buyer gets a letter.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping

import structlog
from django.db import transaction

from reservations import refusals
from reservations.allocation import changes, endings, locks
from reservations.models import LIVE, Status
from reservations.operations.queued import announce
from ticketing.faults import reach
from ticketing.models import Account, Payment, PaymentStatus, Ticket
from ticketing.payments import ledger, selling, steps
from ticketing.payments.gateways import Standing
from ticketing.payments.ledger import Posting
from ticketing.queries import sale_body

log = structlog.get_logger(__name__)

ASKED_AGAIN_AFTER = dt.timedelta(minutes=1)


ASKED_AGAIN_FOR = dt.timedelta(days=1)  # after that we rely on its webhook


def give_back(payment: Payment) -> None:
    """Void an authorisation, or refund the money if it was captured."""
    standing = (
        steps.ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt))
        if payment.amount
        else Standing("voided")
    )
    if standing.state == "authorised":
        standing = steps.ask_gateway(payment, lambda gateway, attempt: gateway.void(attempt))
    if standing.state == "captured":
        steps.ask_gateway(
            payment, lambda gateway, attempt: gateway.refund(attempt, refund=payment.pk, amount=payment.amount)
        )
    if standing.state == "pending":
        return
    reach("payment.given_back")
    _note_return(payment_id=payment.pk, standing=standing)
    payment.refresh_from_db()


@transaction.atomic(durable=True)
def _note_return(*, payment_id: uuid.UUID, standing: Standing) -> None:
    for locked, payment in selling.lock_all([payment_id]):
        if payment.status != PaymentStatus.RETURNING:
            return
        payment.status = PaymentStatus.RETURNED if standing.state == "captured" else PaymentStatus.VOIDED
        steps.write([payment])
        if standing.state == "captured":
            back = Posting(
                debit=Account.OWED,
                credit=Account.GATEWAY,
                amount=payment.amount,
                currency=payment.currency,
                payment=payment.pk,
            )
            parts = {Account.OWED: payment.amount}
            taken = steps.of_capture(payment.pk, parts, payment.currency, into=Account.GATEWAY, fee=standing.fee)
            ledger.post([*taken, back])
        locked.news.fact("payment.returned", reservation=locked.reservation, facts=facts_of_return(payment))
        announce(locked.news)
        steps.payments.labels(payment.status).inc()


def facts_of_return(payment: Payment) -> Mapping[str, object]:
    return {
        "payment": str(payment.pk),
        "amount": payment.amount,
        "currency": payment.currency,
        "reason": payment.reason,
    }


def ask_after_all(payment: Payment) -> None:
    """Ask the gateway again about an attempt that was given up without its answer.

    A mere authorisation is voided: the buyer was told that nothing is charged, and this question may have caused it
    (Stripe).
    """
    steps.touch(payment.pk)
    standing = steps.ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt))
    if standing.state in {"unknown", "authorised"}:
        standing = steps.ask_gateway(payment, lambda gateway, attempt: gateway.void(attempt))
    take_notice(payment_id=payment.pk, standing=standing)
    payment.refresh_from_db()


def standing_of(payment: Payment) -> Standing:
    """Return the gateway's present state. Raises: GatewayTimeout, GatewayUnavailable, BreakerOpen."""
    return steps.ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt))


@transaction.atomic(durable=True)
def take_notice(*, payment_id: uuid.UUID, standing: Standing, unless: Callable[[], bool] = lambda: False) -> None:
    """Apply what the gateway says about an attempt, in the transaction in which `unless` says that this is still new.

    `finish_payment` does the rest. Repeated, late and reordered calls are safe.
    """
    for locked, payment in selling.lock_all([payment_id]):
        if unless():
            return
        given_up = payment.status in {PaymentStatus.DECLINED, PaymentStatus.FAILED, PaymentStatus.VOIDED}
        if given_up and standing.has_money:
            _take_late(locked, payment, standing)
        elif given_up and payment.reason == steps.SILENT and standing.state in {"declined", "voided"}:
            payment.reason = standing.reason or standing.state
            steps.write([payment])
        announce(locked.news)


def _take_late(locked: locks.Locked, payment: Payment, standing: Standing) -> None:
    """Use or return late money. See Note [Money that comes late]."""
    payment.reference = standing.reference or payment.reference
    reservation = locked.reservation
    log.warning("payment.late", payment=str(payment.pk), reservation=reservation.status)
    paid_otherwise = reservation.status in LIVE and reservation.status != Status.HELD
    if reservation.status == Status.HELD and not reservation.is_over_at(locked.now):
        selling.write_sales([(locked, payment)])
    elif paid_otherwise or not _sell_again(locked, payment):
        payment.reason = "too_late"
        selling.lose(locked, payment)


def _sell_again(lost: locks.Locked, payment: Payment) -> bool:
    if lost.reservation.status == Status.HELD:  # it expired, and no sweep has run since
        endings.free(lost, status=Status.EXPIRED, reason=refusals.ReservationExpired.reason)
    sale = selling.sale_of(lost.reservation, payment)
    found = changes.sell_again(lost, sale=sale.pk)
    if found is None:
        return False
    again, seats = found
    sale.reservation, sale.sold_at, (sale.number,) = again, lost.now, selling.next_numbers(1)
    sale.save(force_insert=True)
    tickets = Ticket.objects.bulk_create(selling.tickets_of(sale, seats, selling.notes_of([sale])))
    payment.status, payment.reason, payment.reservation = PaymentStatus.AUTHORISED, "", again
    steps.write([payment])
    lost.news.fact(
        "payment.late",
        reservation=lost.reservation,
        facts={"payment": str(payment.pk), "again": str(again.pk), "sale": str(sale.pk)},
    )
    lost.news.sold(again, sale=sale_body(sale, tickets=tickets))
    return True
