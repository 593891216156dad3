"""Limit how fast a sale goes: requests admitted, requests allocated and payments begun in a second.

Note [At a rate]
A moment says until when requests were let through in advance (GCRA:
https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm). In no stretch of time more pass than the rate allows, plus
one second's worth that a pause left over. For allocating and paying, the moment is on the session's row. The
transaction that does the work reads and moves it under the row's lock, so it is exact over any number of processes. For
admission it is in Redis, moved by the script that gives the arrival number (admit.lua).
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from django.db.models import Q

from base.clock import db_now
from base.rates import token_bucket
from reservations import metrics
from sessions_app.models import Session

MICROSECOND = dt.timedelta(microseconds=1)
A_SECOND = token_bucket.MICROSECONDS  # of the rate may be left over
FULL_AT = {"settle_rate": "settle_full_at", "payment_rate": "payments_full_at"}
RATES = {
    "admission_rate": "admission",
    "settle_rate": "allocation",
    "payment_rate": "payment",
}  # and their names in metrics


class NotDue(Exception):
    """The batch has more requests of these `sessions` than their rates allow now. None of the batch was allocated."""

    def __init__(self, sessions: Collection[uuid.UUID]) -> None:
        super().__init__(", ".join(map(str, sessions)))
        self.sessions = frozenset(sessions)


def due(session: Session, now: dt.datetime, rate: str = "settle_rate") -> int | None:
    """Return how many may pass now; None: any number."""
    a_second: int | None = getattr(session, rate)
    if a_second is None:
        return None
    return token_bucket.left(_ahead(session, now, rate), 0, rate=a_second, capacity=A_SECOND)


def pass_on(session: Session, number: int, now: dt.datetime, rate: str = "settle_rate") -> None:
    """Note that this many passed, due or not. The session is locked."""
    a_second: int | None = getattr(session, rate)
    if a_second is None:
        return
    cost = token_bucket.cost_of(number, rate=a_second)
    until = now + MICROSECOND * token_bucket.take(_ahead(session, now, rate), 0, cost=cost, capacity=A_SECOND).full_at
    setattr(session, FULL_AT[rate], until)
    Session.objects.filter(pk=session.pk).update(**{FULL_AT[rate]: until})


def _ahead(session: Session, now: dt.datetime, rate: str) -> int:
    """Return how many microseconds from now the session's bucket will be full."""
    full_at: dt.datetime = getattr(session, FULL_AT[rate]) or now
    return (full_at - now) // MICROSECOND


def spend(sessions: Mapping[uuid.UUID, Session], allocated: Iterable[uuid.UUID]) -> None:
    """Note that a request was allocated of each of the sessions, which are locked. Raises: NotDue."""
    paced = Counter(session for session in allocated if sessions[session].settle_rate is not None)
    if not paced:
        return
    now = db_now()
    early = {session for session, number in paced.items() if number > (due(sessions[session], now) or 0)}
    if early:
        raise NotDue(early)
    for session, number in paced.items():
        pass_on(sessions[session], number, now)


class Gate:
    """Admit requests at their sessions' rates while Redis is away.

    Each process has its own gate, so several processes admit that many times more. For one thread. `now` is seconds of
    any monotonic clock.
    """

    def __init__(self) -> None:
        self._buckets = token_bucket.Buckets()

    def lets_in(self, session: uuid.UUID, rate: int | None, *, now: float) -> bool:
        if rate is None:
            return True
        cost = token_bucket.cost_of(1, rate=rate)
        return not self._buckets.take(session, int(now * A_SECOND), cost=cost, capacity=A_SECOND)


# --- Metrics

_told: set[tuple[str, str]] = set()
_over: set[tuple[str, str]] = set()  # set to 0 the last time


def tell_the_rates() -> None:
    """Show in the metrics what the rates of all sessions are set to."""
    rated = Q(admission_rate__isnull=False) | Q(settle_rate__isnull=False) | Q(payment_rate__isnull=False)
    told = {
        (str(row.pk), name): getattr(row, rate)
        for row in Session.objects.upcoming().filter(rated)
        for rate, name in RATES.items()
        if getattr(row, rate)
    }
    for label in _told - told.keys():
        metrics.rates.labels(*label).set(0)  # once more, so that a dashboard sees it end
    for label in _over - told.keys():
        _drop(label)
    _over.clear()
    _over.update(_told - told.keys())
    for label, a_second in told.items():
        metrics.rates.labels(*label).set(a_second)
    _told.clear()
    _told.update(told)


def _drop(label: tuple[str, str]) -> None:
    """Drop a label. Several processes with one set of metrics can't drop it: there it stays, at 0."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        metrics.rates.remove(*label)
