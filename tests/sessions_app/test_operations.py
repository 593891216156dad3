from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from realtime.models import Event
from sessions_app import operations
from sessions_app.models import Hall, HallSeat, Seat, SeatKind, Session, Show, TicketType
from sessions_app.new_prices import NewTicketType
from sessions_app.operations import HallBusy, HasBuyers
from sessions_app.plans import grid
from tests import factories
from tests.sessions_app.conftest import Open


class TestCreateSession:
    def test_makes_a_seat_for_each_place_of_the_room(self, put_on: Open) -> None:
        session = put_on(rows=2, seats_per_row=3, price=2500)
        seats = Seat.objects.of(session.pk).order_by("position")
        assert [seat.label for seat in seats] == ["A1", "A2", "A3", "B1", "B2", "B3"]
        assert {seat.ticket_type.price for seat in seats} == {2500}
        assert {(seat.status, seat.reservation_id, seat.held_until) for seat in seats} == {("f", None, None)}

    def test_begins_at_version_zero_with_the_rules_of_the_contract(self, put_on: Open) -> None:
        session = Session.objects.get(pk=put_on().pk)
        assert (session.map_version, session.plan_version, session.arrival_high) == (0, 0, 0)
        assert (session.hold_seconds, session.max_hold_seconds, session.max_per_buyer) == (30, 600, 10)
        assert session.ends_at - session.starts_at == dt.timedelta(minutes=120)

    def test_copies_the_chairs_of_its_hall(self, put_on: Open, hall: Hall) -> None:
        HallSeat.objects.filter(hall=hall, label="B2").update(kind=SeatKind.WHEELCHAIR, section="Fundo", x=7.5)
        session = put_on(hall=hall.pk, price=100)
        kept = ["label", "section", "row", "number", "x", "y", "kind", "position"]
        assert list(Seat.objects.of(session.pk).order_by("position").values_list(*kept)) == list(
            hall.seats.order_by("position").values_list(*kept)
        )
        assert session.room == hall.name

    def test_makes_ten_thousand_seats_with_one_statement(self, put_on: Open) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            session = put_on(rows=100, seats_per_row=100, price=100)
        assert Seat.objects.of(session.pk).count() == 10_000
        assert sum("sessions_app_seat" in query["sql"] for query in queries) == 1

    def test_sells_places_without_a_number(self, put_on: Open) -> None:
        session = put_on(ticket_types=[NewTicketType(name="Pista", price=9000, capacity=300)])
        stock = TicketType.objects.get(session=session)
        assert (stock.capacity, stock.available, stock.price) == (300, 300, 9000)
        assert not Seat.objects.of(session.pk).exists()

    def test_prices_a_section_by_the_type_of_its_name(self, put_on: Open, hall: Hall) -> None:
        HallSeat.objects.filter(hall=hall, row="B").update(section="Camarote")
        session = put_on(hall=hall.pk, price=100, ticket_types=[NewTicketType(name="Camarote", price=900)])
        prices = dict(Seat.objects.of(session.pk).values_list("label", "ticket_type__price"))
        assert prices == {"A1": 100, "A2": 100, "B1": 900, "B2": 900}

    def test_prices_seats_by_the_first_type_without_a_price(self, put_on: Open) -> None:
        session = put_on(rows=1, seats_per_row=2, ticket_types=[NewTicketType(name="Inteira", price=3000)])
        assert {seat.ticket_type.name for seat in Seat.objects.of(session.pk)} == {"Inteira"}

    def test_plays_the_show_of_that_title_or_a_new_one(self, put_on: Open, tomorrow: dt.datetime) -> None:
        first = put_on(show="Maré de Inverno")
        second = put_on(show="Maré de Inverno", starts_at=tomorrow + dt.timedelta(days=1))
        assert first.show_id == second.show_id
        assert Show.objects.count() == 1

    def test_lasts_as_long_as_its_show(self, put_on: Open) -> None:
        show = factories.ShowFactory(duration_minutes=95)
        session = put_on(show=show.pk)
        assert session.ends_at - session.starts_at == dt.timedelta(minutes=95)

    def test_refuses_a_taken_hall_and_names_the_other_session(
        self, put_on: Open, hall: Hall, tomorrow: dt.datetime
    ) -> None:
        first = put_on(hall=hall.pk, price=100)
        with pytest.raises(HallBusy) as refusal:
            put_on(hall=hall.pk, price=100, starts_at=tomorrow + dt.timedelta(minutes=119))
        assert refusal.value.facts() == {"session": str(first.pk)}
        assert Session.objects.count() == 1

    def test_lets_one_session_follow_another_at_once(self, put_on: Open, hall: Hall, tomorrow: dt.datetime) -> None:
        put_on(hall=hall.pk, price=100)
        put_on(hall=hall.pk, price=100, starts_at=tomorrow + dt.timedelta(minutes=120))
        assert Session.objects.count() == 2

    def test_writes_an_event(self, put_on: Open) -> None:
        session = put_on()
        event = Event.objects.get(session=session.pk)
        assert event.name == "session.created"
        assert event.facts["seats"] == 6

    @pytest.mark.parametrize(
        ("field", "asked"),
        [
            ("price", {"rows": 1, "seats_per_row": 1}),
            ("price", {"price": -1}),
            ("price", {"price": 2_147_483_648}),
            ("rows", {"rows": 0, "seats_per_row": 1, "price": 1}),
            ("rows", {"rows": 20_000, "seats_per_row": 2, "price": 1}),
            ("seats_per_row", {"rows": 1, "price": 1}),
            ("rows", {"rows": None, "seats_per_row": 3, "price": 1}),
            ("hold_seconds", {"hold_seconds": 0}),
            ("max_hold_seconds", {"hold_seconds": 60, "max_hold_seconds": 59}),
            ("max_per_buyer", {"max_per_buyer": 0}),
            ("duration_minutes", {"duration_minutes": 0}),
            ("duration_minutes", {"duration_minutes": 2_147_483_648}),
            ("currency", {"currency": "real"}),
            ("room", {"room": "x" * 81}),
            ("show", {"show": uuid.uuid4()}),
            ("show", {"show": ""}),
            ("hall", {"hall": uuid.uuid4()}),
            ("starts_at", {"starts_at": dt.datetime(1999, 1, 1, tzinfo=dt.UTC)}),
            ("starts_at", {"starts_at": dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.UTC)}),
            ("on_sale_at", {"on_sale_at": dt.datetime(2199, 1, 1, tzinfo=dt.UTC)}),
            ("ticket_types", {"ticket_types": []}),
            ("ticket_types", {"ticket_types": [NewTicketType(name="Pista", price=1)]}),
            ("ticket_types", {"ticket_types": [NewTicketType(name="Pista", capacity=1)]}),
            ("ticket_types", {"ticket_types": [NewTicketType(name="", price=1, capacity=1)]}),
            ("ticket_types", {"ticket_types": [NewTicketType(name="Pista", price=1, capacity=1)] * 2}),
            ("ticket_types", {"ticket_types": [NewTicketType(name="Pista", price=1, capacity=2**31)]}),
            (
                "ticket_types",
                {"rows": 1, "seats_per_row": 1, "price": 1, "ticket_types": [NewTicketType(name="Standard", price=1)]},
            ),
            ("ticket_types", {"ticket_types": [NewTicketType(name=str(n), price=1, capacity=1) for n in range(51)]}),
        ],
    )
    def test_names_the_field_that_is_wrong_and_writes_nothing(
        self, put_on: Open, field: str, asked: dict[str, Any]
    ) -> None:
        with pytest.raises(ValidationError) as refusal:
            put_on(**asked)
        assert list(refusal.value.message_dict) == [field]
        assert not Session.objects.exists()
        assert not Show.objects.exists()

    def test_takes_a_hall_or_rows_but_not_both(self, put_on: Open, hall: Hall) -> None:
        with pytest.raises(ValidationError) as refusal:
            put_on(hall=hall.pk, rows=1, seats_per_row=1, price=1)
        assert list(refusal.value.message_dict) == ["rows"]


class TestCancelSession:
    def test_frees_the_hall(self, put_on: Open, hall: Hall) -> None:
        first = put_on(hall=hall.pk, price=100)
        operations.cancel_session(session_id=first.pk)
        again = put_on(hall=hall.pk, price=100)
        assert list(Session.objects.upcoming()) == [again]

    def test_refuses_while_a_buyer_holds_a_seat(self, put_on: Open, tomorrow: dt.datetime) -> None:
        session = put_on()
        Seat.objects.filter(session=session, label="A1").update(
            status="h", reservation_id=uuid.uuid4(), held_until=tomorrow
        )
        with pytest.raises(HasBuyers):
            operations.cancel_session(session_id=session.pk)

    def test_refuses_while_stock_is_taken(self, put_on: Open) -> None:
        session = put_on(ticket_types=[NewTicketType(name="Pista", price=1, capacity=2)])
        TicketType.objects.filter(session=session).update(available=1)
        with pytest.raises(HasBuyers):
            operations.cancel_session(session_id=session.pk)

    def test_is_repeatable(self, put_on: Open) -> None:
        session = put_on()
        first = operations.cancel_session(session_id=session.pk)
        assert operations.cancel_session(session_id=session.pk).cancelled_at == first.cancelled_at
        assert Event.objects.filter(session=session.pk, name="session.cancelled").count() == 1


class TestRefurnish:
    def test_changes_the_hall_and_no_session(self, put_on: Open, hall: Hall) -> None:
        before = put_on(hall=hall.pk, price=100)
        operations.refurnish(hall_id=hall.pk, places=grid(rows=1, seats_per_row=3))
        after = put_on(hall=hall.pk, price=100, starts_at=before.ends_at)
        assert [Seat.objects.of(session.pk).count() for session in (before, after)] == [4, 3]

    def test_leaves_the_chairs_alone_when_the_new_ones_cannot_stand(self, hall: Hall) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            operations.refurnish(hall_id=hall.pk, places=grid(rows=1, seats_per_row=1) * 2)
        assert hall.seats.count() == 4
