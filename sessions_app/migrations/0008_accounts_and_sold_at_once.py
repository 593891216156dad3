"""Allow sessions for accounts only, and ticket types that can only be bought at once."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0007_pools_and_rules_of_ticket_types"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="tickettype",
            name="ticket_type_only_a_stock_has_rules_of_its_own",
        ),
        migrations.AddField(
            model_name="session",
            name="accounts_required",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Guests must sign in before they may ask.",
                verbose_name="only for accounts",
            ),
        ),
        migrations.AddField(
            model_name="tickettype",
            name="holds",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Otherwise it is sold at once or not at all: by orders that carry their payment.",
                verbose_name="may be held",
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
                        ("sells_from__isnull", True),
                        ("sells_until__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="ticket_type_only_a_stock_has_rules_of_its_own",
            ),
        ),
    ]
