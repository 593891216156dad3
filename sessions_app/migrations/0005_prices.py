"""Add concessions, booking fees and taxes to sessions."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models

import base.ids


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0004_stock_version"),
    ]

    operations = [
        migrations.CreateModel(
            name="Concession",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(help_text="Like “Student”.", max_length=60, verbose_name="name")),
                (
                    "percent_off",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(100)],
                        verbose_name="percent off",
                    ),
                ),
                (
                    "price",
                    models.PositiveIntegerField(
                        blank=True, help_text="In minor units; instead of percent off.", null=True, verbose_name="price"
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=200, verbose_name="what to show at the door")),
                ("position", models.PositiveIntegerField(default=0, verbose_name="order")),
            ],
            options={
                "verbose_name": "concession",
                "verbose_name_plural": "concessions",
                "ordering": ["session_id", "position", "id"],
            },
        ),
        migrations.AddField(
            model_name="session",
            name="booking_fee",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Added to the price of each ticket that costs something.",
                validators=[django.core.validators.MaxValueValidator(100000000)],
                verbose_name="booking fee",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="booking_fee_basis_points",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Of the price, and added to it as well: 750 is 7.5 percent.",
                validators=[django.core.validators.MaxValueValidator(10000)],
                verbose_name="booking fee in hundredths of a percent",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="tax_basis_points",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Contained in the price, and told as such: 700 is 7 percent on what is left without it.",
                validators=[django.core.validators.MaxValueValidator(10000)],
                verbose_name="tax in hundredths of a percent",
            ),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("booking_fee__lte", 100000000),
                    ("booking_fee_basis_points__lte", 10000),
                    ("tax_basis_points__lte", 10000),
                ),
                name="session_fees_and_tax_are_bounded",
            ),
        ),
        migrations.AddField(
            model_name="concession",
            name="session",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="concessions",
                to="sessions_app.session",
                verbose_name="session",
            ),
        ),
        migrations.AddConstraint(
            model_name="concession",
            constraint=models.UniqueConstraint(
                models.F("session"),
                django.db.models.functions.text.Lower("name"),
                name="concession_name_once_a_session",
            ),
        ),
        migrations.AddConstraint(
            model_name="concession",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("percent_off__isnull", False), ("percent_off__lte", 100), ("price__isnull", True)),
                    models.Q(("percent_off__isnull", True), ("price__isnull", False)),
                    _connector="OR",
                ),
                name="concession_is_a_share_or_a_price",
            ),
        ),
    ]
