"""Violate each constraint of the catalogue once."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from sessions_app.models import HIGHEST_FEE, Concession, Hall, HallSeat, Pool, Seat, Session, TicketType, shard_of
from tests import factories
from tests.sessions_app.conftest import Open

MAY = dt.datetime(2031, 5, 1, tzinfo=dt.UTC)


def refused(constraint: str) -> Any:
    return pytest.raises(IntegrityError, match=constraint)


class TestSession:
    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("session_ends_after_it_starts", {"ends_at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}),
            ("session_goes_on_sale_before_it_starts", {"on_sale_at": dt.datetime(2199, 1, 1, tzinfo=dt.UTC)}),
            ("session_longest_hold_covers_a_hold", {"hold_seconds": 31, "max_hold_seconds": 30}),
            ("session_longest_hold_covers_a_hold", {"hold_seconds": 0}),
            ("session_sells_at_least_one_a_buyer", {"max_per_buyer": 0}),
            ("session_fees_and_tax_are_bounded", {"booking_fee": HIGHEST_FEE + 1}),
            ("session_fees_and_tax_are_bounded", {"booking_fee_basis_points": 10_001}),
            ("session_fees_and_tax_are_bounded", {"tax_basis_points": 10_001}),
        ],
    )
    def test_keeps_its_rules_in_the_database(self, put_on: Open, constraint: str, change: dict[str, Any]) -> None:
        session = put_on()
        with refused(constraint), transaction.atomic():
            Session.objects.filter(pk=session.pk).update(**change)

    def test_shares_its_hall_with_no_other_at_the_same_time(self, hall: Hall, put_on: Open) -> None:
        other = put_on(hall=hall.pk, price=100)
        with refused("session_hall_hosts_one_at_a_time"), transaction.atomic():
            Session.objects.create(
                show=other.show, hall=hall, starts_at=other.starts_at, ends_at=other.starts_at + dt.timedelta(minutes=1)
            )

    def test_sells_from_the_on_sale_until_it_starts(self) -> None:
        now = timezone.now()
        session = Session(starts_at=now + dt.timedelta(hours=2), on_sale_at=now + dt.timedelta(hours=1))
        assert [session.sells_at(now + dt.timedelta(minutes=late)) for late in (0, 60, 119, 120)] == [
            False,
            True,
            True,
            False,
        ]

    def test_sells_nothing_once_cancelled(self) -> None:
        now = timezone.now()
        assert not Session(starts_at=now + dt.timedelta(hours=2), cancelled_at=now).sells_at(now)

    def test_always_goes_to_the_same_shard(self) -> None:
        session = uuid.UUID("01a20066-2ade-7efa-b934-99b4cf818456")
        assert {shard_of(session, 4) for _again in range(3)} == {shard_of(session, 4)}
        assert {shard_of(uuid.uuid4(), 4) for _session in range(200)} == {0, 1, 2, 3}


class TestHall:
    def test_has_a_name_of_its_own_in_its_venue(self, hall: Hall) -> None:
        with refused("hall_name_once_a_venue"), transaction.atomic():
            Hall.objects.create(venue=hall.venue, name=hall.name)

    def test_has_each_label_once(self, hall: Hall) -> None:
        with refused("hall_seat_label_once_a_hall"), transaction.atomic():
            HallSeat.objects.create(hall=hall, label="A1", row="A", number=1, position=9)

    def test_stands_in_a_venue_of_another_name(self, hall: Hall) -> None:
        with refused("venue"), transaction.atomic():
            factories.VenueFactory(name=hall.venue.name)


class TestTicketType:
    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("ticket_type_available_never_negative", {"available": -1}),
            ("ticket_type_available_never_above_capacity", {"available": 6}),
            ("ticket_type_stock_is_whole", {"available": None}),
            ("ticket_type_stock_is_whole", {"capacity": None}),
            ("price", {"price": -1}),
            ("capacity", {"capacity": -1}),
            (
                "ticket_type_only_a_stock_has_rules_of_its_own",
                {"capacity": None, "available": None, "max_per_order": 1},
            ),
            ("ticket_type_sells_from_before_until", {"sells_from": MAY, "sells_until": MAY}),
            ("ticket_type_sells_at_least_one", {"max_per_order": 0}),
            ("ticket_type_sells_at_least_one", {"max_per_buyer": 0}),
        ],
    )
    def test_keeps_its_rules_in_the_database(self, put_on: Open, constraint: str, change: dict[str, Any]) -> None:
        stock = factories.StockFactory(session=put_on())
        with refused(constraint), transaction.atomic():
            TicketType.objects.filter(pk=stock.pk).update(**change)

    def test_has_a_name_of_its_own_in_its_session(self, put_on: Open) -> None:
        stock = factories.StockFactory(session=put_on())
        with refused("ticket_type_name_once_a_session"), transaction.atomic():
            TicketType.objects.create(session=stock.session, name=stock.name, price=1)


class TestPool:
    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("pool_available_never_negative", {"available": -1}),
            ("pool_available_never_above_capacity", {"available": 4}),
        ],
    )
    def test_keeps_its_rules_in_the_database(self, put_on: Open, constraint: str, change: dict[str, Any]) -> None:
        pool = factories.PoolFactory(session=put_on())
        with refused(constraint), transaction.atomic():
            Pool.objects.filter(pk=pool.pk).update(**change)

    def test_has_a_name_of_its_own_in_its_session(self, put_on: Open) -> None:
        pool = factories.PoolFactory(session=put_on())
        with refused("pool_name_once_a_session"), transaction.atomic():
            factories.PoolFactory(session=pool.session, name=pool.name)


class TestSeat:
    @pytest.mark.parametrize(
        ("constraint", "change"),
        [
            ("seat_held_or_sold_has_a_reservation", {"status": "s"}),
            (
                "seat_held_or_sold_has_a_reservation",
                {"status": "h", "held_until": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)},
            ),
            ("seat_free_has_none", {"reservation_id": uuid.uuid4()}),
            ("seat_free_has_none", {"status": "b", "reservation_id": uuid.uuid4()}),
            ("seat_held_until_while_held", {"status": "h", "reservation_id": uuid.uuid4()}),
            ("seat_held_until_while_held", {"held_until": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)}),
        ],
    )
    def test_keeps_its_rules_in_the_database(self, put_on: Open, constraint: str, change: dict[str, Any]) -> None:
        session = put_on()
        with refused(constraint), transaction.atomic():
            Seat.objects.filter(session=session, label="A1").update(**change)

    def test_has_a_label_of_its_own_in_its_session(self, put_on: Open) -> None:
        session = put_on()
        with refused("seat_label_once_a_session"), transaction.atomic():
            Seat.objects.filter(session=session, label="A1").update(label="A2")


class TestConcession:
    @pytest.mark.parametrize(
        "change",
        [{"percent_off": None}, {"price": 100}, {"percent_off": 101}],
    )
    def test_is_a_share_or_a_price(self, put_on: Open, change: dict[str, Any]) -> None:
        concession = factories.ConcessionFactory.create(session=put_on())
        with refused("concession_is_a_share_or_a_price"), transaction.atomic():
            Concession.objects.filter(pk=concession.pk).update(**change)

    def test_has_a_name_of_its_own(self, put_on: Open) -> None:
        concession = factories.ConcessionFactory.create(session=put_on())
        with refused("concession_name_once_a_session"), transaction.atomic():
            factories.ConcessionFactory.create(session=concession.session, name="CHILD")
