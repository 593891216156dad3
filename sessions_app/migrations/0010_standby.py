"""Allow orders to wait for places to come back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0009_lanes"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="standby",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Orders for places without a number wait, with their payment, where none are left, and get what comes back, first come, first served.",
                verbose_name="standby line",
            ),
        ),
    ]
