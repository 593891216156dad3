"""Count a change of the names in calendars as a change of the session.

That is when the show or the venue is renamed, or the hall moves to another venue. One statement changes all sessions
that it concerns, except those that are over. It locks them in the order in which allocation does.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION session_says_otherwise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'WITH touched AS (
            SELECT id FROM sessions_app_session WHERE ends_at > clock_timestamp() AND %s ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE sessions_app_session AS session SET sequence = sequence + 1, changed_at = clock_timestamp()
        FROM touched WHERE session.id = touched.id', TG_ARGV[0]
    ) USING NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER show_renamed_is_a_change_of_its_sessions AFTER UPDATE OF title ON sessions_app_show
    FOR EACH ROW WHEN (OLD.title <> NEW.title) EXECUTE FUNCTION session_says_otherwise('show_id = $1');
CREATE TRIGGER venue_renamed_is_a_change_of_its_sessions AFTER UPDATE OF name, address ON sessions_app_venue
    FOR EACH ROW WHEN (OLD.name <> NEW.name OR OLD.address <> NEW.address)
    EXECUTE FUNCTION session_says_otherwise('hall_id IN (SELECT id FROM sessions_app_hall WHERE venue_id = $1)');
CREATE TRIGGER hall_of_another_venue_is_a_change_of_its_sessions AFTER UPDATE OF venue_id ON sessions_app_hall
    FOR EACH ROW WHEN (OLD.venue_id <> NEW.venue_id) EXECUTE FUNCTION session_says_otherwise('hall_id = $1');
"""
BACKWARD = """
DROP TRIGGER hall_of_another_venue_is_a_change_of_its_sessions ON sessions_app_hall;
DROP TRIGGER venue_renamed_is_a_change_of_its_sessions ON sessions_app_venue;
DROP TRIGGER show_renamed_is_a_change_of_its_sessions ON sessions_app_show;
DROP FUNCTION session_says_otherwise();
"""


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0015_moved_to_an_earlier_time")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
