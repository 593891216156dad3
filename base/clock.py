"""Read the one clock that decides: the database's.

Machines of an installation may disagree; PostgreSQL agrees with itself.
"""

import datetime as dt
import time

from django.db import connection

EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # dates that people may enter; pages can show these in any time zone
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
_ahead = 0.0  # seconds by which the database's clock was ahead at the last `db_now`


def db_now() -> dt.datetime:
    """Return the database's wall clock at this statement (not at the start of the transaction), in UTC."""
    global _ahead
    asked = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    now: dt.datetime = row[0]
    _ahead = now.timestamp() - (asked + time.time()) / 2
    return now.astimezone(dt.UTC)


def reckoned_now() -> dt.datetime:
    """Estimate the database's time from this process's clock, without a query: to show times, never to decide."""
    return dt.datetime.fromtimestamp(time.time() + _ahead, dt.UTC)


def rfc3339(moment: dt.datetime) -> str:
    """Return a time as the API writes it (RFC 3339, in UTC)."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
