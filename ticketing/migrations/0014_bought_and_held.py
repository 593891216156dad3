from django.db import migrations

# Bought as a guest and passed on to the own account before signing in: the buyer could neither print it nor give it back.
GIVE_TO_THE_BUYER = """
UPDATE ticketing_ticket AS ticket SET holder = NULL FROM ticketing_sale AS sale
WHERE sale.id = ticket.sale_id AND ticket.holder = sale.buyer
"""


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0013_cause")]
    operations = [migrations.RunSQL(GIVE_TO_THE_BUYER, migrations.RunSQL.noop)]
