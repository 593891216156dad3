"""What is due at the door for a ticket, and what was collected there."""

import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

import base.ids


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0010_lanes"),
        ("sessions_app", "0011_pay_at_the_door"),
        ("ticketing", "0008_orders"),
    ]

    operations = [
        migrations.CreateModel(
            name="Collection",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("amount", models.PositiveIntegerField(help_text="In minor units.", verbose_name="amount")),
                ("gate", models.CharField(blank=True, max_length=60, verbose_name="gate")),
                ("collected_at", models.DateTimeField(verbose_name="collected at")),
            ],
            options={
                "verbose_name": "money collected at the door",
                "verbose_name_plural": "money collected at the door",
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="sale",
            name="waived",
            field=models.PositiveBigIntegerField(
                db_default=0,
                default=0,
                help_text="In minor units: given back before it was paid at the door.",
                verbose_name="waived",
            ),
        ),
        migrations.AddField(
            model_name="ticket",
            name="due",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="In minor units: what nobody collected yet.",
                verbose_name="to pay at the door",
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
                    ("due", "due at the door"),
                    ("owed", "owed to buyers"),
                ],
                max_length=10,
                verbose_name="account",
            ),
        ),
        migrations.AlterField(
            model_name="payment",
            name="status",
            field=models.CharField(
                choices=[
                    ("started", "started"),
                    ("authorised", "authorised"),
                    ("captured", "captured"),
                    ("due", "to be paid at the door"),
                    ("declined", "declined"),
                    ("failed", "failed"),
                    ("voided", "voided"),
                    ("returning", "on its way back"),
                    ("returned", "given back"),
                ],
                default="started",
                max_length=10,
                verbose_name="status",
            ),
        ),
        migrations.AddConstraint(
            model_name="sale",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "total__gte",
                        django.db.models.expressions.CombinedExpression(models.F("refunded"), "+", models.F("waived")),
                    )
                ),
                name="sale_gives_back_no_more_than_it_cost",
            ),
        ),
        migrations.AddConstraint(
            model_name="ticket",
            constraint=models.CheckConstraint(
                condition=models.Q(("due__lte", models.F("price"))), name="ticket_owes_no_more_than_its_price"
            ),
        ),
        migrations.AddConstraint(
            model_name="ticket",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("status", "used"), _negated=True), ("due", 0), _connector="OR"),
                name="ticket_used_is_paid",
            ),
        ),
        migrations.AddField(
            model_name="collection",
            name="by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="gate staff",
            ),
        ),
        migrations.AddField(
            model_name="collection",
            name="ticket",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="collection",
                to="ticketing.ticket",
                verbose_name="ticket",
            ),
        ),
        migrations.AddConstraint(
            model_name="collection",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 1)), name="collection_takes_something"
            ),
        ),
    ]
