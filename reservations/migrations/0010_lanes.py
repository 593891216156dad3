"""Store the lane of requests and reservations."""

import django.db.models.fields.json
import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0009_inbox_by_session"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="inboxrequest",
            name="inbox_of_session",
        ),
        migrations.AddField(
            model_name="inboxrequest",
            name="lane",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.functions.comparison.Coalesce(
                    django.db.models.fields.json.KeyTextTransform("lane", "request"),
                    models.Value(""),
                    output_field=models.TextField(),
                ),
                output_field=models.TextField(),
                verbose_name="lane",
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="lane",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Empty: everybody's.",
                max_length=40,
                verbose_name="lane",
            ),
        ),
        migrations.AddIndex(
            model_name="inboxrequest",
            index=models.Index(
                condition=models.Q(("attempts__lt", 5)),
                fields=["shard", "session", "lane", "arrival"],
                name="inbox_in_lanes",
            ),
        ),
    ]
