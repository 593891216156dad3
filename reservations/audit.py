"""Check what must never be true of seats, stock and reservations, for `manage.py audit`."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from realtime.audit import Check, Fault
from reservations.allocation import standby
from reservations.hold_request import EPOCH_BITS
from reservations.queueing import letters, queue_watch
from reservations.refusals import SeatsUnavailable, SoldOut
from reservations.staff import dead_letters

GRACE = "interval '10 seconds'"  # a sweep runs each second; ten seconds mean a broken one
PATIENCE = "interval '1 minute'"  # a request that waits longer in the queue is forgotten

# A reservation is judged by the limit in its event, with the places that its buyer had then and still has. Places that
# a guest got before becoming an account count for the account's requests a while after that.
OVER_THE_LIMIT = """
    WITH live AS (
        SELECT owner.id, owner.session_id, owner.ticket_type_id, owner.seats, owner.quantity, owner.held_at, told.buyer,
            (told.facts ->> '{limit}')::int AS most
        FROM reservations_reservation AS owner JOIN realtime_event AS told
            ON told.session = owner.session_id AND told.name = 'reservation.held'
                AND told.facts ->> 'reservation' = owner.id::text
        WHERE owner.status IN ('held', 'paying', 'confirmed')
    )
    SELECT late.buyer, late.session_id AS session, late.id AS reservation, sum(early.quantity) AS places, late.most
    FROM live AS late JOIN live AS early ON early.session_id = late.session_id AND early.held_at <= late.held_at
        AND {same} AND (
        early.buyer = late.buyer OR EXISTS (
            SELECT FROM reservations_joinedguest AS joined WHERE joined.guest = early.buyer
                AND joined.account = late.buyer
                AND joined.joined_at < late.held_at - interval '1 minute'
        )
    )
    GROUP BY late.buyer, late.session_id, late.id, late.most HAVING sum(early.quantity) > late.most
"""


def dead_letters_waiting() -> Iterator[Fault]:
    try:
        waiting = dead_letters.count_waiting()
    except letters.OutOfReach as error:
        yield {"queue": "all but the inbox", "said": str(error)}
        return
    for queue, number in waiting.items():
        if number:
            yield {"queue": queue, "letters": number}


def queues_undrained() -> Iterator[Fault]:
    """Yield each queue in which messages wait and from which no worker consumes."""
    if settings.QUEUE == "in_process":
        return
    try:
        found = queue_watch.undrained()
    except letters.OutOfReach as error:
        yield {"queue": "all", "said": str(error)}
        return
    for queue, messages in found.items():
        yield {"queue": queue, "messages": messages}


CHECKS = [
    Check(
        name="stock_differs_from_capacity",
        says="the free and taken places of a ticket type do not add up to its capacity",
        sql="""
            SELECT kind.id AS ticket_type, kind.capacity, kind.available, coalesce(taken.places, 0) AS taken
            FROM sessions_app_tickettype AS kind
            LEFT JOIN (
                SELECT ticket_type_id, sum(quantity) AS places FROM reservations_reservation
                WHERE status IN ('held', 'paying', 'confirmed') AND seats = '{}' GROUP BY ticket_type_id
            ) AS taken ON taken.ticket_type_id = kind.id
            WHERE kind.capacity IS NOT NULL AND kind.available + coalesce(taken.places, 0) <> kind.capacity
        """,
    ),
    Check(
        name="pool_differs_from_capacity",
        says="the free places of a pool and the places taken by all its ticket types do not add up to its capacity",
        sql="""
            SELECT pool.id AS pool, pool.capacity, pool.available, coalesce(taken.places, 0) AS taken
            FROM sessions_app_pool AS pool
            LEFT JOIN (
                SELECT draw.pool_id, sum(owner.quantity) AS places FROM sessions_app_tickettype_pools AS draw
                JOIN reservations_reservation AS owner ON owner.ticket_type_id = draw.tickettype_id
                WHERE owner.status IN ('held', 'paying', 'confirmed') AND owner.seats = '{}' GROUP BY draw.pool_id
            ) AS taken ON taken.pool_id = pool.id
            WHERE pool.available + coalesce(taken.places, 0) <> pool.capacity
        """,
    ),
    Check(
        name="pool_of_another_session",
        says="a ticket type uses a pool of another session, or it prices seats and still uses a pool",
        sql="""
            SELECT kind.id AS ticket_type, kind.session_id AS session, pool.id AS pool, pool.session_id AS its_session
            FROM sessions_app_tickettype_pools AS draw
            JOIN sessions_app_tickettype AS kind ON kind.id = draw.tickettype_id JOIN sessions_app_pool AS pool
                ON pool.id = draw.pool_id
            WHERE kind.session_id <> pool.session_id OR kind.capacity IS NULL
        """,
    ),
    Check(
        name="counts_differ_from_capacity",
        says="the seats in live and confirmed reservations are not the seats that are held or sold",
        sql="""
            SELECT session.id AS session, coalesce(seats.places, 0) AS held_or_sold,
                coalesce(taken.places, 0) AS reserved
            FROM sessions_app_session AS session
            LEFT JOIN (
                SELECT session_id, count(*) AS places FROM sessions_app_seat WHERE status IN ('h', 's')
                GROUP BY session_id
            ) AS seats ON seats.session_id = session.id
            LEFT JOIN (
                SELECT session_id, sum(cardinality(seats)) AS places FROM reservations_reservation
                WHERE status IN ('held', 'paying', 'confirmed') GROUP BY session_id
            ) AS taken ON taken.session_id = session.id
            WHERE coalesce(seats.places, 0) <> coalesce(taken.places, 0)
        """,
    ),
    Check(
        name="free_seats_miscounted",
        says="the session's count of free seats, which each seat change carries, is not the number of its free seats",
        sql="""
            SELECT session.id AS session, session.free_seats AS counted, coalesce(seats.free, 0) AS free
            FROM sessions_app_session AS session
            LEFT JOIN (
                SELECT session_id, count(*) AS free FROM sessions_app_seat WHERE status = 'f' GROUP BY session_id
            ) AS seats ON seats.session_id = session.id
            WHERE session.free_seats <> coalesce(seats.free, 0)
        """,
    ),
    Check(
        name="hold_past_its_end",
        says="a hold has expired and its seats are not free: are beat and `relay` running?",
        sql=f"""
            SELECT id AS reservation, session_id AS session, expires_at FROM reservations_reservation
            WHERE status = 'held' AND expires_at < clock_timestamp() - {GRACE} ORDER BY expires_at
        """,  # noqa: S608 our own constant
    ),
    Check(
        name="seat_of_no_live_reservation",
        says="a seat is held or sold for a reservation that does not own it",
        sql="""
            SELECT seat.id AS seat, seat.session_id AS session, seat.label, seat.reservation_id AS reservation,
                owner.status
            FROM sessions_app_seat AS seat
            LEFT JOIN reservations_reservation AS owner ON owner.id = seat.reservation_id
            WHERE seat.reservation_id IS NOT NULL AND (
                owner.id IS NULL OR owner.session_id <> seat.session_id OR NOT seat.label = ANY (owner.seats)
                OR (seat.status = 'h') <> (owner.status IN ('held', 'paying'))
                    OR (seat.status = 's') <> (owner.status = 'confirmed')
            )
        """,
    ),
    Check(
        name="reservation_without_its_seats",
        says="a live reservation names a seat that it does not own",
        sql="""
            SELECT owner.id AS reservation, owner.session_id AS session, wanted.label
            FROM reservations_reservation AS owner
            CROSS JOIN unnest(owner.seats) AS wanted (label)
            LEFT JOIN sessions_app_seat AS seat
                ON seat.session_id = owner.session_id AND seat.label = wanted.label AND seat.reservation_id = owner.id
            WHERE owner.status IN ('held', 'paying', 'confirmed') AND seat.id IS NULL
        """,
    ),
    Check(
        name="accepted_and_forgotten",
        says=(
            "an accepted request still waits in the inbox: are the worker and `relay` running, or does the request "
            "fail each time?"
        ),
        sql=f"""
            SELECT waiting.id AS reservation, shard, attempts, error, accepted_at
            FROM reservations_inboxrequest AS waiting
            LEFT JOIN sessions_app_session AS session ON session.id::text = waiting.session
                AND session.settle_rate IS NOT NULL
            WHERE attempts >= 5 OR accepted_at < clock_timestamp() - {PATIENCE} AND (
                session.id IS NULL OR session.settle_full_at IS NULL
                    OR session.settle_full_at < clock_timestamp() - {PATIENCE}
            ) ORDER BY accepted_at
        """,  # noqa: S608 our own constant
    ),
    Check(
        name="accepted_and_allocated",
        says="an allocated request is still in the inbox",
        sql="""
            SELECT waiting.id AS reservation FROM reservations_inboxrequest AS waiting
            JOIN reservations_reservation AS allocated ON allocated.id = waiting.id
        """,
    ),
    Check(
        name="outcome_not_told_once",
        says="a reservation's outcome is not in the event log exactly once",
        sql="""
            SELECT done.id AS reservation, done.status, coalesce(told.times, 0) AS times
            FROM reservations_reservation AS done
            LEFT JOIN (
                SELECT facts ->> 'reservation' AS reservation, name, session, count(*) AS times FROM realtime_event
                WHERE starts_with(name, 'reservation.') GROUP BY 1, 2, 3
            ) AS told
                ON told.reservation = done.id::text AND told.name = 'reservation.' || done.status
                    AND told.session = done.session_id
            WHERE done.status IN ('confirmed', 'rejected', 'expired', 'cancelled') AND coalesce(told.times, 0) <> 1
        """,
    ),
    Check(
        name="map_version_differs",
        says="the session's map version is not the last one in the log",
        sql="""
            SELECT session.id AS session, session.map_version, coalesce(max(log.map_version), 0) AS logged
            FROM sessions_app_session AS session LEFT JOIN realtime_event AS log ON log.session = session.id
            GROUP BY session.id HAVING session.map_version <> coalesce(max(log.map_version), 0)
        """,
    ),
    Check(
        name="map_differs_from_log",
        says="replaying the log gives a seat a different state from the table",
        sql="""
            SELECT seat.session_id AS session, seat.label, seat.status, coalesce(last.state, 'f') AS logged
            FROM sessions_app_seat AS seat
            LEFT JOIN (
                SELECT DISTINCT ON (event.session, change.key) event.session, change.key AS label, change.value AS state
                FROM realtime_event AS event CROSS JOIN jsonb_each_text(event.facts -> 'changes') AS change
                WHERE event.map_version IS NOT NULL
                ORDER BY event.session, change.key, event.map_version DESC
            ) AS last ON last.session = seat.session_id AND last.label = seat.label
            WHERE seat.status <> coalesce(last.state, 'f')
        """,
    ),
    Check(
        name="over_the_limit",
        says="a buyer got more places of a session than its limit at that time",
        sql=OVER_THE_LIMIT.format(limit="most", same="true"),
    ),
    Check(
        name="over_the_limit_of_its_type",
        says="a buyer got more places of a ticket type than its limit at that time",
        sql=OVER_THE_LIMIT.format(
            limit="most_of_type", same="early.ticket_type_id = late.ticket_type_id AND early.seats = '{}'"
        ),
    ),
    Check(
        name="total_differs_from_lines",
        says="the total of a hold is not the sum of its line items",
        sql="""
            SELECT owner.id AS reservation, owner.total, said.sum AS lines FROM reservations_reservation AS owner
            CROSS JOIN LATERAL (
                SELECT coalesce(sum((line #>> '{price,amount}')::bigint), 0) AS sum
                FROM jsonb_array_elements(owner.lines) AS line
            ) AS said
            WHERE owner.status IN ('held', 'paying') AND owner.total <> said.sum
        """,
    ),
    Check(
        name="voucher_used_too_often",
        says="more live reservations have a voucher than it had uses when the last of them got it",
        sql="""
            WITH used AS (
                SELECT owner.id, owner.voucher_id, min(told.id::text) AS first, max(told.id::text) AS last,
                    (array_agg((told.facts ->> 'voucher_uses')::int ORDER BY told.id))[1] AS uses
                FROM reservations_reservation AS owner JOIN realtime_event AS told
                    ON told.session = owner.session_id AND told.name IN ('reservation.held', 'reservation.priced')
                    AND told.facts ->> 'reservation' = owner.id::text
                        AND told.facts ->> 'voucher' = owner.voucher_id::text
                WHERE owner.status IN ('held', 'paying', 'confirmed') GROUP BY owner.id, owner.voucher_id
            )
            SELECT late.voucher_id AS voucher, late.id AS reservation, late.uses, count(*) AS used
            FROM used AS late JOIN used AS early ON early.voucher_id = late.voucher_id
                AND (early.id = late.id OR early.last < late.first)
            GROUP BY late.voucher_id, late.id, late.uses HAVING count(*) > late.uses
        """,
    ),
    # A request for the best places left names no seat, and is compared with no other.
    Check(
        name="overtaken",
        says="of two requests in the same lane for the same seat, the later arrival was allocated first",
        sql=f"""
            WITH moved AS (
                SELECT (facts ->> 'reservation')::uuid AS id,
                    ARRAY(SELECT jsonb_array_elements_text(facts -> 'seats')) AS asked
                FROM realtime_event WHERE name = 'reservation.held' AND facts ->> 'reservation' IN (
                    SELECT facts ->> 'reservation' FROM realtime_event WHERE name = 'reservation.moved'
                )
            ), wanted AS (
                SELECT id, session_id, arrival, settled_at, true AS won, seat, lane, best_available
                FROM reservations_reservation LEFT JOIN moved USING (id)
                CROSS JOIN unnest(coalesce(asked, seats)) AS seat WHERE held_at IS NOT NULL
                UNION ALL
                SELECT id, session_id, arrival, settled_at, false, conflict ->> 'seat', lane, best_available
                FROM reservations_reservation CROSS JOIN jsonb_array_elements(conflicts) AS conflict
                WHERE reason = '{SeatsUnavailable.reason}'
            ), as_allocated AS (
                SELECT *, max(arrival) OVER (
                    PARTITION BY session_id, arrival >> {EPOCH_BITS}, seat, lane ORDER BY settled_at, won DESC, arrival
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS furthest FROM wanted
            )
            SELECT early.id AS reservation, early.arrival, late.id AS overtaken_by, late.arrival AS its_arrival,
                early.session_id AS session, early.seat
            FROM as_allocated AS early JOIN wanted AS late
                ON late.session_id = early.session_id AND late.seat = early.seat AND late.lane = early.lane
                AND late.arrival >> {EPOCH_BITS} = early.arrival >> {EPOCH_BITS} AND late.arrival > early.arrival
                AND (late.settled_at < early.settled_at
                    OR (late.settled_at = early.settled_at AND late.won AND NOT early.won))
            WHERE early.furthest > early.arrival AND NOT early.best_available AND NOT late.best_available
        """,  # noqa: S608 our own constants; an epoch is the arrival's upper bits, across epochs nothing is promised
    ),
    Check(
        name="overtaken_for_stock",
        says=(
            "of two requests in the same lane for places of the same ticket type, the later arrival got places and "
            "the earlier one got none"
        ),
        sql=f"""
            WITH wanted AS (
                SELECT id, session_id, ticket_type_id, lane, arrival, quantity, settled_at, held_at IS NOT NULL AS won
                FROM reservations_reservation AS asked
                WHERE seats = '{{}}' AND ticket_type_id IS NOT NULL AND (
                    held_at IS NOT NULL OR reason = '{SoldOut.reason}' AND NOT EXISTS (
                        SELECT FROM realtime_event AS told WHERE told.session = asked.session_id
                            AND told.name = 'reservation.queued' AND told.facts ->> 'reservation' = asked.id::text
                    )
                )
            ), as_allocated AS (
                SELECT *, max(arrival) FILTER (WHERE won) OVER (
                    PARTITION BY ticket_type_id, arrival >> {EPOCH_BITS}, lane ORDER BY settled_at, won DESC, arrival
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS furthest FROM wanted
            )
            SELECT early.id AS reservation, early.arrival, late.id AS overtaken_by, late.arrival AS its_arrival,
                early.session_id AS session, early.ticket_type_id AS ticket_type
            FROM as_allocated AS early JOIN wanted AS late
                ON late.ticket_type_id = early.ticket_type_id AND late.lane = early.lane AND late.won
                AND late.arrival >> {EPOCH_BITS} = early.arrival >> {EPOCH_BITS} AND late.arrival > early.arrival
                AND late.settled_at <= early.settled_at AND late.quantity >= early.quantity
            WHERE NOT early.won AND early.furthest > early.arrival
        """,  # noqa: S608 our own constant; a request for more places than the other may have found too few
    ),
    Check(
        name="standing_by_in_vain",
        says=(
            "an order is on standby although its sale is over or enough places are free: are beat and `relay` running?"
        ),
        sql=f"""
            SELECT next.id AS reservation, next.session_id AS session, next.quantity, is_over
            FROM ({standby.NEXT}) AS next
            JOIN reservations_reservation AS order_ ON order_.id = next.id
            WHERE (is_over OR fits) AND order_.changed_at < clock_timestamp() - {GRACE}
        """,  # noqa: S608 our own constants
    ),
    Check(
        name="dead_letters_waiting",
        says=(
            "messages failed for good: see `manage.py dead_letters list`; messages in `holds.given_up` wait for `relay`"
        ),
        look=dead_letters_waiting,
    ),
    Check(
        name="queue_undrained",
        says="messages wait in a queue that no worker consumes from: see `/health` and the log of its workers",
        look=queues_undrained,
    ),
]
