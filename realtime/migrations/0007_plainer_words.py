"""Say help texts, labels and messages in plainer words. The database does not change."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("realtime", "0006_cause_and_actor"),
    ]

    operations = [
        migrations.AlterField(
            model_name="event",
            name="actor",
            field=models.UUIDField(
                blank=True,
                help_text="The buyer or the staff member who acted; empty if a job acted.",
                null=True,
                verbose_name="actor",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="cause",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The id of the request or the name of the job that caused it.",
                max_length=64,
                verbose_name="caused by",
            ),
        ),
    ]
