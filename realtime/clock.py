"""The one clock that decides: the database's. Machines of an installation may disagree; PostgreSQL doesn't with itself."""

import datetime as dt

from django.db import connection


def db_now() -> dt.datetime:
    """The database's wall clock at this statement (not at the start of the transaction), in UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    now: dt.datetime = row[0]
    return now.astimezone(dt.UTC)
