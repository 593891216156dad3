"""Write the rows of a sale by psycopg in one transaction, without gateway, queue, decisions or messages."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg

from reservations.hold_request import HoldRequest

STEPS = (
    "SELECT FROM sessions_app_session WHERE id = %(session)s FOR NO KEY UPDATE",
    """
    INSERT INTO ticketing_payment (id, reservation_id, method, token, status, amount, currency, reference, reason, email, language)
    VALUES (%(payment)s, %(reservation)s, 'raw', 'ok', 'captured', 2500, 'BRL', '', '', '', 'en')
    """,
    (
        "UPDATE reservations_reservation SET status = 'confirmed', sale_id = %(sale)s, changed_at = now()"
        " WHERE id = %(reservation)s"
    ),
    """
    UPDATE sessions_app_seat SET status = 's', held_until = NULL WHERE session_id = %(session)s AND label = %(seat)s
    RETURNING id, ticket_type_id
    """,
)
WRITES = (
    """
    INSERT INTO ticketing_sale
        (id, number, reservation_id, payment_id, session_id, buyer, lines, total, refunded, currency, email, language)
    VALUES (%(sale)s, nextval('sale_number'), %(reservation)s, %(payment)s, %(session)s, %(buyer)s, %(lines)s, 2500, 0, 'BRL', '', 'en')
    """,
    """
    INSERT INTO ticketing_ticket (id, sale_id, session_id, seat_id, ticket_type_id, price, code, status, used_gate)
    VALUES (%(ticket)s, %(sale)s, %(session)s, %(chair)s, %(kind)s, 2500, %(code)s, 'valid', '')
    """,
    """
    INSERT INTO ticketing_ledgerentry (posting, account, amount, currency, payment_id)
    VALUES (%(posting)s, 'gateway', 2500, 'BRL', %(payment)s), (%(posting)s, 'revenue', -2500, 'BRL', %(payment)s)
    """,
    """
    WITH map AS (UPDATE sessions_app_session SET map_version = map_version + 1 WHERE id = %(session)s RETURNING map_version)
    INSERT INTO realtime_event (id, name, session, buyer, map_version, facts, occurred_at)
    SELECT %(told)s::uuid, 'seat.sold', %(session)s::uuid, NULL::uuid, map_version, %(changes)s::jsonb, clock_timestamp() FROM map
    UNION ALL
    SELECT %(told_too)s::uuid, 'reservation.confirmed', %(session)s::uuid, %(buyer)s::uuid, NULL, %(facts)s::jsonb, clock_timestamp()
    """,
)


@dataclass
class Sale:
    """Hold what is known before the clock runs."""

    hold: HoldRequest
    row: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        seat = self.hold.seats[0]
        names = ("payment", "sale", "ticket", "posting", "told", "told_too")
        self.row = {name: uuid.uuid4() for name in names} | {
            "session": self.hold.session,
            "reservation": self.hold.id,
            "buyer": self.hold.buyer,
            "seat": seat,
            "code": uuid.uuid4().hex[:26],
            "lines": json.dumps([{"seat": seat, "price": {"amount": 2500, "currency": "BRL"}}]),
            "changes": json.dumps({"changes": {seat: "s"}}),
            "facts": json.dumps({"reservation": str(self.hold.id)}),
        }


def sell(connection: psycopg.Connection, sale: Sale) -> None:
    with connection.transaction():
        found: tuple[Any, ...] | None = None
        for step in STEPS:
            cursor = connection.execute(step, sale.row)
            found = cursor.fetchone() if cursor.description and step is STEPS[-1] else None
        assert found is not None
        sale.row["chair"], sale.row["kind"] = found
        for write in WRITES:
            connection.execute(write, sale.row)
