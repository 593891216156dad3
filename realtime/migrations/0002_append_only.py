"""Make the event log append-only: a row may be marked as published, and changed in no other way."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION event_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (to_jsonb(OLD) - 'published_at') = (to_jsonb(NEW) - 'published_at') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the event log is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER event_log_is_append_only BEFORE UPDATE OR DELETE ON realtime_event
    FOR EACH ROW EXECUTE FUNCTION event_log_is_append_only();
"""
BACKWARD = """
DROP TRIGGER event_log_is_append_only ON realtime_event;
DROP FUNCTION event_log_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("realtime", "0001_event_log")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
