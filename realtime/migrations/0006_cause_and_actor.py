"""Store the cause and the actor of each event. Older events have neither, and stay as they are."""

from django.db import migrations, models

TRIGGER = """
CREATE OR REPLACE TRIGGER event_log_is_never_changed BEFORE UPDATE ON realtime_event FOR EACH ROW
    WHEN (
        (OLD.id, OLD.name, OLD.session, OLD.buyer, OLD.map_version, OLD.facts, OLD.occurred_at, OLD.position{old})
        IS DISTINCT FROM
        (NEW.id, NEW.name, NEW.session, NEW.buyer, NEW.map_version, NEW.facts, NEW.occurred_at, NEW.position{new})
    )
    EXECUTE FUNCTION event_log_is_append_only();
"""
FORWARD = TRIGGER.format(old=", OLD.cause, OLD.actor", new=", NEW.cause, NEW.actor")
BACKWARD = TRIGGER.format(old="", new="")


class Migration(migrations.Migration):
    dependencies = [("realtime", "0005_events_to_publish")]

    operations = [
        migrations.AddField(
            model_name="event",
            name="cause",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The id of the request, or the name of the job.",
                max_length=64,
                verbose_name="set off by",
            ),
        ),
        migrations.AddField(
            model_name="event",
            name="actor",
            field=models.UUIDField(
                blank=True,
                help_text="The buyer or the member of staff who acted; empty for a job.",
                null=True,
                verbose_name="actor",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
