"""Read what PostgreSQL knows about a batch of requests and its buyers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec
from django.conf import settings

from base.rows import as_array, execute
from reservations.allocation.statements import Had, Held, HeldFrom, Overdue, Used, Weighs
from reservations.hold_caps import LONGEST_COUNT_MS
from reservations.hold_request import HoldRequest
from reservations.refusals import UNPAID
from sessions_app.models import shard_of

# An address's holds count by Note [What counts as held] in hold_caps.py.
COUNTS = f"""
CASE status
    WHEN 'held' THEN expires_at + least(expires_at - held_at, interval '{LONGEST_COUNT_MS} ms') > statement_timestamp()
    WHEN 'paying' THEN true
    WHEN 'confirmed' THEN due OR total = 0
    ELSE held_at IS NOT NULL AND reason IN {UNPAID}
        AND changed_at + least(changed_at - held_at, interval '{LONGEST_COUNT_MS} ms') > statement_timestamp()
END
"""
READ = """
WITH marks AS (DELETE FROM reservations_cancelmark WHERE id = ANY(%(ids)s::uuid[]) RETURNING id)
SELECT
    statement_timestamp(),
    ARRAY(SELECT id FROM reservations_reservation WHERE id = ANY(%(ids)s::uuid[])),
    ARRAY(SELECT id FROM marks),
    ARRAY(
        SELECT session FROM unnest(%(sessions)s::uuid[]) AS session WHERE statement_timestamp() >= (
            SELECT min(expires_at) FROM reservations_reservation WHERE session_id = session AND status = 'held'
        )
    ),
    (SELECT coalesce(json_agg(json_build_array(session_id, id)), '[]')::text FROM reservations_reservation
        WHERE session_id = ANY(%(sessions)s::uuid[]) AND buyer = ANY(%(buyers)s::uuid[])
            AND status = 'held' AND expires_at <= statement_timestamp()),
    (SELECT coalesce(json_agg(json_build_array(session_id, buyer, stock, places)), '[]')::text FROM (
        SELECT session_id, buyer, CASE WHEN seats = '{}' THEN ticket_type_id END AS stock, sum(quantity) AS places
        FROM reservations_reservation
        WHERE session_id = ANY(%(sessions)s::uuid[]) AND buyer = ANY(%(buyers)s::uuid[])
            AND status IN ('held', 'paying', 'confirmed')
            AND NOT (status = 'held' AND expires_at <= statement_timestamp())
        GROUP BY session_id, buyer, stock
    ) AS had),
    (SELECT coalesce(json_agg(json_build_array(buyer, places)), '[]')::text FROM (
        SELECT buyer, sum(quantity) AS places FROM reservations_reservation
        WHERE buyer = ANY(%(capped)s::uuid[]) AND status IN ('held', 'paying', 'confirmed')
            AND (status <> 'confirmed' OR due)
            AND NOT (status = 'held' AND expires_at <= statement_timestamp())
        GROUP BY buyer
    ) AS held),
    (SELECT coalesce(json_agg(json_build_array(pot, origin, places)), '[]')::text FROM (
        SELECT CASE WHEN seats = '{}' THEN ticket_type_id ELSE session_id END AS pot, origin, sum(quantity) AS places
        FROM reservations_reservation
        WHERE origin <> '' AND (session_id, origin) IN (SELECT * FROM unnest(%(pots)s::uuid[], %(origins)s::text[]))
            AND {COUNTS}
        GROUP BY pot, origin
    ) AS held),
    (SELECT coalesce(json_agg(json_build_array(buyer, scope, key, id)), '[]')::text FROM reservations_reservation
        WHERE buyer = ANY(%(keyed)s::uuid[]) AND key = ANY(%(keys)s) AND key <> '' AND status <> 'rejected'),
    ARRAY(
        SELECT asked.session FROM unnest(%(waited_for)s::uuid[], %(shards)s::int[]) AS asked (session, shard)
        WHERE EXISTS (
            SELECT FROM reservations_inboxrequest AS waiting
            WHERE waiting.shard = asked.shard AND waiting.session = asked.session::text AND waiting.attempts < 5
        )
    ),
    (SELECT coalesce(json_agg(json_build_array(session_id, name, weight)), '[]')::text FROM sessions_app_lane
        WHERE session_id = ANY(%(sessions)s::uuid[])),
    (SELECT coalesce(json_agg(json_build_array(guest, account)), '[]')::text FROM reservations_joinedguest
        WHERE guest = ANY(%(buyers)s::uuid[]))
""".replace("{COUNTS}", COUNTS)


@dataclasses.dataclass(frozen=True, slots=True)
class Past:
    """The facts that PostgreSQL knows about requests before they are decided.

    - `now` is the database's clock once their sessions were locked.
    - `allocated` were decided before.
    - `cancelled` were given up by their buyers in the queue; reading them deletes the marks.
    - `ran_out` are the sessions with expired holds that no sweep has ended.
    - `overdue` are, by session, the expired holds of these buyers themselves.
    - `has` counts the places that each buyer holds or bought, by session and by ticket type without numbers.
    - `held` counts the places that count as held, by buyer, and by session or ticket type and address.
    - `keys` has the reservation that each used idempotency key of a buyer and scope names.
    - `in_inbox` are the sessions with requests in the inbox, unless these requests come from there.
    - `lanes` has the weights of the sessions' lanes.
    - `joined` has the accounts that guests among the buyers have become.
    """

    now: dt.datetime
    allocated: set[uuid.UUID]
    cancelled: set[uuid.UUID]
    ran_out: set[uuid.UUID]
    overdue: dict[uuid.UUID, set[uuid.UUID]]
    has: Counter[tuple[uuid.UUID, uuid.UUID]]
    held: Counter[uuid.UUID | tuple[uuid.UUID, str]]
    keys: dict[tuple[uuid.UUID, str, str], uuid.UUID]
    in_inbox: set[uuid.UUID]
    lanes: dict[uuid.UUID, dict[str, int]]
    joined: dict[uuid.UUID, uuid.UUID]


def read(requests: Sequence[HoldRequest], *, from_inbox: bool) -> Past:
    waited_for = [] if from_inbox else list({request.session for request in requests})
    keyed = [request for request in requests if request.key]
    origins = sorted({(request.session, request.caps.origin) for request in requests if request.caps.origin})
    found = execute(
        READ,
        ids=as_array(request.id for request in requests),
        sessions=as_array({request.session for request in requests}),
        buyers=as_array({request.buyer for request in requests}),
        capped=as_array({request.buyer for request in requests if request.caps.buyer}),
        pots=as_array(session for session, _origin in origins),
        origins=[origin for _session, origin in origins],
        keyed=as_array({request.buyer for request in keyed}),
        keys=[request.key for request in keyed],
        waited_for=as_array(waited_for),
        shards=[shard_of(session, settings.SHARDS) for session in waited_for],
    ).fetchone()
    assert found is not None
    now, allocated, cancelled, ran_out, over, has, of_buyers, of_origins, keys, in_inbox, weights, joined = found
    overdue: dict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
    for session, reservation in msgspec.json.decode(over, type=list[Overdue]):
        overdue[session].add(reservation)
    had: Counter[tuple[uuid.UUID, uuid.UUID]] = Counter()
    for session, buyer, stock, places in msgspec.json.decode(has, type=list[Had]):
        had[session, buyer] += places
        if stock:
            had[stock, buyer] += places
    held: Counter[uuid.UUID | tuple[uuid.UUID, str]] = Counter(dict(msgspec.json.decode(of_buyers, type=list[Held])))
    held.update({(pot, origin): n for pot, origin, n in msgspec.json.decode(of_origins, type=list[HeldFrom])})
    lanes: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    for session, name, weight in msgspec.json.decode(weights, type=list[Weighs]):
        lanes[session][name] = weight
    return Past(
        now=now,
        allocated=set(allocated),
        cancelled=set(cancelled),
        ran_out=set(ran_out),
        overdue=overdue,
        has=had,
        held=held,
        keys={(buyer, scope, key): first for buyer, scope, key, first in msgspec.json.decode(keys, type=list[Used])},
        in_inbox=set(in_inbox),
        lanes=lanes,
        joined=dict(msgspec.json.decode(joined, type=list[tuple[uuid.UUID, uuid.UUID]])),
    )
