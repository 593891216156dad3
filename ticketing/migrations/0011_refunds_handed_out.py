"""Refunds that a person hands out, and an account of the ledger for the house's tills."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

OF_PERSONS = """
UPDATE ticketing_refund AS refund SET status = 'to_hand_out' FROM ticketing_sale AS sale, ticketing_payment AS payment
WHERE sale.id = refund.sale_id AND payment.id = sale.payment_id AND payment.method IN ('cash', 'card', 'door')
    AND refund.status IN ('asked', 'refused') AND refund.amount > 0
"""
OF_GATEWAYS = "UPDATE ticketing_refund SET status = 'refused' WHERE status = 'to_hand_out'"
INTO_THE_TILLS = """
WITH taken AS MATERIALIZED (
    SELECT gen_random_uuid() AS posting, entry.payment_id, entry.currency, sum(entry.amount) AS amount
    FROM ticketing_ledgerentry AS entry JOIN ticketing_payment AS payment ON payment.id = entry.payment_id
    WHERE payment.method IN ('cash', 'door') AND entry.account = 'gateway'
    GROUP BY entry.payment_id, entry.currency HAVING sum(entry.amount) <> 0
)
INSERT INTO ticketing_ledgerentry (posting, account, amount, currency, payment_id, posted_at)
SELECT posting, 'cash', amount, currency, payment_id, clock_timestamp() FROM taken
UNION ALL SELECT posting, 'gateway', -amount, currency, payment_id, clock_timestamp() FROM taken
"""
BALANCED = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"
STATUSES = [
    ("asked", "asked"),
    ("paid_back", "paid back"),
    ("refused", "refused by the gateway"),
    ("to_hand_out", "to be handed out at the counter"),
    ("handed_out", "handed out at the counter"),
]
ACCOUNTS = [
    ("gateway", "gateway clearing"),
    ("cash", "cash"),
    ("revenue", "revenue"),
    ("booking", "booking fees"),
    ("taxes", "taxes"),
    ("fees", "gateways' fees"),
    ("refunds", "refunds"),
    ("due", "due at the door"),
    ("owed", "owed to buyers"),
]


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0010_used_and_given_back")]

    operations = [
        migrations.AlterField(
            "refund",
            "status",
            models.CharField(choices=STATUSES, default="asked", max_length=12, verbose_name="status"),
        ),
        migrations.AddField(
            "refund",
            "refusals",
            models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="How often the gateway refused it.", verbose_name="refusals"
            ),
        ),
        migrations.AddField(
            "refund",
            "handed_out_at",
            models.DateTimeField(blank=True, null=True, verbose_name="handed out at"),
        ),
        migrations.AddField(
            "refund",
            "handed_out_by",
            models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="handed out by",
            ),
        ),
        migrations.AddField(
            "refund",
            "handed_out_in",
            models.CharField(
                blank=True,
                choices=[("cash", "in cash"), ("terminal", "on the card terminal")],
                db_default="",
                default="",
                max_length=8,
                verbose_name="handed out",
            ),
        ),
        migrations.AddIndex(
            "refund",
            models.Index(
                condition=Q(status__in=["to_hand_out", "refused"]), fields=["asked_at"], name="refund_for_a_person"
            ),
        ),
        migrations.AlterField(
            "ledgerentry",
            "account",
            models.CharField(choices=ACCOUNTS, max_length=10, verbose_name="account"),
        ),
        migrations.AddConstraint(
            "refund",
            models.CheckConstraint(
                condition=Q(status="handed_out", handed_out_at__isnull=False)
                | ~Q(status="handed_out") & Q(handed_out_at=None),
                name="refund_handed_out_has_a_time",
            ),
        ),
        migrations.RunSQL(OF_PERSONS, OF_GATEWAYS),
        migrations.RunSQL(INTO_THE_TILLS, migrations.RunSQL.noop),
        migrations.RunSQL(BALANCED, migrations.RunSQL.noop),
    ]
