"""Add pools that ticket types share, and limits for when and how many places of a type are sold."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import base.ids


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0006_settle_rate"),
    ]

    operations = [
        migrations.AddField(
            model_name="tickettype",
            name="max_per_buyer",
            field=models.PositiveIntegerField(
                blank=True,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="places a buyer",
            ),
        ),
        migrations.AddField(
            model_name="tickettype",
            name="max_per_order",
            field=models.PositiveIntegerField(
                blank=True,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="places an order",
            ),
        ),
        migrations.AddField(
            model_name="tickettype",
            name="sells_from",
            field=models.DateTimeField(
                blank=True, help_text="Empty: as soon as the session is on sale.", null=True, verbose_name="sells from"
            ),
        ),
        migrations.AddField(
            model_name="tickettype",
            name="sells_until",
            field=models.DateTimeField(
                blank=True, help_text="Empty: until the session starts.", null=True, verbose_name="sells until"
            ),
        ),
        migrations.CreateModel(
            name="Pool",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=60, verbose_name="name")),
                ("capacity", models.PositiveIntegerField(verbose_name="capacity")),
                ("available", models.IntegerField(editable=False, verbose_name="available")),
                (
                    "version",
                    models.PositiveBigIntegerField(
                        default=0, editable=False, verbose_name="changes of what is available"
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pools",
                        to="sessions_app.session",
                        verbose_name="session",
                    ),
                ),
            ],
            options={
                "verbose_name": "pool of places",
                "verbose_name_plural": "pools of places",
                "ordering": ["session_id", "name"],
            },
        ),
        migrations.AddField(
            model_name="tickettype",
            name="pools",
            field=models.ManyToManyField(
                blank=True,
                help_text="Each place takes one from each of these too.",
                related_name="ticket_types",
                to="sessions_app.pool",
                verbose_name="pools of places",
            ),
        ),
        migrations.AddConstraint(
            model_name="tickettype",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("capacity__isnull", False),
                    models.Q(
                        ("max_per_buyer__isnull", True),
                        ("max_per_order__isnull", True),
                        ("sells_from__isnull", True),
                        ("sells_until__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="ticket_type_only_a_stock_has_rules_of_its_own",
            ),
        ),
        migrations.AddConstraint(
            model_name="tickettype",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("sells_from__isnull", True),
                    ("sells_until__isnull", True),
                    ("sells_from__lt", models.F("sells_until")),
                    _connector="OR",
                ),
                name="ticket_type_sells_from_before_until",
            ),
        ),
        migrations.AddConstraint(
            model_name="tickettype",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("max_per_order__isnull", True), ("max_per_order__gte", 1), _connector="OR"),
                    models.Q(("max_per_buyer__isnull", True), ("max_per_buyer__gte", 1), _connector="OR"),
                ),
                name="ticket_type_sells_at_least_one",
            ),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.UniqueConstraint(fields=("session", "name"), name="pool_name_once_a_session"),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.CheckConstraint(
                condition=models.Q(("available__gte", 0)), name="pool_available_never_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.CheckConstraint(
                condition=models.Q(("available__lte", models.F("capacity"))), name="pool_available_never_above_capacity"
            ),
        ),
    ]
