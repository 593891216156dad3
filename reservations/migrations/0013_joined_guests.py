"""Store which guest became which account."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reservations", "0012_uses_of_vouchers")]

    operations = [
        migrations.CreateModel(
            name="JoinedGuest",
            fields=[
                ("guest", models.UUIDField(editable=False, primary_key=True, serialize=False, verbose_name="guest")),
                ("account", models.UUIDField(editable=False, verbose_name="account")),
                (
                    "joined_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name="joined at"
                    ),
                ),
            ],
            options={
                "verbose_name": "guest who became an account",
                "verbose_name_plural": "guests who became accounts",
                "ordering": ["-joined_at"],
                "indexes": [models.Index(fields=["account", "joined_at"], name="joined_guests_of_account")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("guest", models.F("account")), _negated=True),
                        name="joined_guest_is_not_its_own_account",
                    )
                ],
            },
        ),
    ]
