"""Limit how many requests of a session are admitted, and how many payments of orders begin, in a second."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0011_pay_at_the_door"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="admission_rate",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Whoever comes too early is told to come again in a moment, and has no place in line. Empty: everybody.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="requests let in a second",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="payment_rate",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="The other orders wait with their places, as long as a hold may last. Who pays by hand is never refused. Empty: as fast as it goes.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="payments of orders begun a second",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="payments_full_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="payments begun in advance until"),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("admission_rate__isnull", True), ("admission_rate__gte", 1), _connector="OR"),
                    models.Q(("payment_rate__isnull", True), ("payment_rate__gte", 1), _connector="OR"),
                ),
                name="session_lets_in_and_charges_at_least_one_a_second",
            ),
        ),
    ]
