"""Money: the ledger, refunds by ticket, what gateways tell us, and the sandbox's own record."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import base.ids


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0006_given_back"),
        ("ticketing", "0003_sales_by_time"),
    ]

    operations = [
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("posting", models.UUIDField(verbose_name="posting")),
                (
                    "account",
                    models.CharField(
                        choices=[
                            ("gateway", "gateway clearing"),
                            ("revenue", "revenue"),
                            ("fees", "gateways' fees"),
                            ("refunds", "refunds"),
                            ("owed", "owed to buyers"),
                        ],
                        max_length=10,
                        verbose_name="account",
                    ),
                ),
                (
                    "amount",
                    models.BigIntegerField(help_text="In minor units; below zero: credit.", verbose_name="amount"),
                ),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                (
                    "posted_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="posted at"
                    ),
                ),
            ],
            options={
                "verbose_name": "ledger entry",
                "verbose_name_plural": "ledger entries",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="SandboxEvent",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("attempt", models.UUIDField(verbose_name="attempt")),
                ("kind", models.CharField(max_length=40, verbose_name="kind")),
                ("times", models.PositiveSmallIntegerField(default=1, verbose_name="times")),
                ("due_at", models.DateTimeField(verbose_name="due at")),
            ],
            options={
                "verbose_name": "sandbox event",
                "verbose_name_plural": "sandbox events",
                "ordering": ["due_at", "id"],
            },
        ),
        migrations.CreateModel(
            name="SandboxRefund",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("amount", models.PositiveBigIntegerField(verbose_name="amount")),
            ],
            options={
                "verbose_name": "sandbox refund",
                "verbose_name_plural": "sandbox refunds",
            },
        ),
        migrations.CreateModel(
            name="WebhookEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("gateway", models.CharField(max_length=20, verbose_name="gateway")),
                ("event", models.CharField(max_length=120, verbose_name="event")),
                ("kind", models.CharField(max_length=60, verbose_name="kind")),
                (
                    "received_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="received at"
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook event",
                "verbose_name_plural": "webhook events",
                "ordering": ["-id"],
            },
        ),
        migrations.RemoveIndex(
            model_name="payment",
            name="payment_open",
        ),
        migrations.AddField(
            model_name="refund",
            name="asked_by",
            field=models.UUIDField(blank=True, null=True, verbose_name="asked by"),
        ),
        migrations.AddField(
            model_name="refund",
            name="changed_at",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="changed at"),
        ),
        migrations.AddField(
            model_name="ticket",
            name="refund",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="tickets",
                to="ticketing.refund",
                verbose_name="refund",
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
        migrations.AlterField(
            model_name="refund",
            name="status",
            field=models.CharField(
                choices=[("asked", "asked"), ("paid_back", "paid back"), ("refused", "refused by the gateway")],
                default="asked",
                max_length=10,
                verbose_name="status",
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("status__in", ["started", "authorised", "returning"])),
                fields=["changed_at"],
                name="payment_unsettled",
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("reason", "gateway_silent"), ("status", "failed")),
                fields=["changed_at"],
                name="payment_silent",
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(condition=models.Q(("status", "asked")), fields=["changed_at"], name="refund_asked"),
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="ticketing.payment",
                verbose_name="payment",
            ),
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="refund",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="ticketing.refund",
                verbose_name="refund",
            ),
        ),
        migrations.AddField(
            model_name="sandboxrefund",
            name="charge",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refunds",
                to="ticketing.sandboxcharge",
                verbose_name="sandbox charge",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookevent",
            constraint=models.UniqueConstraint(fields=("gateway", "event"), name="webhook_event_once_a_gateway"),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(fields=["posting"], name="ledger_of_posting"),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(fields=["posted_at"], name="ledger_by_time"),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount", 0), _negated=True), name="ledger_entry_moves_something"
            ),
        ),
    ]
