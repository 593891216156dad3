"""Find orders that wait for places to come back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0010_lanes"),
        ("sessions_app", "0010_standby"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("status", "queued")),
                fields=["ticket_type", "arrival"],
                name="reservation_standing_by",
            ),
        ),
    ]
