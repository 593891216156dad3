"""Allow a purchase without places: all of them were given back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0005_lean_indexes"),
        ("sessions_app", "0003_refund_window"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="reservation",
            name="reservation_asks_for_something",
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 1), ("status", "confirmed"), _connector="OR"),
                name="reservation_asks_for_something",
            ),
        ),
    ]
