"""Store when a session was last moved to an earlier time, and from when.

Buyers who asked before that get their deadlines from it.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0014_moved_sessions"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="moved_earlier_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="moved to an earlier time at"),
        ),
        migrations.AddField(
            model_name="session",
            name="moved_earlier_from",
            field=models.DateTimeField(editable=False, null=True, verbose_name="moved to an earlier time from"),
        ),
    ]
