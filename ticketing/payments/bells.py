"""Send messages to payment workers, with a deadline on every step.

While the broker is away, the sweeps find the work.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from django.conf import settings

from base import causes
from reservations.queueing.queues import courier, jobs_queue
from ticketing.payments import refunds, steps, sweeping
from ticketing.payments.together import NotBegun, Together, Unfinished

log = structlog.get_logger(__name__)


def ring_payment(payment: uuid.UUID, *, reply_to: str = "") -> None:
    if settings.QUEUE == "in_process":
        steps.finish_payment(payment_id=payment, reply_to=reply_to)
        return
    try:
        _ring_together((str(payment), reply_to))
    except (NotBegun, Unfinished) as error:  # the payment has begun, which is enough
        log.warning("bell.left_to_the_sweep", task="settle_payments", error=repr(error))


def ring_refund(refund: uuid.UUID) -> None:
    if settings.QUEUE == "in_process":
        refunds.pay_back(refund_id=refund)
        return
    if not _ring("pay_back", refund=str(refund)):
        refunds.leave_to_the_sweep(refund)


def ring_called_off(session: uuid.UUID) -> None:
    if settings.QUEUE == "in_process":
        refunds.refund_everybody(session_id=session, each=lambda refund: ring_refund(refund.pk))
        return
    why = causes.current()
    _ring("refund_everybody", session=str(session), cause=why.id, actor=why.actor)


def _ring_all(payments: Sequence[tuple[str, str]]) -> list[Exception | None]:
    """Send one message for all payments that start at once, and wait for one confirmation."""
    if not _ring("settle_payments", payments=payments):
        sweeping.leave_to_the_sweep([uuid.UUID(payment) for payment, _reply_to in payments])
    return [None] * len(payments)


_ring_together = Together(_ring_all)


def _ring(task: str, **arguments: Any) -> bool:
    """Tell whether the broker confirmed the message. Without a confirmation it may still have it."""
    try:
        courier().send(f"ticketing.tasks.{task}", jobs_queue("payments"), **arguments)
    except Exception as error:  # noqa: BLE001 py-amqp has raised AttributeError
        log.warning("bell.left_to_the_sweep", task=task, error=repr(error))
        return False
    return True
