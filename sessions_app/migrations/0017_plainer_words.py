"""Say help texts, labels and messages in plainer words. The database does not change."""

import django.core.validators
from django.db import migrations, models

import sessions_app.models.sessions


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0016_renaming_is_a_change"),
    ]

    operations = [
        migrations.AlterField(
            model_name="concession",
            name="name",
            field=models.CharField(help_text="For example “Student”.", max_length=60, verbose_name="name"),
        ),
        migrations.AlterField(
            model_name="concession",
            name="price",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="In minor units. Give either this or a percentage.",
                null=True,
                verbose_name="price",
            ),
        ),
        migrations.AlterField(
            model_name="lane",
            name="code",
            field=models.CharField(
                default=sessions_app.models.sessions.new_lane_code,
                help_text="Buyers with this code may use the lane: by a link to the session's page with ?lane=CODE, or as lane_code in the API.",
                max_length=64,
                validators=[
                    django.core.validators.RegexValidator("^[!-~]+$", "Letters, digits and signs without spaces.")
                ],
                verbose_name="access code",
            ),
        ),
        migrations.AlterField(
            model_name="lane",
            name="name",
            field=models.CharField(
                help_text="The name that buyers read, for example “Members”.", max_length=40, verbose_name="name"
            ),
        ),
        migrations.AlterField(
            model_name="lane",
            name="weight",
            field=models.PositiveSmallIntegerField(
                default=1,
                help_text="How many requests of this lane are allocated for each request of the general lane while both lanes wait.",
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)],
                verbose_name="weight",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="accounts_required",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Guests must sign in before they can buy.",
                verbose_name="accounts only",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="admission_rate",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Requests above this rate are asked to come again in a moment, and do not join the queue. Empty: no limit.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="requests admitted per second",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="arrival_high",
            field=models.BigIntegerField(default=0, editable=False, verbose_name="last arrival allocated"),
        ),
        migrations.AlterField(
            model_name="session",
            name="booking_fee",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Added to the price of each ticket that is not free.",
                validators=[django.core.validators.MaxValueValidator(100000000)],
                verbose_name="booking fee",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="booking_fee_basis_points",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="A share of the price, added to the price as well: 750 is 7.5 percent.",
                validators=[django.core.validators.MaxValueValidator(10000)],
                verbose_name="booking fee in hundredths of a percent",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="currency",
            field=models.CharField(
                default="BRL",
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
            model_name="session",
            name="max_per_buyer",
            field=models.PositiveIntegerField(
                default=10,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="seats per buyer",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="on_sale_at",
            field=models.DateTimeField(
                blank=True, help_text="Empty: valid immediately.", null=True, verbose_name="on sale from"
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="payment_rate",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Further orders keep their places and wait, for at most the longest hold. Buyers who pay by hand are never refused. Empty: no limit.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="payments of orders started per second",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="payments_full_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="payments started in advance until"),
        ),
        migrations.AlterField(
            model_name="session",
            name="refund_minutes",
            field=models.PositiveIntegerField(
                blank=True,
                default=60,
                help_text="Minutes before the start. Buyers may give tickets back until then. Empty: never.",
                null=True,
                validators=[django.core.validators.MaxValueValidator(525600)],
                verbose_name="refunds until",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="room",
            field=models.CharField(
                blank=True,
                help_text="The name that buyers read, for example “Sala 1”.",
                max_length=80,
                verbose_name="room",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="settle_full_at",
            field=models.DateTimeField(editable=False, null=True, verbose_name="allocated in advance until"),
        ),
        migrations.AlterField(
            model_name="session",
            name="settle_rate",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Further requests wait in the queue in their order, and buyers need not ask again. Empty: no limit.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="requests allocated per second",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="standby",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="When no unnumbered places are left, orders wait with their payment. They get the places that come back, first come, first served.",
                verbose_name="standby",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="tax_basis_points",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Contained in the price and shown separately: 700 is 7 percent of the price without tax.",
                validators=[django.core.validators.MaxValueValidator(10000)],
                verbose_name="tax in hundredths of a percent",
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="collect_minutes",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Minutes before the start. Places that are not paid for at the door by then go back on sale. Empty: never.",
                null=True,
                validators=[django.core.validators.MaxValueValidator(525600)],
                verbose_name="collect until",
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="holds",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="If not, buyers can only buy it at once, with an order that carries its payment.",
                verbose_name="may be held",
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="max_per_buyer",
            field=models.PositiveIntegerField(
                blank=True,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="places per buyer",
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="max_per_order",
            field=models.PositiveIntegerField(
                blank=True,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="places per order",
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="pay_at_door",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="An order without a payment buys it at once. The buyer pays when the ticket is scanned at the door.",
                verbose_name="may be paid at the door",
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="pools",
            field=models.ManyToManyField(
                blank=True,
                help_text="Each place also takes one place from each of these pools.",
                related_name="ticket_types",
                to="sessions_app.pool",
                verbose_name="pools of places",
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="sells_from",
            field=models.DateTimeField(
                blank=True, help_text="Empty: on sale as soon as the session is.", null=True, verbose_name="sells from"
            ),
        ),
        migrations.AlterField(
            model_name="tickettype",
            name="sells_until",
            field=models.DateTimeField(
                blank=True, help_text="Empty: on sale until the session starts.", null=True, verbose_name="sells until"
            ),
        ),
    ]
