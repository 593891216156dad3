"""Sweep what is due from time to time: end expired holds, serve orders on standby, clear old keys."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from base import causes
from base.clock import db_now
from reservations.allocation import endings, locks, standby
from reservations.allocation.announcements import Announcements
from reservations.models import FINAL, Reservation, Status
from reservations.operations import queued
from sessions_app.models import Session

EXPIRE_CHUNK = 200  # holds of a session ended at once; requests for its seats wait meanwhile
SWEEPERS = 2  # sessions swept at a time: one waits for PostgreSQL while the other doesn't
KEYS_KEPT = dt.timedelta(hours=24)
DUE_LOOKED_AFTER = dt.timedelta(days=7)  # from the session's end on


def expire_holds(*, limit: int = 50_000) -> int:
    """End holds that ran out, in short transactions; return how many.

    `limit` is about the most of them, with an equal share for each session.
    """
    sessions = sessions_with_expired_holds()
    if not sessions:
        return 0
    with ThreadPoolExecutor(SWEEPERS, thread_name_prefix="sweeper") as sweepers:
        return sum(sweepers.map(partial(_sweep, limit=math.ceil(limit / len(sessions))), sessions))


def _sweep(session: uuid.UUID, *, limit: int) -> int:
    ended = 0
    try:
        while ended < limit and (some := queued.with_retries(partial(expire_some, session, limit - ended))):
            ended += some
    finally:
        connection.close()  # this thread's own
    return ended


def look_after_standby() -> int:
    """End orders on standby whose sale is over, and pass on places that came free without a give-back."""
    ended = 0
    for session in standby.sessions_to_look_after():
        while some := queued.with_retries(partial(_serve_standby, session)):
            ended += some
    return ended


@causes.working_for(causes.job("standby"))
@transaction.atomic(durable=True)
def _serve_standby(session_id: uuid.UUID) -> int:
    session = locks.lock_sessions([session_id])[session_id]
    news = Announcements(now=db_now())
    ended = endings.serve_standby(session, news)
    queued.announce(news)
    return ended


def forget_keys() -> int:
    """Clear idempotency keys after a day, and addresses that no longer count; return how many keys were cleared."""
    old = Reservation.objects.filter(accepted_at__lt=Now() - KEYS_KEPT)
    over = Session.objects.filter(ends_at__range=(Now() - DUE_LOOKED_AFTER, Now()))
    Reservation.objects.filter(session__in=over, due=True).update(due=False)  # their buyers don't come any more
    free = Q(status=Status.CONFIRMED, total=0, quantity__gt=0, session__ends_at__gt=Now())
    old.exclude(origin="").filter(status__in=FINAL, due=False).exclude(free).update(origin="")
    return Reservation.objects.filter(accepted_at__lt=Now() - KEYS_KEPT).exclude(key="").update(key="")


def sessions_with_expired_holds() -> list[uuid.UUID]:
    over = Reservation.objects.ran_out(Now())
    return list(over.order_by("session_id").values_list("session_id", flat=True).distinct())


def count_expired_holds(*, grace_seconds: float = 0) -> int:
    """Count the holds that ran out at least `grace_seconds` ago and were not swept."""
    return Reservation.objects.ran_out(Now() - dt.timedelta(seconds=grace_seconds)).count()


@transaction.atomic(durable=True)
def expire_some(session_id: uuid.UUID, limit: int) -> int:
    session = locks.lock_sessions([session_id])[session_id]
    news = Announcements(now=db_now())
    ended = endings.expire_in(session, news, limit=min(limit, EXPIRE_CHUNK))
    if ended:
        queued.announce(news)
    return ended
