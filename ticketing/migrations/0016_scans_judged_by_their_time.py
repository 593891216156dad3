"""Outcomes of check-ins are named as the API names them; a ticket keeps what entitles to its concession."""

from django.db import migrations, models

OTHER_SESSION = "UPDATE ticketing_checkin SET outcome = 'other_session' WHERE outcome = 'wrong_session'"
WRONG_SESSION = "UPDATE ticketing_checkin SET outcome = 'wrong_session' WHERE outcome = 'other_session'"
# By the concession's id in the sale's lines, so that one which was renamed since is found too.
NOTES = """
UPDATE ticketing_ticket AS ticket SET concession_note = concession.note
FROM ticketing_sale AS sale, jsonb_array_elements(sale.lines) AS line, sessions_app_concession AS concession
WHERE sale.id = ticket.sale_id AND ticket.concession <> '' AND line #>> '{concession,name}' = ticket.concession
    AND concession.id = (line #>> '{concession,id}')::uuid AND concession.note <> ''
"""


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0015_links_of_letters"), ("sessions_app", "0013_collecting_deadline")]

    operations = [
        migrations.AddField(
            model_name="ticket",
            name="concession_note",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="As it was when it was sold.",
                max_length=200,
                verbose_name="what to show at the door",
            ),
        ),
        migrations.AlterField(
            model_name="checkin",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("admitted", "admitted"),
                    ("already_used", "already used"),
                    ("void", "void"),
                    ("other_session", "for another session"),
                    ("not_yet", "before the doors open"),
                    ("too_late", "after the session's end"),
                    ("session_cancelled", "session called off"),
                ],
                max_length=17,
                verbose_name="outcome",
            ),
        ),
        migrations.RunSQL(OTHER_SESSION, WRONG_SESSION),
        migrations.RunSQL(NOTES, migrations.RunSQL.noop),
    ]
