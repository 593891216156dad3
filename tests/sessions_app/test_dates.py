"""Every date that people see says its year, unless it is the present one; letters and papers always say it."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import formats, timezone, translation

from sessions_app.templatetags import frontrow
from tests import factories

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*") if path.is_file())
SOURCES = [
    path
    for app in ("base", "config", "realtime", "reservations", "sessions_app", "ticketing")
    for path in sorted((ROOT / app).rglob("*.py"))
    if "migrations" not in path.parts
]
SCRIPTS = [path for app in ("reservations", "sessions_app", "ticketing") for path in sorted((ROOT / app).rglob("*.js"))]
FOR_PEOPLE = ROOT / "sessions_app" / "templatetags" / "frontrow.py"
FOR_MACHINES = {ROOT / "config" / "run" / "serving" / "clock.py"}  # HTTP's Date
MARCH = dt.datetime(2031, 3, 1, 23, tzinfo=dt.UTC)


class TestFilters:
    @pytest.mark.parametrize(
        ("language", "day", "short"),
        [("en", "Saturday, March 1, 2031", "Mar 1, 2031"), ("pt-br", "Sábado, 1 de março de 2031", "1 Mar 2031")],
    )
    def test_other_year_is_written(self, language: str, day: str, short: str) -> None:
        with translation.override(language):
            assert frontrow.day(MARCH) == frontrow.full_day(MARCH) == day
            assert frontrow.short_day(MARCH) == short

    @pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
    def test_present_year_is_left_out_on_pages_only(self, language: str) -> None:
        today = timezone.localdate()
        with translation.override(language):
            assert str(today.year) not in frontrow.day(today) + frontrow.short_day(today)
            assert str(today.year) in frontrow.full_day(today)

    @pytest.mark.parametrize(
        ("language", "said"), [("en", "Saturday, March 1, 2031"), ("pt-br", "sábado, 1 de março de 2031")]
    )
    def test_day_within_a_sentence_begins_as_the_language_writes_it(self, language: str, said: str) -> None:
        with translation.override(language):
            assert frontrow.within(frontrow.full_day(MARCH)) == said

    def test_year_is_that_of_the_house_not_of_utc(self) -> None:
        turn = dt.datetime(timezone.localdate().year + 1, 1, 1, 1, tzinfo=dt.UTC)  # New Year's Eve in São Paulo
        assert str(turn.year - 1) not in frontrow.day(turn)
        assert frontrow.day(turn).startswith(formats.date_format(dt.date(turn.year - 1, 12, 31), "l"))


class TestUses:
    @pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
    def test_templates_show_no_date_without_a_year(self, path: Path) -> None:
        text = path.read_text()
        assert set(re.findall(r"\|date:['\"]([^'\"]*)", text)) <= {"Y-m-d", "c"}, "people read frontrow's filters"
        assert not re.search(r"\|date\b(?!:)", text), "Django's own form follows no language of ours"
        alone = re.findall(r"\|weekday\s*}}(?!, {{ [\w.]+\|short_day }}|</strong><small>{{ date\|short_day }})", text)
        assert alone == [], "a weekday alone is any week's"
        if path.parent.name == "mail":
            assert not re.search(r"\|(day|short_day|weekday)\b", text), "a letter is kept: full_day"
        assert not re.search(r"=[\w.]+\|(day|full_day)(?!\|within\b)", text), (
            "a day in a sentence is written by `within`"
        )

    def test_code_writes_dates_for_people_by_the_filters_alone(self) -> None:
        words = re.compile(r"strftime\(|date_format\(|date_format\b")
        others = {path for path in SOURCES if words.search(path.read_text())} - {FOR_PEOPLE} - FOR_MACHINES
        assert others == set()

    def test_scripts_write_times_alone_or_days_with_their_year(self) -> None:
        said = [
            form for path in SCRIPTS for form in re.findall(r"DateTimeFormat\(.*|toLocale\w*\(.*", path.read_text())
        ]
        assert said != []
        with_year = 'dateStyle: "medium"'
        assert [form for form in said if "timeStyle" not in form and with_year not in form] == []
        assert [form for form in said if "dateStyle" in form.replace(with_year, "")] == []


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "said"), [("en", "March 1, 2031"), ("pt-br", "1 de março de 2031")])
def test_pages_of_a_session_in_another_year_say_it(client: Client, language: str, said: str) -> None:
    session = factories.SessionFactory.create(starts_at=MARCH)
    for address in ("/", "/?day=2031-03-01", f"/sessions/{session.pk}"):
        page = client.get(address, headers={"accept-language": language}).content.decode()
        assert said in page, address
