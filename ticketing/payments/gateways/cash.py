"""Record cash that staff received at the counter. No other system knows of it, so our own records are all there is.

A person hands out its refunds too (`handing_out.py`).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from ticketing.payments.gateways import Attempt, Notice, RefundRefused, Standing
from ticketing.refusals import UnknownToken, UnsignedWebhook


def check(token: str) -> None:
    if token:
        raise UnknownToken(token)


def authorise(attempt: Attempt) -> Standing:
    return Standing("authorised", reference=attempt.token)


def find(attempt: Attempt) -> Standing:
    return authorise(attempt)


def capture(attempt: Attempt) -> Standing:
    return Standing("captured", reference=attempt.token)


def void(attempt: Attempt) -> Standing:
    return Standing("voided", reference=attempt.token)


def refund(attempt: Attempt, *, refund: uuid.UUID, amount: int) -> None:
    raise RefundRefused("the counter hands it back")


def read_notice(body: bytes, headers: Mapping[str, str]) -> Notice:
    raise UnsignedWebhook
