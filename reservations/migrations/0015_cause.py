"""Store with a reservation the id of the request that asked for it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reservations", "0014_caps_of_holds")]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="cause",
            field=models.CharField(blank=True, db_default="", default="", max_length=64, verbose_name="request id"),
        ),
    ]
