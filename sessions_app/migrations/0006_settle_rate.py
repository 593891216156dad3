"""Limit how many requests a second are allocated for a session."""

import django.core.validators
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0005_prices")]

    operations = [
        migrations.AddField(
            model_name="session",
            name="settle_rate",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="The others wait in their order, and nobody needs to ask again. Empty: as fast as it goes.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="requests settled a second",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="settle_full_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="settled in advance until"),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=Q(settle_rate__isnull=True) | Q(settle_rate__gte=1),
                name="session_settles_at_least_one_a_second",
            ),
        ),
    ]
