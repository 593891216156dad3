"""How many requests a second a session settles, where its house set a rate.

Note [Settled at a rate]
`settle_full_at` says until when the session has settled in advance (GCRA: https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm). It is
read and moved under the lock of the session's row, in the transaction that settles, so it is exact over any number of processes: in no
stretch of time more than `rate` for each second of it, and one second's worth that a pause left over.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping

from realtime.clock import db_now
from realtime.rows import as_json, execute
from reservations import metrics
from sessions_app.models import Session

MICROSECONDS = 1_000_000
LEFT_OVER = dt.timedelta(seconds=1)
NOTE = """
UPDATE sessions_app_session AS session SET settle_full_at = new.settle_full_at
FROM jsonb_to_recordset(%s) AS new (id uuid, settle_full_at timestamptz) WHERE session.id = new.id
"""


class NotDue(Exception):
    """More requests of these `sessions` than their rates let be settled now. None of the batch was."""

    def __init__(self, sessions: frozenset[uuid.UUID]) -> None:
        super().__init__(", ".join(map(str, sessions)))
        self.sessions = sessions


def due(session: Session, now: dt.datetime) -> int | None:
    """How many requests may be settled now; None: any number."""
    if session.settle_rate is None:
        return None
    left = now + LEFT_OVER - _full_at(session, now)
    return max(0, left // dt.timedelta(microseconds=1) * session.settle_rate // MICROSECONDS)


def spend(sessions: Mapping[uuid.UUID, Session], settled: Iterable[uuid.UUID]) -> None:
    """Note that a request was settled of each of the sessions, which are locked. Raises: NotDue."""
    paced = Counter(session for session in settled if sessions[session].settle_rate is not None)
    if not paced:
        return
    now = db_now()
    early = {session for session, number in paced.items() if number > (due(sessions[session], now) or 0)}
    if early:
        raise NotDue(frozenset(early))
    for session, number in paced.items():
        _spend(sessions[session], number, now)
    execute(NOTE, as_json([{"id": session, "settle_full_at": sessions[session].settle_full_at} for session in paced]))


def _spend(session: Session, number: int, now: dt.datetime) -> None:
    assert session.settle_rate is not None
    microseconds = -(-number * MICROSECONDS // session.settle_rate)
    session.settle_full_at = _full_at(session, now) + dt.timedelta(microseconds=microseconds)


def _full_at(session: Session, now: dt.datetime) -> dt.datetime:
    return max(session.settle_full_at or now, now)


# --- For those who watch

_told: set[tuple[str, str]] = set()


def tell_the_rates() -> None:
    """Show in the metrics what the rates of all sessions are set to."""
    upcoming = Session.objects.upcoming().filter(settle_rate__isnull=False)
    told = {(str(row.pk), "settle"): row.settle_rate for row in upcoming if row.settle_rate}
    for label in _told - told.keys():
        metrics.rates.labels(*label).set(0)
    for label, rate in told.items():
        metrics.rates.labels(*label).set(rate)
    _told.update(told)
