"""Add a deadline by which places must be paid for at the door, or go back on sale."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0012_rates"),
    ]

    operations = [
        migrations.AddField(
            model_name="tickettype",
            name="collect_minutes",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Minutes before the start at which places that nobody has paid for at the door go back on sale. Empty: never.",
                null=True,
                validators=[django.core.validators.MaxValueValidator(525600)],
                verbose_name="collected until",
            ),
        ),
        migrations.AddConstraint(
            model_name="tickettype",
            constraint=models.CheckConstraint(
                condition=models.Q(("collect_minutes__isnull", True), ("pay_at_door", True), _connector="OR"),
                name="ticket_type_only_door_sales_have_a_collecting_deadline",
            ),
        ),
    ]
