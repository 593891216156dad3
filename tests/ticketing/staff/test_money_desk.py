"""Check the house's books by day: page and file agree with the ledger and the sales."""

from __future__ import annotations

import csv
import datetime as dt
import uuid
from collections import Counter

import pytest
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sessions_app.models import Session
from tests.conftest import Hold
from tests.ticketing.test_paying import pay
from ticketing.models import LedgerEntry, Payment, Sale
from ticketing.payments import refunds
from ticketing.staff import money_desk

pytestmark = pytest.mark.django_db(transaction=True)

DAY = dt.date(2026, 3, 14)


def post_at(payment: Payment, moment: dt.datetime, amount: int, account: str = "revenue") -> None:
    """Write a posting with another time, as the ledger stores it."""
    posting = uuid.uuid4()
    LedgerEntry.objects.bulk_create(
        LedgerEntry(posting=posting, account=name, amount=sign, currency="BRL", payment=payment, posted_at=moment)
        for name, sign in (("gateway", amount), (account, -amount))
    )


def rows(client: Client, last: dt.date) -> list[dict[str, str]]:
    answer = client.get(reverse("money-csv"), {"last": last.isoformat()})
    return list(csv.DictReader(b"".join(answer).decode().splitlines()))


def summed(rows: list[dict[str, str]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["account"]] += int(row["amount"])
    return sums


def test_a_days_lines_sum_to_the_ledger_and_to_what_was_sold(
    admin_client: Client, session: Session, hold: Hold
) -> None:
    for seat in ("A1", "A2", "A3"):
        pay(hold(session, seat, buyer=uuid.uuid4()))
    first = Sale.objects.earliest("id")
    refunds.pay_back(refund_id=refunds.ask_refund(sale_id=first.pk, buyer=first.buyer).pk)
    last = Sale.objects.latest("id")
    refunds.ask_refund(sale_id=last.pk, buyer=last.buyer)  # not paid back yet

    today = timezone.localdate()
    found = rows(admin_client, today)
    ledger = LedgerEntry.objects.order_by("account").values_list("account").annotate(sum=Sum("amount"))
    assert summed(found) == Counter(dict(ledger))
    assert summed(found) == {"gateway": 5000, "revenue": -7500, "refunds": 5000, "owed": -2500}
    sold = Sale.objects.aggregate(kept=Sum("total") - Sum("refunded"))["kept"]
    assert -summed(found)["revenue"] - summed(found)["refunds"] == sold
    assert {int(row["sale"]) for row in found} == set(Sale.objects.values_list("number", flat=True))
    by_posting: Counter[str] = Counter()
    for row in found:
        by_posting[row["posting"]] += int(row["amount"])
    assert set(by_posting.values()) == {0}


def test_days_are_those_of_the_house_and_no_line_is_left_out_or_in_two_files(
    admin_client: Client, session: Session, hold: Hold
) -> None:
    payment = pay(hold(session, "A1", buyer=uuid.uuid4()))
    zone = timezone.get_current_timezone()
    midnight = dt.datetime.combine(DAY, dt.time.min, zone)
    for moment, amount in (
        (midnight - dt.timedelta(microseconds=1), 100),
        (midnight, 20),
        (midnight + dt.timedelta(days=1, microseconds=-1), 3),
        (midnight + dt.timedelta(days=1), 4000),
    ):
        post_at(payment, moment, amount)
    page = admin_client.get(reverse("money-desk"), {"last": DAY.isoformat()})
    days = {day: line["earned"] for day, _currency, line in page.context["days"]}
    assert days == {DAY - dt.timedelta(days=1): 100, DAY: 23}
    assert summed(rows(admin_client, DAY))["revenue"] == -123

    files = [DAY + dt.timedelta(days=money_desk.DAYS * n) for n in range(3)]
    numbers = [row["entry"] for last in files for row in rows(admin_client, last)]
    assert len(numbers) == len(set(numbers)) == 8
