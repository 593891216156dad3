from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from realtime import events
from sessions_app import queries
from sessions_app.models import Hall, Seat, Session, TicketType
from sessions_app.new_prices import NewTicketType
from tests import factories
from tests.sessions_app.conftest import Open

SOON = dt.timedelta(seconds=30)


def take(session: Session, label: str, status: str, *, until: dt.timedelta | None = None) -> None:
    """Write a seat as allocation would have left it."""
    Seat.objects.filter(session=session, label=label).update(
        status=status,
        reservation_id=uuid.uuid4() if status in "hs" else None,
        held_until=timezone.now() + until if until else None,
    )


@pytest.fixture
def busy(put_on: Open) -> Session:
    """Prepare seats: A1 held, A2 held past its end, A3 sold, B1 blocked, B2 and B3 free."""
    session = put_on()
    take(session, "A1", "h", until=SOON)
    take(session, "A2", "h", until=-SOON)
    take(session, "A3", "s")
    take(session, "B1", "b")
    Session.objects.filter(pk=session.pk).update(map_version=7)
    return session


class TestProgramme:
    def test_counts_ended_holds_as_free(self, busy: Session) -> None:
        found: Any = queries.on_sale().get()
        assert (found.available, found.capacity, found.from_price) == (3, 6, 2500)

    def test_adds_places_without_a_number(self, put_on: Open) -> None:
        put_on(rows=1, seats_per_row=2, price=100, ticket_types=[NewTicketType(name="Pista", price=50, capacity=5)])
        TicketType.objects.filter(name="Pista").update(available=3)
        found: Any = queries.on_sale().get()
        assert (found.available, found.capacity, found.from_price) == (5, 7, 50)

    def test_ignores_a_price_without_places(self, put_on: Open) -> None:
        session = put_on(rows=1, seats_per_row=1, price=2500)
        TicketType.objects.create(session=session, name="Fantasma", price=1)
        found: Any = queries.on_sale().get()
        assert found.from_price == 2500

    def test_leaves_out_sessions_that_began_or_were_cancelled(self, put_on: Open) -> None:
        begun, called_off, to_come = put_on(), put_on(), put_on()
        Session.objects.filter(pk=begun.pk).update(starts_at=timezone.now() - SOON)
        Session.objects.filter(pk=called_off.pk).update(cancelled_at=timezone.now())
        assert list(queries.on_sale()) == [to_come]

    def test_needs_one_query_for_any_number_of_sessions(self, put_on: Open, hall: Hall) -> None:
        put_on(hall=hall.pk, price=1)
        put_on()
        with CaptureQueriesContext(connection) as asked:
            venues = [session.hall and session.hall.venue.name for session in queries.on_sale()]
        assert len(venues) == 2
        assert len(asked) == 1


class TestSeatMap:
    def test_has_the_body_of_the_contract(self, busy: Session) -> None:
        found = queries.seat_map(busy.pk)
        assert {**found, "seats": None} == {
            "session": str(busy.pk),
            "version": 7,
            "counts": {"free": 3, "held": 1, "sold": 1, "blocked": 1},
            "seats": None,
        }
        held, ended, *_others = found["seats"]
        kind = TicketType.objects.get(session=busy)
        until = held.pop("held_until")
        assert held == {
            "label": "A1",
            "section": "",
            "row": "A",
            "number": 1,
            "x": -1.0,
            "y": 3.0,
            "kind": "standard",
            "ticket_type": str(kind.pk),
            "status": "h",
        }
        assert until > timezone.now()
        assert ended["status"] == "f"
        assert "held_until" not in ended

    def test_is_empty_without_numbered_places(self, put_on: Open) -> None:
        session = put_on(ticket_types=[NewTicketType(name="Pista", price=1, capacity=1)])
        assert queries.seat_map(session.pk)["seats"] == []
        assert queries.compact_map(session.pk) == {"version": 0, "seats": ""}

    def test_is_one_statement_so_that_version_and_seats_agree(self, busy: Session) -> None:
        with CaptureQueriesContext(connection) as asked:
            queries.seat_map(busy.pk)
        assert len(asked) == 1

    def test_has_a_compact_form_in_plan_order(self, busy: Session) -> None:
        assert queries.compact_map(busy.pk) == {"version": 7, "seats": "hfsbff"}
        assert queries.compacted(queries.seat_map(busy.pk)) == queries.compact_map(busy.pk)

    @pytest.mark.parametrize("ask", [queries.seat_map, queries.compact_map, queries.find])
    def test_is_refused_for_an_unknown_session(self, db: None, ask: Any) -> None:
        with pytest.raises(Session.DoesNotExist):
            ask(uuid.uuid4())


class TestSeatMapAt:
    def test_replays_the_log_up_to_that_time(self, put_on: Open) -> None:
        session = put_on(rows=1, seats_per_row=2, price=1)
        before = timezone.now() - SOON
        story = [{"A1": "h"}, {"A1": "s", "A2": "h"}, {"A2": "f"}]
        _first, second, last = (
            events.record(event="seat.held", session=session.pk, facts={"changes": changes}, map_version=version)
            for version, changes in enumerate(story, 1)
        )
        assert queries.compacted(queries.seat_map_at(session.pk, before)) == {"version": 0, "seats": "ff"}
        assert queries.compacted(queries.seat_map_at(session.pk, second.occurred_at)) == {"version": 2, "seats": "sh"}
        assert queries.seat_map_at(session.pk, last.occurred_at)["counts"] == {
            "free": 1,
            "held": 0,
            "sold": 1,
            "blocked": 0,
        }


class TestCounts:
    def test_are_of_the_seats_of_each_session(self, busy: Session, put_on: Open) -> None:
        stock = put_on(ticket_types=[NewTicketType(name="Pista", price=1, capacity=1)])
        assert queries.counts([busy.pk, stock.pk]) == {
            busy.pk: {"free": 3, "held": 1, "sold": 1, "blocked": 1},
            stock.pk: {"free": 0, "held": 0, "sold": 0, "blocked": 0},
        }

    def test_come_with_the_version_of_the_map(self, busy: Session) -> None:
        assert queries.current_version(busy.pk) == (7, 3)

    def test_are_none_without_a_session(self, db: None) -> None:
        assert queries.current_version(uuid.uuid4()) is None


class TestTicketTypes:
    def test_have_their_stock_or_the_seats_they_price(self, busy: Session) -> None:
        factories.StockFactory(session=busy, name="Pista", capacity=5, available=2, position=1)
        found: Any = queries.ticket_types().filter(session=busy)
        assert [(kind.name, kind.places, kind.places_left) for kind in found] == [("Standard", 6, 3), ("Pista", 5, 2)]


class TestMatching:
    @pytest.mark.parametrize(
        ("text", "found"),
        [("cartógrafa", 1), ("sala cartógrafa", 1), ("SANTOS", 1), ("orla", 1), ("nada", 0), ("%", 0), ("  ", 1)],
    )
    def test_requires_every_word(self, put_on: Open, text: str, found: int) -> None:
        venue = factories.VenueFactory(name="Multiplex Orla", city="Santos, SP")
        hall = factories.HallFactory(venue=venue, name="Sala 3")
        put_on(hall=hall.pk, ticket_types=[NewTicketType(name="Pista", price=1, capacity=1)])
        assert queries.matching(queries.on_sale(), text).count() == found
