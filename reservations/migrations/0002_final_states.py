"""Make final states final, and take arrival epochs from a sequence that no flush can turn back."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION reservation_final_state_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reservation % is %, a final state', OLD.id, OLD.status USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER reservation_final_state_is_final BEFORE UPDATE ON reservations_reservation
    FOR EACH ROW WHEN (OLD.status IN ('confirmed', 'rejected', 'expired', 'cancelled') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION reservation_final_state_is_final();
CREATE SEQUENCE reservation_arrival_epoch;
"""
BACKWARD = """
DROP SEQUENCE reservation_arrival_epoch;
DROP TRIGGER reservation_final_state_is_final ON reservations_reservation;
DROP FUNCTION reservation_final_state_is_final();
"""


class Migration(migrations.Migration):
    dependencies = [("reservations", "0001_reservations")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
