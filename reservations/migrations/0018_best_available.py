"""Store whether a request took the best places left. The version before this one writes nothing there."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reservations", "0017_plainer_words")]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="best_available",
            field=models.BooleanField(
                blank=True,
                editable=False,
                help_text=(
                    "Whether the request named no seats and took the best. Empty: a version without this field wrote it."
                ),
                null=True,
                verbose_name="best places left",
            ),
        ),
    ]
