"""Keep one index for each query, and find expired holds session by session."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reservations", "0004_keyed"), ("sessions_app", "0002_lean_seats")]

    operations = [
        migrations.RemoveIndex(model_name="reservation", name="reservation_to_expire"),
        migrations.RemoveIndex(model_name="reservation", name="reservation_live_of_buyer"),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("status__in", ["held", "paying", "confirmed"])),
                fields=["buyer", "session"],
                name="reservation_live_of_buyer",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="session",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="sessions_app.session",
                verbose_name="session",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="ticket_type",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="sessions_app.tickettype",
                verbose_name="ticket type",
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("status", "held")), fields=["session", "expires_at"], name="reservation_held"
            ),
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("ticket_type__isnull", False)), fields=["ticket_type"], name="reservation_of_stock"
            ),
        ),
    ]
