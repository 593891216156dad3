"""Sell now and collect at the door: nothing is captured at the sale, and the gate's staff collect the money.

The collected money is recorded with the ticket (`doors.py`). A person hands out its refunds (`handing_out.py`).
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
    return Standing("authorised")


def find(attempt: Attempt) -> Standing:
    return authorise(attempt)


def capture(attempt: Attempt) -> Standing:
    return authorise(attempt)


def void(attempt: Attempt) -> Standing:
    return Standing("voided")


def refund(attempt: Attempt, *, refund: uuid.UUID, amount: int) -> None:
    raise RefundRefused("the house hands it back")


def read_notice(body: bytes, headers: Mapping[str, str]) -> Notice:
    raise UnsignedWebhook
