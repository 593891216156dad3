"""A ticket knows which parts of its price are fee and tax; the ledger has accounts for both."""

import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ticketing", "0006_doors"),
    ]

    operations = [
        migrations.AddField(
            model_name="ticket",
            name="concession",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Its name when it was sold.",
                max_length=60,
                verbose_name="concession",
            ),
        ),
        migrations.AddField(
            model_name="ticket",
            name="fee",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="In minor units; part of the price.", verbose_name="booking fee"
            ),
        ),
        migrations.AddField(
            model_name="ticket",
            name="tax",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="In minor units; part of the price.", verbose_name="tax"
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="account",
            field=models.CharField(
                choices=[
                    ("gateway", "gateway clearing"),
                    ("revenue", "revenue"),
                    ("booking", "booking fees"),
                    ("taxes", "taxes"),
                    ("fees", "gateways' fees"),
                    ("refunds", "refunds"),
                    ("owed", "owed to buyers"),
                ],
                max_length=10,
                verbose_name="account",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="price",
            field=models.PositiveIntegerField(help_text="In minor units, with the fee.", verbose_name="price"),
        ),
        migrations.AddConstraint(
            model_name="ticket",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "price__gte",
                        django.db.models.expressions.CombinedExpression(models.F("fee"), "+", models.F("tax")),
                    )
                ),
                name="ticket_price_covers_its_fee_and_tax",
            ),
        ),
    ]
