"""Hand out refunds at the counter.

Note [Money that no gateway sends back]
Payments in cash, on the house's own card terminal or at the door never passed a gateway. So their refunds start in the
state `to_hand_out`. A refund that a gateway refused joins them when staff decide so. Each is handed out once: the
operation locks the refund and records the person, the time and the means. The means says which account of the ledger
the money leaves.
"""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import structlog
from django.db import transaction

from base.clock import db_now
from ticketing.models import Account, HandedOutBy, Refund, RefundStatus, User
from ticketing.payments import ledger, refunds

log = structlog.get_logger(__name__)


class AlreadyHandedOut(Exception):
    """Refuse a second time. `at` and `by` say when and by whom; None as person means a deleted account."""

    def __init__(self, *, at: dt.datetime, by: User | None) -> None:
        super().__init__(f"{at:%Y-%m-%d %H:%M}")
        self.at = at
        self.by = by


class NotToHandOut(Exception):
    """Refuse: the refund is with the gateway, or the gateway has paid it back. `status` is the refund's."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@transaction.atomic(durable=True)
def hand_out(*, refund_id: UUID, by: User, means: HandedOutBy = HandedOutBy.CASH) -> Refund:
    """Record that the buyer has received the money.

    Raises: AlreadyHandedOut, NotToHandOut, Refund.DoesNotExist.
    """
    refund = refunds.lock(refund_id)
    if refund.handed_out_at is not None:
        raise AlreadyHandedOut(at=refund.handed_out_at, by=refund.handed_out_by)
    if refund.status != RefundStatus.TO_HAND_OUT:
        raise NotToHandOut(refund.status)
    refund.status = RefundStatus.HANDED_OUT
    refund.handed_out_at = refund.changed_at = db_now()
    refund.handed_out_by, refund.handed_out_in = by, means
    refund.save(update_fields=["status", "changed_at", "handed_out_at", "handed_out_by", "handed_out_in"])
    purse = Account.CASH if means == HandedOutBy.CASH else Account.GATEWAY
    ledger.post([refunds.posting(refund, amount=refund.amount, debit=Account.OWED, credit=purse)])
    refunds.tell(refund, means=str(means))
    refunds.ended.labels(refund.status).inc()
    log.info("refund.handed_out", refund=str(refund_id), means=str(means))
    return refund


@transaction.atomic(durable=True)
def hand_out_instead(*, refund_id: UUID) -> Refund:
    """Let the buyer collect at the counter what the gateway refused to send back. It is safe to repeat.

    Raises: NotToHandOut, Refund.DoesNotExist.
    """
    refund = refunds.lock(refund_id)
    if refund.status == RefundStatus.TO_HAND_OUT:
        return refund
    if refund.status != RefundStatus.REFUSED:
        raise NotToHandOut(refund.status)
    refund.status, refund.changed_at = RefundStatus.TO_HAND_OUT, db_now()
    refund.save(update_fields=["status", "changed_at"])
    refunds.tell(refund)
    return refund
