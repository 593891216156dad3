"""Staff changes unnumbered places, in the admin and by the operations under it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from realtime.models import Event
from reservations.allocation.stock import FewerThanTaken
from reservations.operations import holding, inventory
from reservations.refusals import SoldOut
from sessions_app.models import Pool, TicketType
from tests.conftest import Hold
from tests.factories import PoolFactory, UserFactory
from tests.reservations.test_pools import Festival

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def festival(transactional_db: None) -> Festival:
    return Festival()


@pytest.fixture
def desk(festival: Festival) -> Client:
    client = Client()
    owner = UserFactory.create(is_staff=True, is_superuser=True)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def change(row: TicketType | Pool) -> str:
    return reverse(f"admin:sessions_app_{row._meta.model_name}_change", args=[row.pk])


def told(answer: Any) -> str:
    """Return the last message."""
    return str(list(get_messages(answer.wsgi_request))[-1])


def filled(kind: TicketType, **more: Any) -> dict[str, Any]:
    pools = [str(pool.pk) for pool in kind.pools.all()]
    return {"name": kind.name, "price": "90", "total": kind.capacity, "shared": pools, "holds": "on", **more}


class TestCapacity:
    def test_is_raised_and_lowered_by_free_places(self, festival: Festival, hold: Hold, ana: uuid.UUID) -> None:
        hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=2)
        inventory.change_pool(pool=festival.days["sat"].pk, capacity=2)
        assert festival.left() == (0, 3)
        with pytest.raises(SoldOut):
            hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=1)
        inventory.change_pool(pool=festival.days["sat"].pk, capacity=4)
        hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=2)
        assert Event.objects.filter(name="stock.changed", session=festival.session.pk).count() == 2

    def test_is_never_less_than_is_taken(self, festival: Festival, hold: Hold, ana: uuid.UUID) -> None:
        hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=2)
        with pytest.raises(FewerThanTaken) as refused:
            inventory.change_pool(pool=festival.days["sat"].pk, capacity=1)
        assert (refused.value.name, refused.value.taken) == ("sat", 2)
        pools = [festival.days["sat"].pk]
        with pytest.raises(FewerThanTaken):
            inventory.change_stock(ticket_type=festival.sat.pk, capacity=1, pools=pools)
        inventory.change_stock(ticket_type=festival.sat.pk, capacity=2, pools=pools)
        assert festival.stock_left(festival.sat) == 0

    def test_moves_to_other_pools_with_its_taken_places(self, festival: Festival, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=2)
        inventory.change_stock(ticket_type=festival.sat.pk, capacity=10, pools=[festival.days["sun"].pk])
        assert festival.left() == (3, 1)
        holding.release(reservation_id=held.pk, buyer=ana)
        assert festival.left() == (3, 3)

    def test_moves_to_no_pool_that_is_too_small(self, festival: Festival, hold: Hold, ana: uuid.UUID) -> None:
        hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=2)
        small = PoolFactory.create(session=festival.session, name="small", capacity=1)
        with pytest.raises(FewerThanTaken):
            inventory.change_stock(ticket_type=festival.sat.pk, capacity=10, pools=[small.pk])
        assert festival.left() == (1, 3)


class TestTicketTypeDesk:
    def test_changes_a_stock_and_its_rules(self, desk: Client, festival: Festival) -> None:
        assert desk.get(change(festival.both)).context["adminform"].form["total"].value() == 2
        answer = desk.post(change(festival.both), filled(festival.both, total=7, max_per_order=2, price="95.50"))
        assert answer.status_code == 302, answer.context["errors"]
        kind = TicketType.objects.get(pk=festival.both.pk)
        assert (kind.capacity, kind.available, kind.max_per_order, kind.price) == (7, 7, 2, 9550)
        assert set(kind.pools.all()) == set(festival.days.values())

    def test_shows_how_many_places_are_taken(
        self, desk: Client, festival: Festival, hold: Hold, ana: uuid.UUID
    ) -> None:
        hold(festival.session, buyer=ana, ticket_type=festival.sat.pk, quantity=2)
        answer = desk.post(change(festival.sat), filled(festival.sat, total=1, name="Sábado"))
        assert told(answer) == "“Sábado”: 2 places are held or sold, so the capacity cannot be lower."
        assert TicketType.objects.get(pk=festival.sat.pk).name == "Saturday"

    def test_adds_a_type_to_a_session_that_is_on_sale(
        self, desk: Client, festival: Festival, hold: Hold, ana: uuid.UUID
    ) -> None:
        form = {**filled(festival.sat), "name": "Late", "session": str(festival.session.pk), "total": 5}
        answer = desk.post(reverse("admin:sessions_app_tickettype_add"), form)
        assert answer.status_code == 302, answer.context["errors"]
        late = TicketType.objects.get(name="Late")
        hold(festival.session, buyer=ana, ticket_type=late.pk, quantity=2)
        assert festival.left() == (1, 3)

    def test_takes_pools_of_its_own_session_only(self, desk: Client, festival: Festival) -> None:
        foreign = PoolFactory.create()
        form = {
            **filled(festival.sat),
            "name": "Late",
            "session": str(festival.session.pk),
            "shared": [str(foreign.pk)],
        }
        answer = desk.post(reverse("admin:sessions_app_tickettype_add"), form)
        assert "shared" in answer.context["adminform"].form.errors
        assert not TicketType.objects.filter(name="Late").exists()

    def test_has_no_stock_for_a_type_that_prices_seats(self, desk: Client, festival: Festival) -> None:
        seats = TicketType.objects.get(session=festival.session, capacity=None)
        assert "total" not in desk.get(change(seats)).context["adminform"].form.fields
        assert desk.post(change(seats), {"name": "Seats", "price": "30"}).status_code == 302
        seats.refresh_from_db()
        assert (seats.name, seats.price, seats.capacity) == ("Seats", 3000, None)


class TestPoolDesk:
    def test_creates_and_changes_a_pool(self, desk: Client, festival: Festival, hold: Hold, ana: uuid.UUID) -> None:
        form = {"session": str(festival.session.pk), "name": "House", "total": 9}
        assert desk.post(reverse("admin:sessions_app_pool_add"), form).status_code == 302
        house = Pool.objects.get(name="House")
        assert (house.capacity, house.available) == (9, 9)
        hold(festival.session, buyer=ana, ticket_type=festival.sun.pk, quantity=2)
        sunday = festival.days["sun"]
        answer = desk.post(change(sunday), {"name": "sun", "total": 1})
        assert "2 places are held or sold" in told(answer)
        assert desk.post(change(sunday), {"name": "Domingo", "total": 5}).status_code == 302
        sunday.refresh_from_db()
        assert (sunday.name, sunday.capacity, sunday.available) == ("Domingo", 5, 3)

    def test_lists_the_types_that_draw_on_each_pool(self, desk: Client, festival: Festival) -> None:
        page = desk.get(reverse("admin:sessions_app_pool_changelist")).content.decode()
        assert "Saturday, Weekend" in page
