from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from django.core.management import CommandError, call_command

from sessions_app.models import Hall, HallSeat, Seat, Venue
from tests.sessions_app.conftest import Open

Import = Callable[..., str]
ORLA = ["--venue", "Multiplex Orla", "--hall", "Sala 3"]


@pytest.fixture
def import_plan(db: None, tmp_path: Path) -> Import:
    """Run the command with a plan; return what it printed."""

    def import_plan(plan: str, *arguments: str) -> str:
        file, printed = tmp_path / "plan.txt", io.StringIO()
        file.write_text(plan)
        call_command("import_plan", str(file), *arguments, stdout=printed)
        return printed.getvalue()

    return import_plan


def test_command_makes_venue_and_hall(import_plan: Import) -> None:
    said = import_plan("[Plateia]\nwcaa\n[Balcão]\naa", *ORLA)
    assert "Plateia: 1 rows, 4 seats (1 wheelchair, 1 companion, 2 standard)" in said
    assert "Multiplex Orla has a new hall, Sala 3, with 6 seats." in said
    assert list(Hall.objects.get(venue__name="Multiplex Orla").seats.values_list("label", "section")) == [
        *((f"A{number}", "Plateia") for number in range(1, 5)),
        *((f"B{number}", "Balcão") for number in range(1, 3)),
    ]


def test_command_furnishes_a_hall_without_chairs(import_plan: Import, hall: Hall) -> None:
    hall.seats.all().delete()
    import_plan("aaa", "--venue", hall.venue.name, "--hall", hall.name)
    assert hall.seats.count() == 3


def test_command_replaces_chairs_only_when_told_to_and_never_those_of_sessions(
    import_plan: Import, hall: Hall, put_on: Open
) -> None:
    before = put_on(hall=hall.pk, price=100)
    where = ["--venue", hall.venue.name, "--hall", hall.name]
    with pytest.raises(CommandError, match="has 4 chairs"):
        import_plan("aaa", *where)
    assert hall.seats.count() == 4
    import_plan("aaa", *where, "--replace", "--yes")
    assert list(hall.seats.values_list("label", flat=True)) == ["A1", "A2", "A3"]
    assert Seat.objects.of(before.pk).count() == 4


def test_command_prints_errors_and_saves_nothing(import_plan: Import) -> None:
    with pytest.raises(CommandError) as refusal:
        import_plan("aa?\n___", *ORLA)
    assert str(refusal.value).splitlines()[1:] == [
        "line 1: “?” has no meaning here. You can use: _ a w c l.",
        "line 2: This row has no seats.",
    ]
    assert not Venue.objects.exists()


def test_command_needs_an_existing_file(db: None) -> None:
    with pytest.raises(CommandError, match="No such file"):
        call_command("import_plan", "nowhere.txt", *ORLA)


def test_command_reads_standard_input(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"aa")))
    call_command("import_plan", "-", *ORLA, stdout=io.StringIO())
    assert HallSeat.objects.count() == 2


def test_command_draws_a_preview_instead_of_saving(import_plan: Import, tmp_path: Path) -> None:
    drawn = tmp_path / "preview.svg"
    import_plan("[<Plateia> & Fosso]\nwcaa_ll", *ORLA, "--preview", str(drawn))
    picture = ET.parse(drawn).getroot()  # noqa: S314 our own drawing
    assert len(picture.findall(".//*[@data-seat]")) == 6
    assert "<Plateia> & Fosso" in [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert not Venue.objects.exists()
