"""Write the event log in the caller's transaction, so that a change and its record are one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.db import transaction

from base import causes
from base.causes import Cause
from base.copies import changes
from base.ids import uuid7
from base.rows import as_json, execute
from realtime.models import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """A new event. `facts` is stored as JSON and never personal; only `seat.*` events have a `map_version`.

    `why` is its cause; by default the cause that the writing thread works for.
    """

    event: str
    session: UUID | None
    facts: Mapping[str, object]
    buyer: UUID | None = None
    map_version: int | None = None
    why: Cause | None = None


# Ids are created here, one after the other, so that within a batch they rise in the order given. Times are the
# database's clock at the write: a transaction may have waited long for its locks.
INSERT = """
INSERT INTO realtime_event (id, name, session, buyer, map_version, facts, cause, actor, occurred_at)
SELECT id, event, session, buyer, map_version, facts, cause, actor, clock_timestamp()
FROM jsonb_to_recordset(%s) AS new (
    id uuid, event text, session uuid, buyer uuid, map_version bigint, facts jsonb, cause text, actor uuid
)
"""


def record(
    *,
    event: str,
    session: UUID | None,
    facts: Mapping[str, object],
    buyer: UUID | None = None,
    map_version: int | None = None,
    why: Cause | None = None,
) -> Event:
    """Write one event."""
    (written,) = record_many(
        [NewEvent(event=event, session=session, facts=facts, buyer=buyer, map_version=map_version, why=why)]
    )
    return Event.objects.get(pk=written)


def record_many(rows: Sequence[NewEvent]) -> list[UUID]:
    """Write all events with one statement, in their order; return their ids."""
    if not rows:
        return []
    ids: list[UUID] = [uuid7() for _row in rows]
    now = causes.current()
    columns = [
        {
            "id": new,
            "event": row.event,
            "session": row.session,
            "buyer": row.buyer,
            "map_version": row.map_version,
            "facts": row.facts,
            "cause": why.id,
            "actor": why.actor,
        }
        for new, row, why in zip(ids, rows, (row.why or now for row in rows), strict=True)
    ]
    execute(INSERT, as_json(columns))
    changed = {row.session for row in rows if row.session is not None and changes.is_change(row.event)}
    if changed:
        transaction.on_commit(partial(changes.tell, changed), robust=True)
    return ids
