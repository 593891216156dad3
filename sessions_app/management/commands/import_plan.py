from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.loader import render_to_string

from sessions_app import operations, plan_files
from sessions_app.models import Hall, Session, Venue
from sessions_app.pages import seat_plan
from sessions_app.plans import Place, sizes
from sessions_app.staff import terminal
from sessions_app.staff.questions import Question


class Command(BaseCommand):
    help = (
        "Give a hall the chairs of a plan: a JSON document or a drawing (docs/plans.md). Existing sessions keep "
        "their seats."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the plan's file; - reads standard input")
        parser.add_argument(
            "--venue", required=True, help="the name of the venue; the command makes it if there is none"
        )
        parser.add_argument(
            "--hall", required=True, help="the name of the hall; the command makes it if the venue has none"
        )
        parser.add_argument(
            "--replace", action="store_true", help="replace the chairs of a hall that has some, after a question"
        )
        terminal.add_yes(parser)
        parser.add_argument("--preview", metavar="FILE.svg", help="draw the plan into this file and save nothing")

    def handle(
        self, *, file: str, venue: str, hall: str, replace: bool, preview: str | None, yes: bool, **options: Any
    ) -> None:
        places = plan_in(file)
        for size in sizes(places):
            kinds = ", ".join(f"{number} {kind}" for kind, number in size.kinds.items())
            self.stdout.write(f"{size.name or hall}: {size.rows} rows, {size.seats} seats ({kinds})")
        if preview:
            drawn = render_to_string("sessions_app/plan.svg", {"plan": seat_plan.draw_chairs(places)})
            Path(preview).write_text(drawn.strip())
            self.stdout.write(f"Drawn in {preview}; nothing was saved.")
            return
        known = Hall.objects.select_related("venue").filter(venue__name=venue, name=hall).first()
        if known is None:
            self.stdout.write(open_hall(places, venue=venue, name=hall))
            return
        chairs = known.seats.count()
        if chairs and not replace:
            raise CommandError(f"{known} has {chairs} chairs. Use --replace to replace them for new sessions.")
        if chairs:
            terminal.require_yes(self, about_replacing(known, chairs, places), yes=yes)
        operations.refurnish(hall_id=known.pk, places=places)
        self.stdout.write(f"{known} now has {len(places)} seats for new sessions.")


def plan_in(file: str) -> list[Place]:
    try:
        return plan_files.read(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except plan_files.PlanRefused as refused:
        raise CommandError("\n".join([f"{file} was refused:", *refused.lines()])) from refused


def open_hall(places: list[Place], *, venue: str, name: str) -> str:
    """Create the hall; return a sentence that says so."""
    house, _new = Venue.objects.get_or_create(name=venue)
    operations.open_hall(venue=house, name=name, places=places)
    return f"{venue} has a new hall, {name}, with {len(places)} seats."


def about_replacing(hall: Hall, chairs: int, places: list[Place]) -> Question:
    coming = hall.sessions.filter(pk__in=Session.objects.upcoming()).count()
    return Question(
        title=f"Replace the chairs of {hall}?",
        facts=[
            ("Chairs now", str(chairs)),
            ("Chairs then", str(len(places))),
            ("Future sessions, which keep their seats", str(coming)),
            ("Money to be given back", "none"),
            ("People who get a message", "none"),
        ],
        warning="The current chairs will be gone. To keep a copy of them, use “Download the plan” in the admin.",
        about=[hall.pk, chairs],
    )
