"""Let a reservation carry its payment: then it is an order, paid as soon as its places are held."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("reservations", "0006_given_back")]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="payment",
            field=models.JSONField(
                blank=True,
                editable=False,
                help_text="Of an order: taken as soon as its places are held.",
                null=True,
                verbose_name="how it is to be paid",
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                fields=["changed_at"], name="reservation_to_pay", condition=Q(status="held", payment__isnull=False)
            ),
        ),
    ]
