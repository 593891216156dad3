"""Keep the log append-only without a function call for each event that is marked as published."""

from django.db import migrations

FORWARD = """
DROP TRIGGER event_log_is_append_only ON realtime_event;
CREATE OR REPLACE FUNCTION event_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER event_log_is_never_changed BEFORE UPDATE ON realtime_event FOR EACH ROW
    WHEN (
        (OLD.id, OLD.name, OLD.session, OLD.buyer, OLD.map_version, OLD.facts, OLD.occurred_at)
        IS DISTINCT FROM (NEW.id, NEW.name, NEW.session, NEW.buyer, NEW.map_version, NEW.facts, NEW.occurred_at)
    )
    EXECUTE FUNCTION event_log_is_append_only();
CREATE TRIGGER event_log_is_never_shortened BEFORE DELETE ON realtime_event
    FOR EACH ROW EXECUTE FUNCTION event_log_is_append_only();
"""
BACKWARD = """
DROP TRIGGER event_log_is_never_changed ON realtime_event;
DROP TRIGGER event_log_is_never_shortened ON realtime_event;
CREATE OR REPLACE FUNCTION event_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (to_jsonb(OLD) - 'published_at') = (to_jsonb(NEW) - 'published_at') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the event log is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER event_log_is_append_only BEFORE UPDATE OR DELETE ON realtime_event
    FOR EACH ROW EXECUTE FUNCTION event_log_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("realtime", "0002_append_only")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
