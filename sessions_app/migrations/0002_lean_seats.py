"""Change no index of a seat for a hold, and let the session count its free seats."""

import django.db.models.deletion
from django.db import migrations, models

COUNT = """
UPDATE sessions_app_session AS session SET free_seats = seats.free
FROM (SELECT session_id, count(*) AS free FROM sessions_app_seat WHERE status = 'f' GROUP BY session_id) AS seats
WHERE seats.session_id = session.id
"""
# Room in each page for the next state of its seats.
SPARE = "ALTER TABLE sessions_app_seat SET (fillfactor = 60)"
SPARE_NOTHING = "ALTER TABLE sessions_app_seat RESET (fillfactor)"


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0001_catalogue")]

    operations = [
        migrations.AddField(
            model_name="session",
            name="free_seats",
            field=models.PositiveIntegerField(default=0, editable=False, verbose_name="free seats"),
        ),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        migrations.RemoveIndex(model_name="seat", name="seat_of_reservation"),
        migrations.RemoveIndex(model_name="seat", name="seat_counts"),
        migrations.AlterField(
            model_name="seat",
            name="session",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="seats",
                to="sessions_app.session",
                verbose_name="session",
            ),
        ),
        migrations.RunSQL(SPARE, SPARE_NOTHING),
    ]
