"""Store in the inbox which session each request names."""

from django.db import migrations, models
from django.db.models import Q, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):
    dependencies = [("reservations", "0008_vouchers"), ("sessions_app", "0006_settle_rate")]

    operations = [
        migrations.AddField(
            model_name="inboxrequest",
            name="session",
            field=models.GeneratedField(
                db_persist=True,
                expression=Coalesce(KeyTextTransform("session", "request"), Value(""), output_field=models.TextField()),
                help_text="As the request says it; empty where it can't be read.",
                output_field=models.TextField(),
                verbose_name="session",
            ),
        ),
        migrations.AddIndex(
            model_name="inboxrequest",
            index=models.Index(
                fields=["shard", "session", "arrival"], name="inbox_of_session", condition=Q(attempts__lt=5)
            ),
        ),
    ]
