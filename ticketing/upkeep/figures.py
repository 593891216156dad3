"""Read figures of the installation from its database: what waits, for how long, and what is left to sell.

Note [Figures that several processes tell]
Every web process and every relay exports these figures, so that they are known as long as one of these processes runs.
Each process gives the same values, so an alert or a panel takes the maximum, never the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from prometheus_client import Metric

from base.examination import Examination
from reservations import checks
from reservations.exposition import Figures, Looked, gauge
from reservations.queueing import liveness
from reservations.queueing.inbox import MAX_ATTEMPTS

SESSIONS_SHOWN = 10  # shown by name; the others are summed up
REMEMBERED_SECONDS = 2.0
OVERDUE_SECONDS = 5  # beat ends a hold within a second, and the relay three seconds later

# Requests of sessions that are slowed down on purpose may wait as long as their rate requires.
INBOX = """
SELECT count(*) FILTER (WHERE attempts < %(most)s),
    extract(epoch FROM clock_timestamp() - min(accepted_at) FILTER (WHERE attempts < %(most)s AND NOT EXISTS (
        SELECT FROM sessions_app_session AS session WHERE session.id::text = waiting.session AND (
            session.settle_rate IS NOT NULL OR EXISTS (SELECT FROM sessions_app_lane WHERE session_id = session.id)
        )
    )))
FROM reservations_inboxrequest AS waiting
"""
OUTBOX = """
SELECT count(*), extract(epoch FROM clock_timestamp() - min(occurred_at)) FROM realtime_event WHERE published_at IS NULL
"""
PAYMENTS = """
SELECT count(*), extract(epoch FROM clock_timestamp() - min(started_at))
FROM ticketing_payment WHERE status IN ('started', 'authorised', 'returning')
"""
REFUNDS = """
SELECT count(*) FILTER (WHERE status = 'asked'),
    extract(epoch FROM clock_timestamp() - min(asked_at) FILTER (WHERE status = 'asked')),
    count(*) FILTER (WHERE status = 'refused')
FROM ticketing_refund WHERE status IN ('asked', 'refused')
"""
HOLDS = """
SELECT count(*) FILTER (WHERE expires_at > clock_timestamp()),
    count(*) FILTER (WHERE expires_at < clock_timestamp() - make_interval(secs => %(overdue)s))
FROM reservations_reservation WHERE status = 'held'
"""
SESSIONS = """
WITH held AS (
    SELECT session_id, sum(quantity) AS places FROM reservations_reservation
    WHERE status = 'held' AND expires_at > clock_timestamp() GROUP BY session_id
), stock AS (
    SELECT session_id, sum(available) AS places FROM sessions_app_tickettype WHERE capacity IS NOT NULL
      GROUP BY session_id
), ranked AS (
    SELECT session.id::text AS name, coalesce(held.places, 0) AS held,
      session.free_seats + coalesce(stock.places, 0) AS free,
        row_number() OVER (ORDER BY held.places DESC NULLS LAST, session.starts_at, session.id) AS place
    FROM sessions_app_session AS session
    LEFT JOIN held ON held.session_id = session.id LEFT JOIN stock ON stock.session_id = session.id
    WHERE session.cancelled_at IS NULL AND session.starts_at > clock_timestamp()
        AND (session.on_sale_at IS NULL OR session.on_sale_at <= clock_timestamp())
)
SELECT CASE WHEN place <= %(shown)s THEN name ELSE 'others' END, sum(held), sum(free) FROM ranked GROUP BY 1
"""


class Installation(Looked):
    """Export the figures of the whole installation. See Note [Figures that several processes tell]."""

    def __init__(self) -> None:
        self.examination = Examination(
            {"database": read_database, "consumers": read_consumers}, deadline=0.8, remembered=REMEMBERED_SECONDS
        )

    def collect(self) -> Iterable[Metric]:
        found = self.examination.results()
        yield gauge(
            "frontrow_figures_missing",
            "1 while the figures of a source cannot be read.",
            ["source"],
            {(name,): outcome.error is not None for name, outcome in found.items()},
        )
        for outcome in found.values():
            yield from outcome.value or ()


def read_consumers() -> list[Metric]:
    """Read how long ago each queue had a sign of a consumer, and the last work of beat and relay."""
    client = checks.client(settings.REDIS_URL)
    never = liveness.KEPT_MS / 1000
    queues: Figures = {(name,): never if age is None else age for name, age in liveness.queue_ages(client).items()}
    parts: Figures = {(str(name),): never if age is None else age for name, age in liveness.ages(client).items()}
    silent: Figures = {(part,): float(parts[part,] > most) for part, most in liveness.SILENT_AFTER.items()}
    return [
        gauge(
            "frontrow_consumer_silent_seconds",
            "Seconds since a consumer of the queue last reported.",
            ["queue"],
            queues,
        ),
        gauge("frontrow_part_silent_seconds", "Seconds since a kind of process last did its work.", ["part"], parts),
        gauge("frontrow_part_silent", "1 if that is too long ago, so no process does this work.", ["part"], silent),
    ]


def read_database() -> list[Metric]:
    with checks.own_connection() as own:

        def one(statement: str, **parameters: Any) -> tuple[float, ...]:
            row = own.execute(statement.encode(), parameters).fetchone()
            return tuple(max(0.0, float(value or 0)) for value in row or ())

        inbox, inbox_age = one(INBOX, most=MAX_ATTEMPTS)
        outbox, outbox_age = one(OUTBOX)
        payments, payments_age = one(PAYMENTS)
        refunds, refunds_age, refused = one(REFUNDS)
        holds, overdue = one(HOLDS, overdue=OVERDUE_SECONDS)
        sessions = own.execute(SESSIONS.encode(), {"shown": SESSIONS_SHOWN}).fetchall()
    alone: list[tuple[str, str, float]] = [
        ("frontrow_inbox_waiting", "Requests that wait in the inbox for allocation.", inbox),
        (
            "frontrow_inbox_age_seconds",
            "Age in seconds of the oldest request in the inbox, without sessions that have a rate.",
            inbox_age,
        ),
        ("frontrow_events_waiting", "Events that the relay has not published yet.", outbox),
        ("frontrow_events_age_seconds", "Age in seconds of the oldest of them.", outbox_age),
        ("frontrow_payments_open", "Payments that have not ended yet.", payments),
        ("frontrow_payments_open_age_seconds", "Age in seconds of the oldest of them.", payments_age),
        ("frontrow_refunds_open", "Refunds that were promised and not paid back yet.", refunds),
        ("frontrow_refunds_open_age_seconds", "Age in seconds of the oldest of them.", refunds_age),
        ("frontrow_refunds_refused", "Refunds that the gateway refused; they wait for a person.", refused),
        ("frontrow_holds_live", "Live holds.", holds),
        (
            "frontrow_holds_overdue",
            f"Holds that ended more than {OVERDUE_SECONDS} s ago and keep their places.",
            overdue,
        ),
    ]
    by_session: list[tuple[str, str, Figures]] = [
        (
            "frontrow_session_held_places",
            "Places in live holds, for the sessions with the most held places.",
            {(name,): float(held) for name, held, _free in sessions},
        ),
        (
            "frontrow_session_free_places",
            "Places that are free to buy, for the same sessions.",
            {(name,): float(free) for name, _held, free in sessions},
        ),
    ]
    return [
        *(gauge(name, says, [], {(): figure}) for name, says, figure in alone),
        *(gauge(name, says, ["session"], figures) for name, says, figures in by_session),
    ]
