"""Allow ticket types that are sold at once and paid for at the door."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0010_standby"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="tickettype",
            name="ticket_type_only_a_stock_has_rules_of_its_own",
        ),
        migrations.AddField(
            model_name="tickettype",
            name="pay_at_door",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Ordered without a payment it is sold at once, and its money is due when it is scanned.",
                verbose_name="may be paid at the door",
            ),
        ),
        migrations.AddConstraint(
            model_name="tickettype",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("capacity__isnull", False),
                    models.Q(
                        ("holds", True),
                        ("max_per_buyer__isnull", True),
                        ("max_per_order__isnull", True),
                        ("pay_at_door", False),
                        ("sells_from__isnull", True),
                        ("sells_until__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="ticket_type_only_a_stock_has_rules_of_its_own",
            ),
        ),
    ]
