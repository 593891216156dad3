"""Sales at a glance asks what some days sold."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0002_sale_number")]

    operations = [
        migrations.AddIndex(model_name="sale", index=models.Index(fields=["sold_at"], name="sale_by_time")),
    ]
