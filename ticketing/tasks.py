"""Doorbells: what Celery rings; the work is in `operations.py`."""

from __future__ import annotations

import uuid
from typing import Any

from celery import shared_task

from ticketing import operations


@shared_task(acks_late=True, ignore_result=True)
def settle_payment(*, payment: str, reply_to: str = "", **_newer: Any) -> None:
    operations.settle_payment(payment_id=uuid.UUID(payment), reply_to=reply_to)


@shared_task(acks_late=True, ignore_result=True)
def sweep_payments(**_newer: Any) -> None:
    operations.sweep_payments()
