from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from pytest_django.fixtures import Settings

from sessions_app import queries
from sessions_app.models import Hall, Seat, SeatKind, Session, Show, TicketType
from tests.support.terminal import answer
from ticketing import demo
from ticketing.models import User

Seed = Callable[..., str]
HERE = ZoneInfo("America/Sao_Paulo")
HALLS = [
    (demo.POCKET, 16),
    (demo.ART_HOUSE, 98),
    (demo.MULTIPLEX, 240),
    (demo.THEATRE, 2_400),
    (demo.ARENA, 10_000),
]


@pytest.fixture
def seed(db: None) -> Seed:
    """Return a function that runs the command and returns its output."""

    def seed(*arguments: str, **options: Any) -> str:
        printed = io.StringIO()
        call_command("seed", *arguments, stdout=printed, stderr=printed, **options)
        return printed.getvalue()

    return seed


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the demo's two smallest rooms, so that tests are quick."""
    monkeypatch.setitem(demo.PROFILES, "demo", [demo.DEMO[0], demo.DEMO[3]])


@pytest.mark.usefixtures("small")
class TestSeed:
    def test_seed_puts_on_something_to_buy_for_a_week(self, seed: Seed) -> None:
        seed()
        days = {session.starts_at.astimezone(HERE).date() for session in queries.on_sale()}
        assert len(days) >= demo.DAYS
        assert Hall.objects.get(name="Sala Bolso").seats.count() == 16
        assert TicketType.objects.filter(name="Pista", capacity=300, price=9000).exists()

    def test_seed_makes_nothing_twice(self, seed: Seed) -> None:
        seed()
        counted = [model.objects.count() for model in (Session, Seat, Show, Hall, User)]
        assert "Made 0 sessions and 0 accounts" in seed()
        assert [model.objects.count() for model in (Session, Seat, Show, Hall, User)] == counted

    def test_seed_fills_up_what_has_gone_by(self, seed: Seed) -> None:
        seed()
        gone = Session.objects.filter(hall__name="Sala Bolso").order_by("starts_at").last()
        assert gone is not None
        Session.objects.filter(pk=gone.pk).update(
            starts_at=gone.starts_at - dt.timedelta(days=30), ends_at=gone.ends_at - dt.timedelta(days=30)
        )
        assert "Made 1 sessions and 0 accounts" in seed()

    def test_seed_leaves_a_hall_alone_that_plays_something_else(self, seed: Seed) -> None:
        seed()
        first = Session.objects.filter(hall__name="Sala Bolso").earliest("starts_at")
        Session.objects.filter(pk=first.pk).update(starts_at=first.starts_at + dt.timedelta(minutes=5))
        assert "0 sessions" in seed()

    def test_seed_makes_the_people_of_the_demo_in_their_groups(self, seed: Seed) -> None:
        seed()
        people = {user.username: user for user in User.objects.all()}
        assert {name: [group.name for group in user.groups.all()] for name, user in people.items()} == {
            "owner": ["owner"],
            "boxoffice": ["boxoffice"],
            "gate": ["gate"],
            "ana": [],
            "bruno": [],
        }
        assert all(user.check_password("frontrow-demo") for user in people.values())
        assert {name for name, user in people.items() if user.is_staff} == {"owner", "boxoffice", "gate"}
        assert people["owner"].is_superuser

    def test_seed_lets_each_group_do_its_work(self, seed: Seed) -> None:
        seed()
        boxoffice, gate = User.objects.get(username="boxoffice"), User.objects.get(username="gate")
        assert boxoffice.has_perms(["sessions_app.add_session", "sessions_app.change_seat", "ticketing.view_sale"])
        assert not boxoffice.has_perm("ticketing.change_user")
        assert gate.has_perm("ticketing.add_checkin")
        assert not gate.has_perm("ticketing.view_ticket")
        assert not gate.has_perm("sessions_app.change_session")

    @pytest.mark.django_db(transaction=True)
    def test_seed_resets_only_after_a_yes(self, seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
        seed()
        answer(monkeypatch, "no")
        with pytest.raises(CommandError, match="Nothing was done"):
            seed("--reset")
        before = set(Session.objects.values_list("pk", flat=True))
        answer(monkeypatch, "yes")
        seed("--reset")
        after = set(Session.objects.values_list("pk", flat=True))
        assert len(after) == len(before)
        assert not after & before

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("said", ["--yes", "--no-input"])
    def test_seed_does_not_ask_without_a_terminal(self, seed: Seed, said: str) -> None:
        seed()
        assert "0 accounts" in seed("--reset", said)
        with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
            cursor.execute("TRUNCATE ticketing_ledgerentry")

    def test_seed_is_refused_in_production(self, seed: Seed, settings: Settings) -> None:
        settings.PRODUCTION = True
        with pytest.raises(CommandError, match="production"):
            seed("--reset", "--no-input")
        assert not User.objects.exists()

    def test_seed_makes_the_groups_in_production_too(self, seed: Seed, settings: Settings) -> None:
        settings.PRODUCTION = True
        seed("--groups")
        assert set(Group.objects.values_list("name", flat=True)) == {"owner", "boxoffice", "gate"}
        assert not User.objects.exists()


class TestPlans:
    """Check the halls of the demo as they are drawn."""

    @pytest.mark.parametrize(("places", "size"), HALLS)
    def test_plans_have_as_many_chairs_as_they_say_each_in_a_place_of_its_own(self, places: Any, size: int) -> None:
        assert len(places) == len({place.label for place in places}) == len({(place.x, place.y) for place in places})
        assert len(places) == size

    @pytest.mark.parametrize("places", [demo.ART_HOUSE, demo.MULTIPLEX, demo.THEATRE])
    def test_plans_have_a_seat_beside_each_wheelchair(self, places: Any) -> None:
        kinds = [place.kind for place in places]
        assert kinds.count(SeatKind.WHEELCHAIR) >= 2
        assert kinds.count(SeatKind.COMPANION) >= 2


class TestShowings:
    def test_showings_never_overlap_in_a_hall(self) -> None:
        now = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
        for rooms in demo.PROFILES.values():
            ends: dict[int, dt.datetime] = {}
            for showing in sorted(demo.showings(rooms, now=now, zone=HERE), key=lambda each: each.starts_at):
                assert ends.get(id(showing.room), now) <= showing.starts_at
                ends[id(showing.room)] = showing.starts_at + dt.timedelta(minutes=showing.title.minutes)

    def test_showings_stay_the_same_however_often_they_are_asked_for(self) -> None:
        now = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
        first = list(demo.showings(demo.DEMO, now=now, zone=HERE))
        later = list(demo.showings(demo.DEMO, now=now + dt.timedelta(days=2), zone=HERE))
        assert set(map(str, later[:10])) <= set(map(str, first))

    def test_showings_have_something_that_is_not_on_sale_yet(self) -> None:
        now = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
        assert any(
            showing.on_sale_at and showing.on_sale_at > now for showing in demo.showings(demo.DEMO, now=now, zone=HERE)
        )

    def test_showings_of_the_arena_sell_fifty_thousand_and_ten_thousand(self) -> None:
        assert sum(kind.capacity or 0 for kind in demo.ON_THE_RIVER.ticket_types) == 50_000
        assert len(demo.ON_THE_RIVER.places) == 10_000


def test_the_arena_is_seeded_whole(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(demo.PROFILES, "arena", [demo.ON_THE_RIVER])
    seed("--profile", "arena")
    found: Any = queries.on_sale().first()
    assert (found.available, found.from_price) == (60_000, 18000)
    assert set(Seat.objects.values_list("ticket_type__name", flat=True).distinct()) == {
        "Cadeira Inferior",
        "Cadeira Superior",
    }
