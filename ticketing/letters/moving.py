"""Move a session to another time or place. Each ticket holder gets a letter and may give the ticket back.

Note [Moved to an earlier time]
Deadlines lie some minutes before the start, so an earlier start may end them at once. Places to be paid at the door
would be freed, and refunds would close, before the holders have read about the change. So requests from before the
change keep their deadlines: for MOVED_NOTICE_HOURS the old deadline counts (`Session.deadline`). Later requests have
the new one. Another change of time or place does not shorten a running notice. Orders on standby are charged for the
new time when places come back, and end with the new start, so their buyers get a letter too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from psycopg.errors import ExclusionViolation

from base.clock import db_now, rfc3339
from realtime import events
from reservations.allocation import locks
from sessions_app import operations as catalogue
from sessions_app.models import Session
from ticketing.people import holders

SHOWN = frozenset({"starts_at", "ends_at", "hall", "room"})  # what calendars show of a session
NOTED = (
    "sequence",
    "changed_at",
    "moved_at",
    "moved_from",
    "moved_from_place",
    "moved_earlier_at",
    "moved_earlier_from",
)


@transaction.atomic
def move(*, session_id: UUID, changes: Mapping[str, Any]) -> int:
    """Change some of `SHOWN`, and return how many letters go out. No letter is sent for a past or called-off session.

    Raises: HallBusy, Session.DoesNotExist.
    """
    session = locks.lock_sessions([session_id]).get(session_id)
    if session is None:
        raise Session.DoesNotExist
    before, room_was = (session.starts_at, session.ends_at, session.place), (session.hall_id, session.room)
    for name, value in changes.items():
        setattr(session, name, value)
    after = (session.starts_at, session.ends_at, session.place)
    if after == before and (session.hall_id, session.room) == room_was:
        return 0
    now = db_now()
    session.sequence += 1
    session.changed_at = now
    moved = session.cancelled_at is None and (after[0], after[2]) != (before[0], before[2])
    is_news = moved and max(before[1], session.ends_at) > now
    if is_news:
        session.moved_at, session.moved_from, session.moved_from_place = now, before[0], before[2]
        if session.starts_at < before[0]:
            _give_notice(session, starts_at=before[0], now=now)
    _save(session, changes)
    if not is_news:
        return 0
    facts = {"from": _facts(before[0], before[2]), "to": _facts(session.starts_at, session.place)}
    events.record(event="session.moved", session=session.pk, facts=facts)
    return holders.tell(session, "session_moved", facts) + holders.tell_who_stands_by(session, "session_moved", facts)


def _give_notice(session: Session, *, starts_at: dt.datetime, now: dt.datetime) -> None:
    """Keep deadlines open for a while that were open before the move. `starts_at` is the start until now."""
    running = session.notice_until(session.moved_earlier_at)
    if session.moved_earlier_from is not None and running is not None and running > now:
        starts_at = max(starts_at, session.moved_earlier_from)
    session.moved_earlier_at, session.moved_earlier_from = now, starts_at


def _facts(starts_at: Any, place: str) -> dict[str, str]:
    return {"starts_at": rfc3339(starts_at), "place": place}


def _save(session: Session, changes: Mapping[str, Any]) -> None:
    """Save the changes. Raises: HallBusy."""
    try:
        with transaction.atomic():
            session.save(update_fields=[*changes, *NOTED])
    except IntegrityError as error:
        if not isinstance(error.__cause__, ExclusionViolation):
            raise
        raise catalogue.HallBusy(catalogue.clash(session)) from error
