"""What gateways tell us by themselves. A webhook is a doorbell: its effect is what the gateway answers when it is asked.

So the order in which they come says nothing, and what one claims is never believed without asking. Each has its effect once: its
id is written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import structlog

from base.rows import execute
from ticketing.models import UNFINISHED, Payment
from ticketing.payments import gateways, late, steps
from ticketing.payments.gateways import Notice, fake

NOTE = """
INSERT INTO ticketing_webhookevent (gateway, event, kind, received_at)
VALUES (%s, left(%s, 120), left(%s, 60), clock_timestamp()) ON CONFLICT DO NOTHING
"""

log = structlog.get_logger(__name__)


def receive(method: str, *, body: bytes, headers: Mapping[str, str]) -> Payment | None:
    """Take note of what a gateway says; the attempt that `finish_payment` has something to do for now, if any.

    Raises: UnknownMethod, BadSignature, GatewayTimeout, GatewayUnavailable, BreakerOpen; the gateway then sends it again.
    """
    notice = gateways.of(method).read_notice(body, headers)
    payment = Payment.objects.filter(pk=notice.attempt, method=method).first() if notice.attempt else None
    if payment is None:
        log.info("webhook.not_ours", gateway=method, kind=notice.kind)
        return None

    standing = late.standing_of(payment)
    late.take_notice(payment_id=payment.pk, standing=standing, unless=partial(_heard_before, method, notice))
    payment.refresh_from_db()
    return payment if payment.status in UNFINISHED else None


def _heard_before(method: str, notice: Notice) -> bool:
    return not execute(NOTE, method, notice.event, notice.kind).rowcount


def deliver_sandbox() -> None:
    """What the sandbox has to tell, as its own server would: signed bytes, and again until they are taken."""
    for event, body, headers in fake.due_events():
        payment = receive("fake", body=body, headers=headers)
        fake.heard(event)
        if payment is not None:
            steps.finish_payment(payment_id=payment.pk)
