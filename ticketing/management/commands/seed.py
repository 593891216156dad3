from __future__ import annotations

from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

from django.apps import apps
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from tqdm import tqdm

from base.clock import db_now
from reservations.models import Reservation, Voucher
from sessions_app.models import Hall, Session, Show, Venue
from sessions_app.operations import HallBusy, create_session, furnish
from sessions_app.staff import terminal
from sessions_app.staff.questions import Question
from ticketing import demo
from ticketing.models import Sale, Ticket, TicketStatus, User
from ticketing.payments.giving_back import in_currencies
from ticketing.people.roles import OURS, ensure_groups


class Command(BaseCommand):
    help = (
        "Make the demo: halls, films, sessions of the next days, and accounts. If you run it again, it adds the "
        "missing parts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--profile", choices=demo.PROFILES, default="demo", help="the amount of data (default: demo)"
        )
        parser.add_argument(
            "--reset", action="store_true", help="first delete all sales, sessions and halls, after a question"
        )
        terminal.add_yes(parser, "--no-input")
        parser.add_argument(
            "--groups", action="store_true", help="make only the permission groups; works in production too"
        )

    def handle(self, *, profile: str, reset: bool, yes: bool, groups: bool, **options: Any) -> None:
        if groups:
            ensure_groups()
            self.stdout.write("The groups owner, boxoffice and gate have their permissions.")
            return
        if settings.PRODUCTION:
            raise CommandError(
                "FRONTROW_ENV says production, and the demo's accounts have a public password, so the demo was "
                "not made. Use `seed --groups` to make the permission groups and `createsuperuser` to make a "
                "first account."
            )
        if reset:
            terminal.require_yes(self, about_deleting(), yes=yes)
            delete_everything()
        people = make_accounts()
        Voucher.objects.get_or_create(code=demo.VOUCHER, defaults={"percent_off": 10, "uses_per_buyer": 1})
        made = self.make_sessions(demo.PROFILES[profile], quiet=options["verbosity"] == 0)
        if options["verbosity"]:
            self.stdout.write(
                f"Made {made} sessions and {people} accounts. Accounts, all with the password {demo.PASSWORD!r}: "
            )
            self.stdout.write(", ".join(person.username for person in demo.PEOPLE))

    def make_sessions(self, rooms: list[demo.Room], *, quiet: bool) -> int:
        """Make the missing sessions, and return how many."""
        halls = {id(room): make_hall(room) for room in rooms}
        shows = {title.title: make_show(title) for room in rooms for title in room.titles}
        taken = set(Session.objects.filter(hall__in=halls.values()).values_list("hall", "starts_at"))
        programme = demo.showings(rooms, now=db_now(), zone=ZoneInfo(settings.TIME_ZONE))
        missing = [showing for showing in programme if (halls[id(showing.room)].pk, showing.starts_at) not in taken]
        bar = tqdm(missing, desc="sessions", unit="", disable=True if quiet else None, file=self.stderr)
        return sum(
            make_session(showing, hall=halls[id(showing.room)], show=shows[showing.title.title]) for showing in bar
        )


@transaction.atomic
def make_accounts() -> int:
    """Make the missing accounts, and return how many."""
    groups = ensure_groups()
    known = {name.casefold() for name in User.objects.values_list("username", flat=True)}
    missing = [person for person in demo.PEOPLE if person.username.casefold() not in known]
    password = make_password(demo.PASSWORD) if missing else ""  # one slow hash for all
    for person in missing:
        user = User.objects.create(
            username=person.username,
            first_name=person.first_name,
            email=f"{person.username}@frontrow.example",
            password=password,
            is_staff=bool(person.group),
            is_superuser=person.is_superuser,
        )
        user.groups.set(own_groups(person, groups))
    return len(missing)


def own_groups(person: demo.Person, groups: dict[str, Group]) -> list[Group]:
    return [groups[person.group]] if person.group else []


@transaction.atomic
def make_hall(room: demo.Room) -> Hall:
    venue, _new = Venue.objects.get_or_create(
        name=room.house.name, defaults={"city": room.house.city, "address": room.house.address}
    )
    hall, new = Hall.objects.get_or_create(venue=venue, name=room.name)
    if new:
        furnish(hall=hall, places=room.places)
    return hall


def make_show(title: demo.Title) -> Show:
    known = Show.objects.filter(title=title.title).first()
    return known or Show.objects.create(
        title=title.title,
        duration_minutes=title.minutes,
        rating=title.rating,
        genre=title.genre,
        synopsis=title.synopsis,
    )


def make_session(showing: demo.Showing, *, hall: Hall, show: Show) -> bool:
    """Make a session. Return False if another session has the hall at that time."""
    try:
        create_session(
            show=show.pk,
            hall=hall.pk,
            starts_at=showing.starts_at,
            on_sale_at=showing.on_sale_at,
            ticket_types=showing.ticket_types,
            concessions=demo.CONCESSIONS,
        )
    except HallBusy:
        return False
    return True


def about_deleting() -> Question:
    taken: Counter[str] = Counter()
    for currency, total, refunded in Sale.objects.values_list("currency", "total", "refunded"):
        taken[currency] += total - refunded
    return Question(
        title="Delete every sale, reservation, session, hall and event of this database?",
        facts=[
            ("Halls", str(Hall.objects.count())),
            ("Sessions", str(Session.objects.count())),
            ("Reservations", str(Reservation.objects.count())),
            ("Sales", str(Sale.objects.count())),
            ("Tickets that open a door", str(Ticket.objects.exclude(status=TicketStatus.VOID).count())),
            ("Money whose records are deleted, without a refund", in_currencies(taken)),
            ("People who get a message", "none"),
        ],
        warning="Accounts stay. Everything else is deleted for good.",
        about=[],
    )


@transaction.atomic
def delete_everything() -> None:
    """Delete everything but people. TRUNCATE is needed, because event log and ledger refuse to delete single rows."""
    everything = [model for app in OURS for model in apps.get_app_config(app).get_models(include_auto_created=True)]
    models = [model for model in everything if User not in {model, model._meta.auto_created}]
    tables = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in models)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ticketing_ledgerentry DISABLE TRIGGER ledger_is_never_emptied")
        cursor.execute(f"TRUNCATE {tables}")
        cursor.execute("ALTER TABLE ticketing_ledgerentry ENABLE TRIGGER ledger_is_never_emptied")
