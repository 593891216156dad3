from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reservations", "0013_joined_guests")]

    operations = [
        migrations.AddField(
            "reservation",
            "origin",
            models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=24, verbose_name="address, as a hash"
            ),
        ),
        migrations.AddField(
            "reservation",
            "due",
            models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Until then it counts as held.",
                verbose_name="to be paid at the door",
            ),
        ),
        migrations.AddIndex(
            "reservation",
            models.Index(
                condition=models.Q(("origin", ""), _negated=True),
                fields=["session", "origin"],
                name="reservation_of_origin",
            ),
        ),
    ]
