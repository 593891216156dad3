"""Define the tasks that Celery runs; the work is in `payments/` and `orders/`."""

from __future__ import annotations

import uuid
from typing import Any

from celery import shared_task

from base import causes
from base.causes import Cause
from ticketing.orders import orders as held
from ticketing.payments import bells, collecting, refunds, steps, sweeping, webhooks


# Messages of older processes carry these two names.
@shared_task(name="ticketing.tasks.settle_payment", acks_late=True, ignore_result=True)
def finish_payment(*, payment: str, reply_to: str = "", **_newer: Any) -> None:
    steps.finish_payment(payment_id=uuid.UUID(payment), reply_to=reply_to)


@shared_task(name="ticketing.tasks.settle_payments", acks_late=True, ignore_result=True)
def finish_payments(*, payments: list[tuple[str, str]], **_newer: Any) -> None:
    steps.finish_payments([(uuid.UUID(payment), reply_to) for payment, reply_to in payments])


@shared_task(acks_late=True, ignore_result=True)
def pay_orders(*, orders: list[tuple[str, str]], **_newer: Any) -> None:
    held.pay([(uuid.UUID(order), reply_to) for order, reply_to in orders])


@shared_task(acks_late=True, ignore_result=True)
def pay_back(*, refund: str, **_newer: Any) -> None:
    refunds.pay_back(refund_id=uuid.UUID(refund))


@shared_task(acks_late=True, ignore_result=True)
def refund_everybody(*, session: str, cause: str = "", actor: str | None = None, **_newer: Any) -> None:
    with causes.working_for(Cause(cause, uuid.UUID(actor) if actor else None)):
        refunds.refund_everybody(session_id=uuid.UUID(session), each=lambda refund: bells.ring_refund(refund.pk))


@shared_task(acks_late=True, ignore_result=True)
def sweep_payments(**_newer: Any) -> None:
    webhooks.deliver_sandbox()
    sweeping.sweep_payments()
    held.sweep()
    refunds.sweep_refunds()


@shared_task(acks_late=True, ignore_result=True)
def give_uncollected_back(**_newer: Any) -> None:
    collecting.give_uncollected_back()


@shared_task(acks_late=True, ignore_result=True)
@causes.working_for(causes.job("resume_refunds"))
def resume_refunds(**_newer: Any) -> None:
    for session in refunds.left_to_refund():
        bells.ring_called_off(session)
