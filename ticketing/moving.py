"""A session gets another time or place: everybody who has a ticket is told, and may give it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from psycopg.errors import ExclusionViolation

from realtime import events
from realtime.clock import db_now
from reservations import allocation
from sessions_app import operations as catalogue
from sessions_app.models import Session
from ticketing import holders
from ticketing.queries import as_text

SHOWN = frozenset({"starts_at", "ends_at", "hall", "room"})  # what calendars say of a session


@transaction.atomic
def move(*, session_id: UUID, changes: Mapping[str, Any]) -> int:
    """Change some of `SHOWN`; return how many letters go out. Nobody hears of a session that is over or called off.

    Raises: HallBusy, Session.DoesNotExist.
    """
    session = allocation.lock_sessions([session_id]).get(session_id)
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
    _save(session, changes)
    if not is_news:
        return 0
    facts = {"from": _facts(before[0], before[2]), "to": _facts(session.starts_at, session.place)}
    events.record(event="session.moved", session=session.pk, facts=facts)
    return holders.tell(session, "session_moved", facts)


def _facts(starts_at: Any, place: str) -> dict[str, str]:
    return {"starts_at": as_text(starts_at), "place": place}


def _save(session: Session, changes: Mapping[str, Any]) -> None:
    """Raises: HallBusy."""
    try:
        with transaction.atomic():
            session.save(
                update_fields=[*changes, "sequence", "changed_at", "moved_at", "moved_from", "moved_from_place"]
            )
    except IntegrityError as error:
        if not isinstance(error.__cause__, ExclusionViolation):
            raise
        raise catalogue.HallBusy(catalogue.clash(session)) from error
