"""Add vouchers, and let reservations carry them."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import base.ids


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0007_orders"),
        ("sessions_app", "0005_prices"),
    ]

    operations = [
        migrations.CreateModel(
            name="Voucher",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "code",
                    models.CharField(
                        help_text="What people type, in capitals or not.",
                        max_length=32,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z0-9][A-Z0-9-]{2,31}$", "3 to 32 letters from A to Z, digits and hyphens."
                            )
                        ],
                        verbose_name="code",
                    ),
                ),
                (
                    "percent_off",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Off each place.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(100),
                        ],
                        verbose_name="percent off",
                    ),
                ),
                (
                    "amount",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="In minor units, off the whole order; instead of percent off.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="amount",
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        blank=True,
                        help_text="Of the amount.",
                        max_length=3,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z]{3}$", "Three capital letters of ISO 4217, like BRL."
                            )
                        ],
                        verbose_name="currency",
                    ),
                ),
                (
                    "uses",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Empty: without a limit.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="uses",
                    ),
                ),
                (
                    "uses_per_buyer",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Empty: without a limit.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="uses a buyer",
                    ),
                ),
                (
                    "valid_from",
                    models.DateTimeField(blank=True, help_text="Empty: at once.", null=True, verbose_name="valid from"),
                ),
                (
                    "valid_until",
                    models.DateTimeField(
                        blank=True, help_text="Empty: for good.", null=True, verbose_name="valid until"
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True, help_text="Without it nobody can put it on any more.", verbose_name="active"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: for all sessions.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="sessions_app.session",
                        verbose_name="session",
                    ),
                ),
            ],
            options={
                "verbose_name": "voucher",
                "verbose_name_plural": "vouchers",
                "ordering": ["code"],
            },
        ),
        migrations.AddField(
            model_name="reservation",
            name="voucher",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="reservations.voucher",
                verbose_name="voucher",
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("voucher__isnull", False)),
                fields=["voucher", "buyer"],
                name="reservation_of_voucher",
            ),
        ),
        migrations.AddConstraint(
            model_name="voucher",
            constraint=models.CheckConstraint(
                condition=models.Q(("code__regex", "^[A-Z0-9][A-Z0-9-]{2,31}$")), name="voucher_code_is_in_capitals"
            ),
        ),
        migrations.AddConstraint(
            model_name="voucher",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("amount__isnull", True),
                        ("currency", ""),
                        ("percent_off__isnull", False),
                        ("percent_off__range", (1, 100)),
                    ),
                    models.Q(
                        ("amount__gte", 1),
                        ("amount__isnull", False),
                        ("percent_off__isnull", True),
                        models.Q(("currency", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="voucher_is_a_share_or_an_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="voucher",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_from__isnull", True),
                    ("valid_until__isnull", True),
                    ("valid_until__gt", models.F("valid_from")),
                    _connector="OR",
                ),
                name="voucher_ends_after_it_begins",
            ),
        ),
        migrations.AddConstraint(
            model_name="voucher",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("uses__isnull", True), ("uses__gte", 1), _connector="OR"),
                    models.Q(("uses_per_buyer__isnull", True), ("uses_per_buyer__gte", 1), _connector="OR"),
                ),
                name="voucher_can_be_used_at_least_once",
            ),
        ),
    ]
