"""Count the uses of a voucher from its index alone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0011_standby"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="reservation",
            name="reservation_of_voucher",
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("status__in", ["held", "paying", "confirmed"]), ("voucher__isnull", False)),
                fields=["voucher", "buyer"],
                name="reservation_with_voucher",
            ),
        ),
    ]
