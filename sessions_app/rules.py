"""When something is on sale, over the few facts that this needs. Rows judge by these, and so do the copies that admission keeps."""

from __future__ import annotations

import datetime as dt


def is_session_closed(now: dt.datetime, *, starts_at: dt.datetime, is_called_off: bool) -> bool:
    """Nothing of a session is sold once it has started, or was called off."""
    return is_called_off or starts_at <= now


def is_window_over(now: dt.datetime, until: dt.datetime | None) -> bool:
    return until is not None and until <= now


def is_window_open(now: dt.datetime, since: dt.datetime | None) -> bool:
    return since is None or since <= now


def is_paid_at_door(now: dt.datetime, *, pay_at_door: bool, collect_until: dt.datetime | None) -> bool:
    """A ticket that is paid at the door is sold until it would have to be collected."""
    return pay_at_door and (collect_until is None or now < collect_until)
