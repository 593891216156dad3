"""A card that was charged by the counter's own terminal; the token is the transaction's id, as its slip says it."""

from __future__ import annotations

import re

from ticketing.payments.gateways.cash import authorise, capture, find, read_notice, refund, void
from ticketing.refusals import UnknownToken

__all__ = ["authorise", "capture", "check", "find", "read_notice", "refund", "void"]

TRANSACTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9./-]{0,39}")
CARD_NUMBER = re.compile(r"[0-9]{13,19}")


def check(token: str) -> None:
    """Never takes what may be a card's number."""
    if not TRANSACTION.fullmatch(token) or (CARD_NUMBER.fullmatch(token) and _passes_luhn(token)):
        raise UnknownToken(token)


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812: the check digit of every payment card."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0
