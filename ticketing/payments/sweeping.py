"""Continue payments that no process works on."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Collection, Iterable

import structlog
from django.db.models import QuerySet
from django.db.models.functions import Now

from ticketing.models import UNFINISHED, Payment, PaymentStatus
from ticketing.payments import late, steps

log = structlog.get_logger(__name__)

SWEEP_AFTER = dt.timedelta(seconds=15)  # longer than the gateway's deadlines, so no process works on it any more


SWEPT_AT_ONCE = 4  # fewer than the silences that open a gateway's breaker: each may end in one
_sweeping = threading.Lock()


def sweep_payments(*, limit: int = 200) -> int:
    """Continue attempts that no process works on, ask about unanswered ones, and return how many.

    It does nothing while this process still sweeps. It is called every few seconds, and a gateway that hangs would
    otherwise hold thread after thread.
    """
    if not _sweeping.acquire(blocking=False):
        return 0
    try:
        return _sweep_payments(limit)
    finally:
        _sweeping.release()


def leave_to_the_sweep(payments: Collection[uuid.UUID]) -> None:
    """Let the next sweep continue started attempts whose workers got no message, so none works on them."""
    Payment.objects.filter(pk__in=payments, status=PaymentStatus.STARTED).update(changed_at=Now() - SWEEP_AFTER)


def _sweep_payments(limit: int) -> int:
    left = Payment.objects.filter(status__in=UNFINISHED, changed_at__lt=Now() - SWEEP_AFTER)
    silent = Payment.objects.filter(
        status=PaymentStatus.FAILED,
        reason=steps.SILENT,
        changed_at__lt=Now() - late.ASKED_AGAIN_AFTER,
        started_at__gt=Now() - late.ASKED_AGAIN_FOR,
    )
    swept = [*_oldest(left, limit), *_oldest(silent, limit)]
    for first in range(0, len(swept), SWEPT_AT_ONCE):
        some = swept[first : first + SWEPT_AT_ONCE]
        log.warning("payments.swept", payments=[str(payment) for payment in some])
        steps.finish_side_by_side(some, then=lambda _payment: None)
    return len(swept)


def _oldest(rows: QuerySet[Payment], limit: int) -> Iterable[uuid.UUID]:
    return rows.order_by("changed_at").values_list("pk", flat=True)[:limit]
