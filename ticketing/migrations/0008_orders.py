from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("reservations", "0009_inbox_by_session"),
        ("ticketing", "0007_parts_of_a_price"),
    ]

    operations = [
        migrations.CreateModel(  # no table: reservations under another name
            name="Order",
            fields=[],
            options={
                "verbose_name": "order",
                "verbose_name_plural": "orders",
                "ordering": ["-id"],
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("reservations.reservation",),
        ),
    ]
