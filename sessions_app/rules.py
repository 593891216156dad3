"""Tell when something is on sale, from the few facts that this needs.

Rows judge by these functions, and so do the copies that admission keeps.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Iterable
from typing import TypeVar

Found = TypeVar("Found")


def is_session_closed(now: dt.datetime, *, starts_at: dt.datetime, is_called_off: bool) -> bool:
    """Tell whether nothing of a session is sold any more: it has started, or was called off."""
    return is_called_off or starts_at <= now


def is_window_over(now: dt.datetime, until: dt.datetime | None) -> bool:
    return until is not None and until <= now


def is_window_open(now: dt.datetime, since: dt.datetime | None) -> bool:
    return since is None or since <= now


def is_paid_at_door(now: dt.datetime, *, pay_at_door: bool, collect_until: dt.datetime | None) -> bool:
    """Tell whether a ticket may be sold for payment at the door: until the moment by which it must be collected."""
    return pay_at_door and (collect_until is None or now < collect_until)


def lane_by_code(code: str, lanes: Iterable[tuple[str, Found]]) -> Found | None:
    """Return the lane of the code. Compare it with all codes, each in constant time."""
    if not code:
        return None
    found = [lane for known, lane in lanes if hmac.compare_digest(known.encode(), code.encode())]
    return found[0] if found else None
