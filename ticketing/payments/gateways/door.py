"""Money that is due at the door: nothing is taken when it is sold, and whoever lets the ticket in takes it into their hand.

What was taken is written down with the ticket (`doors.py`). A refund of it is handed out by a person (`handing_out.py`).
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
