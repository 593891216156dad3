"""Tell a worker what to take up, with deadlines on every step. While the broker is away, the sweeps find it."""

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
    except (NotBegun, Unfinished) as error:  # the payment is begun, and that is what counts
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
    """One message, and one confirmation to wait for, for all that are started at once."""
    if not _ring("settle_payments", payments=payments):
        sweeping.leave_to_the_sweep([uuid.UUID(payment) for payment, _reply_to in payments])
    return [None] * len(payments)


_ring_together = Together(_ring_all)


def _ring(task: str, **arguments: Any) -> bool:
    """Tell whether the broker has the message; if not, it may have it all the same."""
    try:
        courier().send(f"ticketing.tasks.{task}", jobs_queue("payments"), **arguments)
    except Exception as error:  # noqa: BLE001 what is rung for is done; py-amqp has raised an AttributeError for a lost connection
        log.warning("bell.left_to_the_sweep", task=task, error=repr(error))
        return False
    return True
