"""Let the relay find unpublished events by position. The indexes change without a lock that the sale would wait for."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("realtime", "0004_event_position")]

    operations = [
        AddIndexConcurrently(
            model_name="event",
            index=models.Index(
                F("position").asc(nulls_first=True),
                F("id").asc(),
                condition=models.Q(("published_at__isnull", True)),
                name="event_to_publish",
            ),
        ),
        RemoveIndexConcurrently(model_name="event", name="event_unpublished"),
    ]
