"""Money that somebody at the counter took into their hand. Nobody else knows of it: what is to be known, we wrote down ourselves.

A refund is handed out by a person too (`handing_out.py`).
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
