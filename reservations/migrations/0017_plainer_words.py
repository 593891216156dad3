"""Say help texts, labels and messages in plainer words. The database does not change."""

import django.core.validators
import django.db.models.deletion
import django.db.models.fields.json
import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0016_receipt"),
        ("sessions_app", "0017_plainer_words"),
    ]

    operations = [
        migrations.AlterField(
            model_name="inboxrequest",
            name="session",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.functions.comparison.Coalesce(
                    django.db.models.fields.json.KeyTextTransform("session", "request"),
                    models.Value(""),
                    output_field=models.TextField(),
                ),
                help_text="The session that the request names; empty if the request cannot be read.",
                output_field=models.TextField(),
                verbose_name="session",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="arrival",
            field=models.BigIntegerField(
                help_text="Its number in the order in which requests arrived for this session.", verbose_name="arrival"
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="due",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Until then the place counts as held.",
                verbose_name="to be paid at the door",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="lane",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Empty: the general lane.",
                max_length=40,
                verbose_name="lane",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="lines",
            field=models.JSONField(
                default=list,
                help_text="The seat, ticket type and price of each place at the time of the hold.",
                verbose_name="line items",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="payment",
            field=models.JSONField(
                blank=True,
                editable=False,
                help_text="Only for an order. The payment is taken as soon as the places are held.",
                null=True,
                verbose_name="means of payment",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="pinned_until",
            field=models.DateTimeField(
                blank=True,
                help_text="The seats are kept at least until this time, because a payment is under way.",
                null=True,
                verbose_name="pinned until",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="receipt",
            field=models.JSONField(
                blank=True,
                editable=False,
                help_text="Only for an order without a payment.",
                null=True,
                verbose_name="e-mail for the receipt",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="settled_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="allocated at"),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="amount",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="In minor units, taken off the whole order. Give either this or a percentage.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="amount",
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="code",
            field=models.CharField(
                help_text="The code that buyers type; upper and lower case are the same.",
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
        migrations.AlterField(
            model_name="voucher",
            name="currency",
            field=models.CharField(
                blank=True,
                help_text="The currency of the amount.",
                max_length=3,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[A-Z]{3}$", "Three capital letters of ISO 4217, for example BRL."
                    )
                ],
                verbose_name="currency",
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="is_active",
            field=models.BooleanField(
                default=True, help_text="If it is not active, buyers can no longer use it.", verbose_name="active"
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="percent_off",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="This discount applies to each place.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)],
                verbose_name="percent off",
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="session",
            field=models.ForeignKey(
                blank=True,
                help_text="Empty: valid for all sessions.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="sessions_app.session",
                verbose_name="session",
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="uses",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Empty: no limit.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="uses",
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="uses_per_buyer",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Empty: no limit.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="uses per buyer",
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="valid_from",
            field=models.DateTimeField(
                blank=True, help_text="Empty: valid immediately.", null=True, verbose_name="valid from"
            ),
        ),
        migrations.AlterField(
            model_name="voucher",
            name="valid_until",
            field=models.DateTimeField(
                blank=True, help_text="Empty: valid forever.", null=True, verbose_name="valid until"
            ),
        ),
    ]
