"""Show what was earned, refunded and is owed, by day and as CSV, from the ledger and compared with the sales."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from ticketing.models import Account, LedgerEntry, PaymentStatus, Sale
from ticketing.staff import takings
from ticketing.staff.glance import asked_day

LOOK = "ticketing.view_ledgerentry"
DAYS = 14
Sums = dict[str, int]  # by account, debits above zero


class _Echo:
    """Give each line back to csv, which writes to it."""

    def write(self, line: str) -> str:
        return line


@require_safe
def money_desk(request: HttpRequest) -> HttpResponse:
    last = _last_day(request)
    entries = _entries(last)
    days: dict[tuple[dt.date, str], Sums] = {}
    rows = (
        entries.annotate(day=TruncDate("posted_at"))
        .order_by("day", "currency")
        .values_list("day", "currency", "account")
    )
    for day, currency, account, amount in rows.annotate(sum=Sum("amount")):
        days.setdefault((day, currency), {})[account] = amount
    return render(
        request,
        "ticketing/desk/money.html",
        {
            **admin.site.each_context(request),
            "title": _("Money"),
            "content_title": _("Money"),
            "last": last,
            "today": timezone.localdate(),
            "earlier": last - dt.timedelta(days=DAYS),
            "later": last + dt.timedelta(days=DAYS),
            "days": [(day, currency, _line(sums)) for (day, currency), sums in sorted(days.items(), reverse=True)],
            "totals": _totals(),
        },
    )


@require_safe
def money_csv(request: HttpRequest) -> StreamingHttpResponse:
    """Export every entry of these days. Amounts are in minor units, debits above zero."""
    last = _last_day(request)
    writer = csv.writer(_Echo())
    head = ["entry", "posting", "posted_at", "account", "amount", "currency", "payment", "sale", "refund"]
    columns = (
        "id",
        "posting",
        "posted_at",
        "account",
        "amount",
        "currency",
        "payment_id",
        "payment__sale__number",
        "refund_id",
    )

    def lines() -> Iterator[str]:
        yield writer.writerow(head)
        for row in _entries(last).order_by("id").values_list(*columns).iterator(chunk_size=2_000):
            yield writer.writerow([value.isoformat() if isinstance(value, dt.datetime) else value for value in row])

    name = f"ledger-{last - dt.timedelta(days=DAYS - 1)}-{last}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return StreamingHttpResponse(lines(), content_type="text/csv", headers=headers)


def _last_day(request: HttpRequest) -> dt.date:
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    return asked_day(request, "last", timezone.localdate())


def _entries(last: dt.date) -> QuerySet[LedgerEntry]:
    start, end = takings.between(last - dt.timedelta(days=DAYS - 1), DAYS)
    return LedgerEntry.objects.filter(posted_at__gte=start, posted_at__lt=end)


def _line(sums: Sums) -> Sums:
    """Sum a day as people read it: earned, refunded, fees of gateways, remainder, and movements of the clearing.

    Booking fees and taxes exclude refunds. Taxes belong to the state, so the remainder excludes them.
    """
    earned, refunds, fees = -sums.get(Account.REVENUE, 0), sums.get(Account.REFUNDS, 0), sums.get(Account.FEES, 0)
    booking = -sums.get(Account.BOOKING, 0)
    return {
        "earned": earned,
        "booking": booking,
        "taxes": -sums.get(Account.TAXES, 0),
        "refunds": refunds,
        "fees": fees,
        "net": earned + booking - refunds - fees,
        "gateway": sums.get(Account.GATEWAY, 0),
        "cash": sums.get(Account.CASH, 0),
        "due": sums.get(Account.DUE, 0),
        "owed": -sums.get(Account.OWED, 0),
    }


def _totals() -> list[dict[str, object]]:
    """Sum all days by currency, next to the sum of the sales. `apart` is zero if both agree."""
    sums: dict[str, Sums] = {}
    entries = LedgerEntry.objects.order_by("currency").values_list("currency", "account")
    for currency, account, amount in entries.annotate(sum=Sum("amount")):
        sums.setdefault(currency, {})[account] = amount
    allocated = Sale.objects.filter(payment__status__in=[PaymentStatus.CAPTURED, PaymentStatus.DUE])
    by_currency = allocated.order_by("currency").values_list("currency")
    sold = dict(by_currency.annotate(kept=Sum(F("total") - F("refunded") - F("waived"))))
    found = []
    for currency in sorted({*sums, *sold}):
        line = _line(sums.get(currency, {}))
        kept = sold.get(currency, 0)
        posted = line["earned"] + line["booking"] + line["taxes"] - line["refunds"]
        found.append({"currency": currency, **line, "sales": kept, "apart": posted - kept})
    return found
