"""Handle webhooks of gateways. A webhook only triggers a question; the gateway's answer has the effect.

So the order of webhooks does not matter, and no claim is believed without a question. Each webhook has its effect once,
because its id is written in the same transaction.
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
    """Apply a webhook, and return the attempt that `finish_payment` should continue, if any.

    Raises: UnknownMethod, BadSignature, GatewayTimeout, GatewayUnavailable, BreakerOpen; the gateway then sends it
    again.
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
    """Deliver the sandbox's webhooks as its own server would: signed, and repeated until they are accepted."""
    for event, body, headers in fake.due_events():
        payment = receive("fake", body=body, headers=headers)
        fake.heard(event)
        if payment is not None:
            steps.finish_payment(payment_id=payment.pk)
