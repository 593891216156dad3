"""Payments and refunds keep the id of the request that began them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0012_accounts")]

    operations = [
        migrations.AddField(
            model_name=model,
            name="cause",
            field=models.CharField(blank=True, db_default="", default="", max_length=64, verbose_name="request id"),
        )
        for model in ("payment", "refund")
    ]
