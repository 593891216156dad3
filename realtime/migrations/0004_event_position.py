"""Give events a position in the log, which rises in the order of a session's commits. Older rows keep none."""

from django.db import migrations, models
from django.db.models import Func, Value

# In two steps: adding a column with this default would rewrite the table, and the sale would wait.
ADD = """
CREATE SEQUENCE realtime_event_position;
ALTER TABLE realtime_event ADD COLUMN position bigint;
ALTER TABLE realtime_event ALTER COLUMN position SET DEFAULT nextval('realtime_event_position');
ALTER SEQUENCE realtime_event_position OWNED BY realtime_event.position;
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER event_log_is_never_changed BEFORE UPDATE ON realtime_event FOR EACH ROW
    WHEN (
        (OLD.id, OLD.name, OLD.session, OLD.buyer, OLD.map_version, OLD.facts, OLD.occurred_at{old})
        IS DISTINCT FROM (NEW.id, NEW.name, NEW.session, NEW.buyer, NEW.map_version, NEW.facts, NEW.occurred_at{new})
    )
    EXECUTE FUNCTION event_log_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("realtime", "0003_cheaper_append_only")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(ADD, "ALTER TABLE realtime_event DROP COLUMN position"),
                migrations.RunSQL(
                    TRIGGER.format(old=", OLD.position", new=", NEW.position"), TRIGGER.format(old="", new="")
                ),
            ],
            state_operations=[
                migrations.AddField(
                    model_name="event",
                    name="position",
                    field=models.BigIntegerField(
                        db_default=Func(
                            Value("realtime_event_position"), function="nextval", output_field=models.BigIntegerField()
                        ),
                        editable=False,
                        null=True,
                        verbose_name="position in the log",
                    ),
                ),
            ],
        ),
    ]
