"""The ledger balances and is append-only, whoever writes to it; what was captured before it was there is in it."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON ticketing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_is_never_emptied BEFORE TRUNCATE ON ticketing_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE FUNCTION ledger_posting_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM ticketing_ledgerentry WHERE posting = NEW.posting GROUP BY currency HAVING sum(amount) <> 0
    ) THEN
        RAISE EXCEPTION 'ledger_posting_balances: posting % does not sum to zero', NEW.posting USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_posting_balances AFTER INSERT ON ticketing_ledgerentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_posting_balances();
-- What was captured before there was a ledger
WITH captured AS (
    SELECT id, amount, currency, gen_random_uuid() AS posting FROM ticketing_payment WHERE status = 'captured' AND amount > 0
)
INSERT INTO ticketing_ledgerentry (posting, account, amount, currency, payment_id)
SELECT posting, account, CASE account WHEN 'gateway' THEN amount ELSE -amount END, currency, id
FROM captured CROSS JOIN (VALUES ('gateway'), ('revenue')) AS of (account);
"""
BACKWARD = """
DROP TRIGGER ledger_posting_balances ON ticketing_ledgerentry;
DROP FUNCTION ledger_posting_balances();
DROP TRIGGER ledger_is_never_emptied ON ticketing_ledgerentry;
DROP TRIGGER ledger_is_append_only ON ticketing_ledgerentry;
DROP FUNCTION ledger_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0004_money")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
