"""Closing an account raises its generation, whoever closes it and however; and no generation is ever taken back."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION user_closing_ends_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.generation := GREATEST(NEW.generation, OLD.generation + (OLD.is_active AND NOT NEW.is_active)::int);
    RETURN NEW;
END $$;
CREATE TRIGGER user_closing_ends_credentials BEFORE UPDATE ON ticketing_user
    FOR EACH ROW WHEN (OLD.is_active AND NOT NEW.is_active OR NEW.generation < OLD.generation)
    EXECUTE FUNCTION user_closing_ends_credentials();
UPDATE ticketing_user SET generation = generation + 1 WHERE NOT is_active;
"""
BACKWARD = """
DROP TRIGGER user_closing_ends_credentials ON ticketing_user;
DROP FUNCTION user_closing_ends_credentials();
"""


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0017_changes_of_sales")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
