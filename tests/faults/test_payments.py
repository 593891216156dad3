"""Kill a process at each step of a payment and of a refund: each attempt ends as a sale or as money back."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import urllib.parse
import uuid

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from realtime.models import Event
from reservations.models import Reservation, Status
from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import SessionFactory
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.models import LedgerEntry, Payment, Refund, Sale, SandboxCharge
from ticketing.payments import refunds, starting, sweeping

pytestmark = [pytest.mark.fault, pytest.mark.django_db(transaction=True)]

HERE = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def die(*errands: str) -> None:
    """Run each in a process that is killed at its point."""
    url = urllib.parse.urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = os.environ | {"DATABASE_URL": url, "KEY_PREFIX": settings.KEY_PREFIX, "QUEUE": "in_process"}
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    died = subprocess.run(
        [sys.executable, "-m", "tests.faults.dying", *errands], cwd=HERE, env=environment, check=False
    )
    assert died.returncode == 0, "somebody survived"


def later() -> None:
    """Age the rows, so that the sweeps continue abandoned work and the audit expects an end."""
    past = timezone.now() - dt.timedelta(minutes=2)
    Payment.objects.update(changed_at=past)
    Refund.objects.update(changed_at=past)


def start(reservation: Reservation, token: str = "ok") -> Payment:
    return starting.start_payment(reservation_id=reservation.pk, buyer=reservation.buyer, method="fake", token=token)


def test_every_attempt_ends_whichever_process_is_killed_and_the_gateways_record_is_ours(hold: Hold) -> None:
    session, off = SessionFactory.create_batch(2, hold_seconds=600, max_hold_seconds=600)

    def held(seat: str, where: Session = session) -> Reservation:
        return hold(where, seat, buyer=uuid.uuid4())

    off, arena = SessionFactory.create(), SessionFactory.create()
    steps = ["payment.started", "payment.authorised", "payment.sold", "payment.captured"]
    paid = [start(held(f"A{number}")) for number, _step in enumerate(steps, 1)]
    crowd = [[start(held(f"{row}{number}", arena)) for row in "AB"] for number, _step in enumerate(steps, 1)]
    declined = [start(held(f"B{number}"), "declined") for number in (1, 2)]
    lost = [start(held(f"A{number}", off)) for number in (1, 2)]
    Session.objects.filter(pk=off.pk).update(cancelled_at=timezone.now())
    back = []
    for seat in ("C1", "C2"):
        sold = Sale.objects.get(payment=pay(held(seat)))
        back.append(refunds.ask_refund(sale_id=sold.pk, buyer=sold.buyer))
    die(
        *(f"{step}:finish:{payment.pk}" for step, payment in zip(steps, paid, strict=True)),
        *(f"{step}:together:{one.pk},{two.pk}" for step, (one, two) in zip(steps, crowd, strict=True)),
        *(f"{step}:finish:{payment.pk}" for step, payment in zip(steps[:2], declined, strict=True)),
        f"payment.authorised:finish:{lost[0].pk}",
        f"payment.given_back:finish:{lost[1].pk}",
        f"refund.asked:pay_back:{back[0].pk}",
        f"refund.paid_back:pay_back:{back[1].pk}",
    )
    in_between = dict(Payment.objects.values_list("pk", "status"))
    assert [in_between[payment.pk] for payment in paid] == ["started", "started", "authorised", "authorised"]
    assert [in_between[two.pk] for _one, two in crowd] == ["started", "started", "authorised", "authorised"]
    assert [in_between[payment.pk] for payment in lost] == ["started", "returning"]

    for _round in range(2):  # the second finds nothing to do
        later()
        sweeping.sweep_payments()
        refunds.sweep_refunds()
    later()
    ended = dict(Payment.objects.values_list("pk", "status"))
    assert [ended[payment.pk] for payment in paid] == ["captured"] * 4
    assert [ended[payment.pk] for some in crowd for payment in some] == ["captured"] * 8
    assert [ended[payment.pk] for payment in declined] == ["declined"] * 2
    assert [ended[payment.pk] for payment in lost] == ["voided"] * 2
    assert set(Refund.objects.values_list("status", flat=True)) == {"paid_back"}
    assert set(Reservation.objects.filter(payments__in=declined).values_list("status", flat=True)) == {Status.HELD}
    charges = SandboxCharge.objects.filter(status="captured").aggregate(taken=Sum("amount"), given=Sum("refunded"))
    assert charges == {"taken": 14 * 2500, "given": 2 * 2500}
    kept = LedgerEntry.objects.filter(account="gateway").aggregate(kept=Sum("amount"))["kept"]
    assert kept == 12 * 2500
    Event.objects.update(published_at=timezone.now())
    assert audit()["findings"] == []
