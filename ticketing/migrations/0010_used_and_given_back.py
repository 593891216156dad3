"""A void ticket keeps when it was used, if staff gave it back after that."""

from django.db import migrations, models
from django.db.models import Q

KNOWN_FROM_CHECK_INS = """
UPDATE ticketing_ticket AS ticket SET used_at = scan.scanned_at, used_gate = scan.gate FROM ticketing_checkin AS scan
WHERE scan.ticket_id = ticket.id AND scan.outcome = 'admitted' AND ticket.status = 'void'
"""
FORGOTTEN = "UPDATE ticketing_ticket SET used_at = NULL, used_gate = '' WHERE status = 'void'"


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0009_pay_at_the_door")]

    operations = [
        migrations.RemoveConstraint(model_name="ticket", name="ticket_used_has_a_time"),
        migrations.RunSQL(KNOWN_FROM_CHECK_INS, FORGOTTEN),
        migrations.AddConstraint(
            model_name="ticket",
            constraint=models.CheckConstraint(
                condition=Q(status="used", used_at__isnull=False) | Q(status="valid", used_at=None) | Q(status="void"),
                name="ticket_used_has_a_time",
            ),
        ),
    ]
