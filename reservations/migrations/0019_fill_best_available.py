"""Fill the column of older reservations from their fingerprint or, for a request with terms, from their event.

A few thousand rows are locked at a time, in the order of their ids, while sales go on. It can be repeated.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import migrations

ROWS = 5_000
FIRST = UUID(int=0)
BY_FINGERPRINT = """
WITH batch AS (
    SELECT id FROM reservations_reservation WHERE id > %(after)s ORDER BY id LIMIT %(rows)s FOR NO KEY UPDATE
), filled AS (
    UPDATE reservations_reservation AS row SET best_available = fingerprint IN (
        SELECT left(encode(sha256(convert_to(
            '["' || replace(session_id::text, '-', '') || '", [], "' || coalesce(ticket_type_id::text, 'None') || '", '
            || quantity || ', true, ' || accessible || ']', 'UTF8')), 'hex'), 32)
        FROM unnest(ARRAY['true', 'false']) AS accessible
    ) FROM batch WHERE row.id = batch.id AND best_available IS NULL
)
SELECT id FROM batch ORDER BY id DESC LIMIT 1
"""
BY_EVENT = """
UPDATE reservations_reservation AS row SET best_available = true FROM realtime_event AS told
WHERE told.name = 'reservation.held' AND told.facts ->> 'best_available' = 'true'
    AND (told.facts ->> 'reservation')::uuid = row.id AND row.best_available IS NOT TRUE
"""


def fill(_apps: Any, editor: Any) -> None:
    with editor.connection.cursor() as cursor:
        found: tuple[UUID] | None = (FIRST,)
        while found is not None:
            cursor.execute(BY_FINGERPRINT, {"after": found[0], "rows": ROWS})
            found = cursor.fetchone()
        cursor.execute(BY_EVENT)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("reservations", "0018_best_available"), ("realtime", "0007_plainer_words")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
