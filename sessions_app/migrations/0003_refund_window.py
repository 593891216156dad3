"""Store until when buyers may give tickets back."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0002_lean_seats"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="refund_minutes",
            field=models.PositiveIntegerField(
                blank=True,
                default=60,
                help_text="Minutes before the start until which buyers may give tickets back. Empty: never.",
                null=True,
                validators=[django.core.validators.MaxValueValidator(525600)],
                verbose_name="refunds until",
            ),
        ),
    ]
