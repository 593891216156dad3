"""Numbers that people read aloud: six digits and rising, gaps allowed."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0001_tickets")]
    operations = [migrations.RunSQL("CREATE SEQUENCE sale_number START 100001", "DROP SEQUENCE sale_number")]
