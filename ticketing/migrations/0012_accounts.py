"""An account has one name, whatever its case; and PostgreSQL knows how often its credentials were ended."""

from typing import Any

from django.core.management import CommandError
from django.db import migrations, models
from django.db.models.functions import Upper

KEPT = r"regexp_replace(normalize(username, NFKC), '^\s+|\s+$', '', 'g')"  # as names are kept from now on
COLLISIONS = f"""
SELECT array_agg(username ORDER BY date_joined), array_agg(id::text ORDER BY date_joined) FROM ticketing_user
GROUP BY upper({KEPT}) HAVING count(*) > 1 ORDER BY 1
"""  # noqa: S608 our own constant
TIDY = f"UPDATE ticketing_user SET username = {KEPT} WHERE username <> {KEPT}"  # noqa: S608 our own constant

ADVICE = """From this version on names of accounts are compared without case and outer spaces. These accounts have the same name then, the
oldest first:
{groups}
Nothing was changed. Give all but one of each line another name, tell their owners, and migrate again. In the admin of the version that
still runs: Users, the account, Username. Or with manage.py dbshell:
  UPDATE ticketing_user SET username = 'another-name' WHERE id = 'the id in brackets';"""


def refuse_collisions(_apps: Any, schema_editor: Any) -> None:
    """Rename nobody: who had "ana" and who "Ana", people know, not a migration. Raises: CommandError."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(COLLISIONS)
        found = cursor.fetchall()
    if not found:
        return
    groups = "\n".join(
        "  " + ", ".join(f"{name!r} ({account})" for name, account in zip(names, accounts, strict=True))
        for names, accounts in found
    )
    raise CommandError(ADVICE.format(groups=groups))


class Migration(migrations.Migration):
    dependencies = [("ticketing", "0011_refunds_handed_out")]

    operations = [
        migrations.RunPython(refuse_collisions, migrations.RunPython.noop),
        migrations.RunSQL(TIDY, migrations.RunSQL.noop),
        migrations.AlterModelManagers(name="user", managers=[]),
        migrations.AddField(
            model_name="user",
            name="generation",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How often its credentials were ended.",
                verbose_name="generation",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                Upper("username"),
                name="user_name_once_whatever_its_case",
                violation_error_message="This name is taken.",
            ),
        ),
    ]
