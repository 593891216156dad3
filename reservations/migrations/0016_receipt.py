"""Store where the receipt of an order without a payment goes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reservations", "0015_cause")]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="receipt",
            field=models.JSONField(
                blank=True,
                editable=False,
                help_text="Of an order that came without a payment.",
                null=True,
                verbose_name="where the receipt goes",
            ),
        ),
    ]
