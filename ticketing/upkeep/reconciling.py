"""Compare our ledger with the gateways' own books: what they took and gave back must be what we posted.

Note [Bounded reconciliation]
A gateway answers over the network, a page at a time. So the comparison reads its newest charges of a week, at most
`MOST`, and the `MOST` of our payments that changed last. It asks for our payments that are missing in its list one by
one. Changes within the last minute are left out, because their notice may still be on its way. A gateway that does not
answer is a finding, because what is not compared is not known.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import cast
from uuid import UUID

from django.conf import settings
from django.db.models import F, Max, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Greatest

from base.clock import db_now
from realtime.audit import Fault
from ticketing.models import Account, Payment, RefundStatus
from ticketing.payments import gateways
from ticketing.payments.gateways import GatewayTimeout, GatewayUnavailable, KeepsBooks, Record, registry
from ticketing.refusals import UnknownMethod

MOST = 500
WEEK = dt.timedelta(days=7)
ON_ITS_WAY = dt.timedelta(minutes=1)


def differences() -> Iterator[Fault]:
    """Yield the differences between our ledger and the gateways' books, for each payment or charge."""
    for method in registry.METHODS.values():
        is_used = method.name in settings.PAYMENT_METHODS or Payment.objects.filter(method=method.name).exists()
        if method.keeps_books and is_used:
            yield from _differences(method.name)


def _differences(method: str) -> Iterator[Fault]:
    try:
        books = cast(KeepsBooks, gateways.of(method))
    except UnknownMethod:
        yield {"gateway": method, "said": f"its SDK is not installed: uv sync --extra {method}"}
        return
    now = db_now()
    try:
        recent = {record.reference: record for record in books.recent_records(since=now - WEEK, most=MOST)}
        yield from _of_ours(method, books, recent, now=now)
    except (GatewayTimeout, GatewayUnavailable) as error:
        yield {"gateway": method, "said": f"no answer: {error}"}
        return
    yield from _of_theirs(method, recent, now=now)


def _of_ours(method: str, books: KeepsBooks, recent: dict[str, Record], *, now: dt.datetime) -> Iterator[Fault]:
    """Yield our payments that the gateway has otherwise or not at all."""
    moved = Greatest(F("changed_at"), Coalesce(Max("sale__refunds__changed_at"), F("changed_at")))
    rows = Payment.objects.filter(method=method).exclude(reference="").annotate(moved=moved)
    finished = rows.filter(moved__lt=now - ON_ITS_WAY).order_by("-moved")[:MOST]
    posted = _posted(Payment.objects.filter(pk__in=[payment.pk for payment in finished]))
    for payment in finished:
        record = recent.get(payment.reference) or books.record_of(payment.reference)
        kept = record.kept if record else 0
        if kept != posted.get(payment.pk, 0):
            yield {
                "payment": str(payment.pk),
                "status": payment.status,
                "posted": posted.get(payment.pk, 0),
                "at_the_gateway": kept if record else None,
            }


def _of_theirs(method: str, recent: dict[str, Record], *, now: dt.datetime) -> Iterator[Fault]:
    """Yield charges of the gateway for our attempts that match none of our payments."""
    charged = {record.attempt: record for record in recent.values() if record.attempt and record.kept}
    known = Payment.objects.filter(pk__in=charged, method=method)
    ours = set(known.filter(~Q(reference="") | Q(changed_at__gte=now - ON_ITS_WAY)).values_list("pk", flat=True))
    for attempt, record in charged.items():
        if attempt not in ours:
            yield {"charge": record.reference, "attempt": str(attempt), "posted": None, "at_the_gateway": record.kept}


def _posted(payments: QuerySet[Payment]) -> dict[UUID, int]:
    """Return how much of each payment is at the gateway, fee included. A refund by other means never passed it."""
    handed_out = Q(entries__refund__status=RefundStatus.HANDED_OUT)
    with_gateway = Q(entries__account__in=[Account.GATEWAY, Account.FEES]) & ~(
        handed_out & Q(entries__refund__isnull=False)
    )
    rows = payments.order_by().values_list("pk").annotate(kept=Sum("entries__amount", filter=with_gateway, default=0))
    return dict(rows)
