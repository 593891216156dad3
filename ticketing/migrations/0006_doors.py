"""Check-ins, and tickets that change hands."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import base.ids
import ticketing.models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0003_refund_window"),
        ("ticketing", "0005_ledger"),
    ]

    operations = [
        migrations.CreateModel(
            name="CheckIn",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("admitted", "admitted"),
                            ("already_used", "already used"),
                            ("void", "void"),
                            ("wrong_session", "for another session"),
                        ],
                        max_length=13,
                        verbose_name="outcome",
                    ),
                ),
                ("gate", models.CharField(blank=True, max_length=60, verbose_name="gate")),
                ("scanned_at", models.DateTimeField(verbose_name="scanned at")),
                (
                    "recorded_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="Later than the scan where the gate had no connection.",
                        verbose_name="recorded at",
                    ),
                ),
            ],
            options={
                "verbose_name": "check-in",
                "verbose_name_plural": "check-ins",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Transfer",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("code", models.CharField(max_length=64, unique=True, verbose_name="short code until then")),
                ("giver", models.UUIDField(verbose_name="from")),
                ("receiver", models.UUIDField(verbose_name="to")),
                (
                    "passed_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="passed on at"
                    ),
                ),
            ],
            options={
                "verbose_name": "transfer",
                "verbose_name_plural": "transfers",
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="ticket",
            name="holder",
            field=models.UUIDField(
                blank=True,
                help_text="The buyer who has it now; empty: who bought it.",
                null=True,
                verbose_name="passed on to",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="code",
            field=models.CharField(
                default=ticketing.models.new_code,
                help_text="What can be typed at the gate. Signed, it is the code that is scanned (ticketing/codes.py).",
                max_length=64,
                unique=True,
                verbose_name="short code",
            ),
        ),
        migrations.AddIndex(
            model_name="ticket",
            index=models.Index(
                condition=models.Q(("holder__isnull", False)), fields=["holder"], name="ticket_of_holder"
            ),
        ),
        migrations.AddField(
            model_name="checkin",
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
            model_name="checkin",
            name="ticket",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="check_ins",
                to="ticketing.ticket",
                verbose_name="ticket",
            ),
        ),
        migrations.AddField(
            model_name="transfer",
            name="ticket",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="transfers",
                to="ticketing.ticket",
                verbose_name="ticket",
            ),
        ),
        migrations.AddConstraint(
            model_name="checkin",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "admitted")), fields=("ticket",), name="check_in_one_admission_a_ticket"
            ),
        ),
    ]
