"""Help texts, labels and messages in plainer words. The database does not change."""

import django.db.models.functions.datetime
import django.db.models.functions.text
from django.db import migrations, models

import ticketing.models.sales


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("ticketing", "0018_closing_ends_credentials"),
    ]

    operations = [
        migrations.AlterField(
            model_name="checkin",
            name="recorded_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(),
                help_text="Later than the scan if the gate had no connection.",
                verbose_name="recorded at",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="amount",
            field=models.BigIntegerField(
                help_text="In minor units. A negative amount is a credit.", verbose_name="amount"
            ),
        ),
        migrations.AlterField(
            model_name="payment",
            name="token",
            field=models.CharField(
                help_text="The token that the gateway gave the browser; never a card number.",
                max_length=120,
                verbose_name="token",
            ),
        ),
        migrations.AlterField(
            model_name="refund",
            name="refusals",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="How often the gateway refused the refund.", verbose_name="refusals"
            ),
        ),
        migrations.AlterField(
            model_name="sale",
            name="lines",
            field=models.JSONField(default=list, verbose_name="line items"),
        ),
        migrations.AlterField(
            model_name="sale",
            name="links",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How many times the links in its letters were revoked.",
                verbose_name="generation of its links",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="code",
            field=models.CharField(
                default=ticketing.models.sales.new_code,
                help_text="The code to type at the gate. The scanned code is this one with a signature (ticketing/codes.py).",
                max_length=64,
                unique=True,
                verbose_name="short code",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="concession",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The name at the time of the sale.",
                max_length=60,
                verbose_name="concession",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="concession_note",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The note at the time of the sale.",
                max_length=200,
                verbose_name="what to show at the door",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="due",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="In minor units: the amount that the gate has not collected yet.",
                verbose_name="to pay at the door",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="holder",
            field=models.UUIDField(
                blank=True,
                help_text="The buyer who has the ticket now; empty: the buyer of the sale.",
                null=True,
                verbose_name="passed on to",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="links",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How many times the links in its letters were revoked.",
                verbose_name="generation of its links",
            ),
        ),
        migrations.AlterField(
            model_name="ticket",
            name="price",
            field=models.PositiveIntegerField(help_text="In minor units, including the fee.", verbose_name="price"),
        ),
        migrations.AlterField(
            model_name="transfer",
            name="code",
            field=models.CharField(max_length=64, unique=True, verbose_name="old short code"),
        ),
        migrations.AlterField(
            model_name="user",
            name="generation",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How many times all its credentials were revoked.",
                verbose_name="generation",
            ),
        ),
        migrations.AlterConstraint(
            model_name="user",
            name="user_name_once_whatever_its_case",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Upper("username"),
                name="user_name_once_whatever_its_case",
                violation_error_message="This name is already taken. Choose another name.",
            ),
        ),
    ]
