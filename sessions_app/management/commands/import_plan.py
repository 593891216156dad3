from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.loader import render_to_string

from sessions_app import operations, plan_files, seat_plan
from sessions_app.models import Hall, Venue
from sessions_app.plans import Place, sizes


class Command(BaseCommand):
    help = "Give a hall the chairs of a plan: a JSON document or a drawing (docs/plans.md). Sessions keep the seats they have."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the plan; - reads standard input")
        parser.add_argument("--venue", required=True, help="its name; made if there is none")
        parser.add_argument("--hall", required=True, help="its name; made if the venue has none")
        parser.add_argument("--replace", action="store_true", help="also where the hall has chairs")
        parser.add_argument("--preview", metavar="FILE.svg", help="draw it into this file; save nothing")

    def handle(self, *, file: str, venue: str, hall: str, replace: bool, preview: str | None, **options: Any) -> None:
        places = plan_in(file)
        for size in sizes(places):
            kinds = ", ".join(f"{number} {kind}" for kind, number in size.kinds.items())
            self.stdout.write(f"{size.name or hall}: {size.rows} rows, {size.seats} seats ({kinds})")
        if preview:
            drawn = render_to_string("sessions_app/plan.svg", {"plan": seat_plan.draw_chairs(places)})
            Path(preview).write_text(drawn.strip())
            self.stdout.write(f"Drawn in {preview}; nothing was saved.")
            return
        self.stdout.write(keep(places, venue=venue, name=hall, replace=replace))


def plan_in(file: str) -> list[Place]:
    try:
        return plan_files.read(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except plan_files.PlanRefused as refused:
        raise CommandError("\n".join([f"{file} was refused:", *refused.lines()])) from refused


def keep(places: list[Place], *, venue: str, name: str, replace: bool) -> str:
    """What was done."""
    hall = Hall.objects.filter(venue__name=venue, name=name).first()
    if hall is None:
        house, _new = Venue.objects.get_or_create(name=venue)
        operations.open_hall(venue=house, name=name, places=places)
        return f"{venue} has a new hall, {name}, with {len(places)} seats."
    if (chairs := hall.seats.count()) and not replace:
        raise CommandError(
            f"{hall} has {chairs} chairs. --replace puts these in their place, for sessions made from now on."
        )
    operations.refurnish(hall_id=hall.pk, places=places)
    return f"{hall} has {len(places)} seats now, for sessions made from now on."
