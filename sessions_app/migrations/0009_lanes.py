"""Add lanes of a session's queue, with their codes."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import base.ids
import sessions_app.models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0008_accounts_and_sold_at_once"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="lanes_ahead",
            field=models.TextField(
                db_default="", default="", editable=False, verbose_name="lanes ahead of their share"
            ),
        ),
        migrations.CreateModel(
            name="Lane",
            fields=[
                ("id", models.UUIDField(default=base.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "name",
                    models.CharField(help_text="Buyers read it, like “Members”.", max_length=40, verbose_name="name"),
                ),
                (
                    "weight",
                    models.PositiveSmallIntegerField(
                        default=1,
                        help_text="How many of it are settled for each one of those without a code, while both wait.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(100),
                        ],
                        verbose_name="weight",
                    ),
                ),
                (
                    "code",
                    models.CharField(
                        default=sessions_app.models.new_lane_code,
                        help_text="Whoever has it may use the lane: by a link to the session's page with ?lane=CODE, or as lane_code in the API.",
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[!-~]+$", "Letters, digits and signs without spaces."
                            )
                        ],
                        verbose_name="access code",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lanes",
                        to="sessions_app.session",
                        verbose_name="session",
                    ),
                ),
            ],
            options={
                "verbose_name": "lane",
                "verbose_name_plural": "lanes",
                "ordering": ["session_id", "-weight", "name"],
                "constraints": [
                    models.UniqueConstraint(fields=("session", "name"), name="lane_name_once_a_session"),
                    models.UniqueConstraint(fields=("session", "code"), name="lane_code_once_a_session"),
                    models.CheckConstraint(
                        condition=models.Q(("weight__gte", 1), ("weight__lte", 100)), name="lane_weight_is_bounded"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("name", ""), _negated=True), models.Q(("code", ""), _negated=True)
                        ),
                        name="lane_has_a_name_and_a_code",
                    ),
                ],
            },
        ),
    ]
