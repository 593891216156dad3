"""Record a card payment on the counter's own terminal. The token is the id of the transaction on its slip."""

from __future__ import annotations

import re

from ticketing.payments.gateways.cash import authorise, capture, find, read_notice, refund, void
from ticketing.refusals import UnknownToken

__all__ = ["authorise", "capture", "check", "find", "read_notice", "refund", "void"]

TRANSACTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9./-]{0,39}")
CARD_NUMBER = re.compile(r"[0-9]{13,19}")


def check(token: str) -> None:
    """Check the token, and refuse what may be a card's number."""
    if not TRANSACTION.fullmatch(token) or (CARD_NUMBER.fullmatch(token) and _passes_luhn(token)):
        raise UnknownToken(token)


def _passes_luhn(digits: str) -> bool:
    """Check the digit of ISO/IEC 7812, which every payment card has."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0
