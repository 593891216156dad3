from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sessions_app.models import Hall, Seat, Session, Show, TicketType
from tests import factories
from tests.sessions_app.conftest import Open
from ticketing.models import User

ADD = "admin:sessions_app_session_add"
LIST = "admin:sessions_app_session_changelist"


def told(answer: Any) -> str:
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


@pytest.fixture
def show(db: None) -> Show:
    made: Show = factories.ShowFactory(title="A Cartógrafa", duration_minutes=104)
    return made


@pytest.fixture
def filled(show: Show) -> dict[str, Any]:
    """The form for a new session as a manager fills it in: a room of four rows at R$ 25.50."""
    day = timezone.localdate() + dt.timedelta(days=2)
    return {
        "show": show.pk,
        "starts_at_0": day.isoformat(),
        "starts_at_1": "19:30",
        "room": "Sala 1",
        "rows": "4",
        "seats_per_row": "5",
        "price": "25.50",
        "currency": "BRL",
        "max_per_buyer": "6",
        "hold_seconds": "30",
        "max_hold_seconds": "300",
    }


class TestNewSession:
    def test_has_defaults_that_fit(self, desk: Client) -> None:
        page = desk.get(reverse(ADD)).content.decode()
        assert all(f'name="{field}"' in page for field in ("show", "hall", "rows", "price", "starts_at_0"))
        assert 'value="BRL"' in page

    def test_is_on_sale_with_its_seats(self, desk: Client, filled: dict[str, Any]) -> None:
        answer = desk.post(reverse(ADD), filled)
        assert answer.status_code == 302, answer.context["errors"]
        session = Session.objects.get()
        assert timezone.localtime(session.starts_at).time() == dt.time(19, 30)
        assert session.ends_at - session.starts_at == dt.timedelta(minutes=104)
        assert Seat.objects.of(session.pk).count() == 20
        assert TicketType.objects.get(session=session).price == 2550

    def test_takes_amounts_as_they_are_written_here(self, desk: Client, filled: dict[str, Any]) -> None:
        desk.post(reverse(ADD), {**filled, "price": "25,50"}, headers={"accept-language": "pt-br"})
        assert TicketType.objects.get().price == 2550

    def test_may_be_in_a_hall(self, desk: Client, filled: dict[str, Any], hall: Hall) -> None:
        desk.post(reverse(ADD), {**filled, "hall": hall.pk, "room": "", "rows": "", "seats_per_row": ""})
        session = Session.objects.get()
        assert (session.hall, session.room) == (hall, hall.name)
        assert Seat.objects.of(session.pk).count() == 4

    def test_may_sell_places_without_a_number(self, desk: Client, filled: dict[str, Any]) -> None:
        stock = {"rows": "", "seats_per_row": "", "price": "", "places": "300", "places_price": "90"}
        desk.post(reverse(ADD), {**filled, **stock})
        kind = TicketType.objects.get()
        assert (kind.name, kind.price, kind.available) == ("General admission", 9000, 300)

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("show", {"show": ""}),
            ("starts_at", {"starts_at_0": "2020-01-01"}),
            ("rows", {"rows": "20000", "seats_per_row": "2"}),
            ("seats_per_row", {"seats_per_row": ""}),
            ("price", {"price": ""}),
            ("price", {"price": "25.505"}),
            ("rows", {"rows": "0"}),
            ("max_hold_seconds", {"max_hold_seconds": "10"}),
            ("places", {"rows": "", "seats_per_row": "", "places": ""}),
            ("places_price", {"places": "3", "places_price": "0.001"}),
            ("on_sale_at", {"on_sale_at_0": "2099-01-01", "on_sale_at_1": "10:00"}),
            ("hall", {"hall": str(uuid.uuid4())}),
        ],
    )
    def test_says_which_field_is_wrong(
        self, desk: Client, filled: dict[str, Any], field: str, change: dict[str, str]
    ) -> None:
        answer = desk.post(reverse(ADD), {**filled, **change})
        assert answer.status_code == 200
        assert set(answer.context["adminform"].form.errors) == {field}
        assert not Session.objects.exists()

    def test_says_that_the_hall_is_taken(self, desk: Client, filled: dict[str, Any], hall: Hall, put_on: Open) -> None:
        in_hall = {**filled, "hall": hall.pk, "rows": "", "seats_per_row": ""}
        desk.post(reverse(ADD), in_hall)
        answer = desk.post(reverse(ADD), in_hall)
        assert "A Cartógrafa" in str(answer.context["adminform"].form.errors["starts_at"])
        assert Session.objects.count() == 1

    def test_is_not_for_the_gate(self, client: Client, filled: dict[str, Any]) -> None:
        client.force_login(factories.UserFactory(is_staff=True), backend="django.contrib.auth.backends.ModelBackend")
        assert client.post(reverse(ADD), filled).status_code == 403


class TestSessionDesk:
    def test_lists_what_is_left(self, desk: Client, put_on: Open) -> None:
        put_on()
        page = desk.get(reverse(LIST), {"q": "cartógrafa"}).content.decode()
        assert "6 / 6" in page
        assert "R$25.00" in page

    def test_writes_only_what_was_edited(self, desk: Client, put_on: Open, olivia: User) -> None:
        """Seats are sold, and the map's version grows, while she reads the form."""
        session = put_on()
        change = reverse("admin:sessions_app_session_change", args=[session.pk])
        page = desk.get(change)
        form, (types,) = page.context["adminform"].form, page.context["inline_admin_formsets"]
        posted = {"ticket_types-TOTAL_FORMS": "1", "ticket_types-INITIAL_FORMS": "1"}
        kind = TicketType.objects.get(session=session)
        posted |= {"ticket_types-0-id": str(kind.pk), "ticket_types-0-session": str(session.pk)}
        posted |= {"ticket_types-0-name": "Inteira", "ticket_types-0-price": "26.00"}
        local = timezone.localtime(session.starts_at), timezone.localtime(session.ends_at)
        for name, moment in zip(("starts_at", "ends_at"), local, strict=True):
            posted |= {f"{name}_0": moment.date().isoformat(), f"{name}_1": moment.time().isoformat()}
        posted |= {"room": "Sala 9", "max_per_buyer": "4", "hold_seconds": "30", "max_hold_seconds": "300"}
        Session.objects.filter(pk=session.pk).update(map_version=9)
        answer = desk.post(change, posted)
        assert answer.status_code == 302, (form, types, answer.context["errors"])
        session.refresh_from_db()
        kind.refresh_from_db()
        assert (session.room, session.max_per_buyer, session.map_version) == ("Sala 9", 4, 9)
        assert (kind.name, kind.price) == ("Inteira", 2600)

    def test_calls_sessions_off_unless_they_have_buyers(self, desk: Client, put_on: Open) -> None:
        empty, sold = put_on(), put_on()
        Seat.objects.filter(session=sold, label="A1").update(status="s", reservation_id=uuid.uuid4())
        answer = desk.post(reverse(LIST), {"action": "call_off", "_selected_action": [empty.pk, sold.pk]})
        assert "has buyers" in told(answer)
        assert list(Session.objects.filter(cancelled_at__isnull=False)) == [empty]

    def test_deletes_none(self, desk: Client, put_on: Open) -> None:
        session = put_on()
        delete = reverse("admin:sessions_app_session_delete", args=[session.pk])
        assert desk.post(delete, {"post": "yes"}).status_code == 403


class TestTicketTypeDesk:
    def test_changes_the_price_but_never_the_stock_that_is_being_sold(self, desk: Client, put_on: Open) -> None:
        stock = factories.StockFactory(session=put_on(), name="Pista", price=9000, capacity=5)
        change = reverse("admin:sessions_app_tickettype_change", args=[stock.pk])
        assert desk.get(change).context["adminform"].form["price"].value() == 90
        TicketType.objects.filter(pk=stock.pk).update(available=2)
        desk.post(change, {"name": "Pista Premium", "price": "95.50", "available": "5", "capacity": "9"})
        stock.refresh_from_db()
        assert (stock.name, stock.price, stock.capacity, stock.available) == ("Pista Premium", 9550, 5, 2)


class TestHallDesk:
    def test_furnishes_a_new_hall(self, desk: Client) -> None:
        venue = factories.VenueFactory()
        filled = {"venue": venue.pk, "name": "Sala 7", "rows": "3", "seats_per_row": "4"}
        assert desk.post(reverse("admin:sessions_app_hall_add"), filled).status_code == 302
        hall = Hall.objects.get()
        assert list(hall.seats.values_list("label", flat=True))[:5] == ["A1", "A2", "A3", "A4", "B1"]
        assert hall.seats.count() == 12

    def test_leaves_chairs_as_they_stand(self, desk: Client, hall: Hall) -> None:
        change = reverse("admin:sessions_app_hall_change", args=[hall.pk])
        desk.post(change, {"venue": hall.venue_id, "name": "Sala Nova", "rows": "9", "seats_per_row": "9"})
        hall.refresh_from_db()
        assert (hall.name, hall.seats.count()) == ("Sala Nova", 4)

    def test_refuses_half_a_room(self, desk: Client) -> None:
        filled = {"venue": factories.VenueFactory().pk, "name": "Sala 7", "rows": "3"}
        answer = desk.post(reverse("admin:sessions_app_hall_add"), filled)
        assert "seats_per_row" in answer.context["adminform"].form.errors


@pytest.mark.parametrize(
    "model",
    [
        "sessions_app_venue",
        "sessions_app_hall",
        "sessions_app_hallseat",
        "sessions_app_show",
        "sessions_app_session",
        "sessions_app_tickettype",
        "sessions_app_seat",
        "reservations_reservation",
        "reservations_inboxrequest",
        "ticketing_user",
        "auth_group",
        "ticketing_sale",
        "ticketing_ticket",
        "ticketing_payment",
        "ticketing_refund",
        "ticketing_sandboxcharge",
        "realtime_event",
    ],
)
def test_every_list_opens_and_can_be_searched(desk: Client, put_on: Open, hall: Hall, model: str) -> None:
    put_on(hall=hall.pk, price=100)
    for query in ("", "?q=Sala+1", "?q=%00", f"?q={uuid.uuid4()}"):
        answer = desk.get(reverse(f"admin:{model}_changelist") + query, headers={"accept-language": "pt-br"})
        assert answer.status_code == 200
