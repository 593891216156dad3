from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sessions_app import plan_files
from sessions_app.models import Hall, Seat, Session, Show, TicketType
from sessions_app.plans import of_chairs
from tests import factories
from tests.sessions_app.conftest import Open
from tests.support.pages import confirmed
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
    """Return the form for a new session as a manager fills it in: a room of four rows at R$ 25.50."""
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

    def test_goes_on_sale_with_its_seats(self, desk: Client, filled: dict[str, Any]) -> None:
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

    def test_may_have_concessions_and_fees(self, desk: Client, filled: dict[str, Any]) -> None:
        terms = {"concessions": "Student; 50%; student card\n\nChild; 12.50", "fee": "1.50", "tax_basis_points": "700"}
        assert desk.post(reverse(ADD), {**filled, **terms}).status_code == 302
        session = Session.objects.get()
        assert (session.booking_fee, session.booking_fee_basis_points, session.tax_basis_points) == (150, 0, 700)
        assert list(session.concessions.values_list("name", "percent_off", "price", "note")) == [
            ("Student", 50, None, "student card"),
            ("Child", None, 1250, ""),
        ]

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("concessions", {"concessions": "Student; half"}),
            ("concessions", {"concessions": "Student"}),
            ("concessions", {"concessions": "Student; 101%"}),
            ("fee", {"fee": "-1"}),
            ("tax_basis_points", {"tax_basis_points": "10001"}),
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
    def test_lists_places_left(self, desk: Client, put_on: Open) -> None:
        put_on()
        page = desk.get(reverse(LIST), {"q": "cartógrafa"}).content.decode()
        assert "6 / 6" in page
        assert "R$25.00" in page

    def test_writes_only_edited_fields(self, desk: Client, put_on: Open, olivia: User) -> None:
        """Seats are sold, and the map's version grows, while she reads the form."""
        session = put_on()
        change = reverse("admin:sessions_app_session_change", args=[session.pk])
        page = desk.get(change)
        form, (types, *_more) = page.context["adminform"].form, page.context["inline_admin_formsets"]
        posted = {"ticket_types-TOTAL_FORMS": "1", "ticket_types-INITIAL_FORMS": "1"}
        kind = TicketType.objects.get(session=session)
        posted |= {"ticket_types-0-id": str(kind.pk), "ticket_types-0-session": str(session.pk)}
        posted |= {"ticket_types-0-name": "Inteira", "ticket_types-0-price": "26.00"}
        posted |= {"lanes-TOTAL_FORMS": "1", "lanes-INITIAL_FORMS": "0"}
        posted |= {"lanes-0-name": "Members", "lanes-0-weight": "3", "lanes-0-code": "friends"}
        local = timezone.localtime(session.starts_at), timezone.localtime(session.ends_at)
        for name, moment in zip(("starts_at", "ends_at"), local, strict=True):
            posted |= {f"{name}_0": moment.date().isoformat(), f"{name}_1": moment.time().isoformat()}
        posted |= {"concessions-TOTAL_FORMS": "1", "concessions-INITIAL_FORMS": "0"}
        posted |= {
            "concessions-0-session": str(session.pk),
            "concessions-0-name": "Child",
            "concessions-0-price": "9.50",
        }
        posted |= {"concessions-0-position": "1", "booking_fee": "1.50", "tax_basis_points": "700"}
        posted |= {"room": "Sala 9", "max_per_buyer": "4", "hold_seconds": "30", "max_hold_seconds": "300"}
        Session.objects.filter(pk=session.pk).update(map_version=9)
        answer = desk.post(change, posted)
        assert answer.status_code == 302, (form, types, answer.context["errors"])
        session.refresh_from_db()
        kind.refresh_from_db()
        assert (session.room, session.max_per_buyer, session.map_version) == ("Sala 9", 4, 9)
        assert (kind.name, kind.price) == ("Inteira", 2600)
        assert (session.booking_fee, session.booking_fee_basis_points, session.tax_basis_points) == (150, 0, 700)
        assert session.concessions.get().price == 950
        assert list(session.lanes.values_list("name", "weight", "code")) == [("Members", 3, "friends")]

    def test_cancels_sessions_unless_they_have_buyers(self, desk: Client, put_on: Open) -> None:
        empty, sold = put_on(), put_on()
        Seat.objects.filter(session=sold, label="A1").update(status="s", reservation_id=uuid.uuid4())
        answer = confirmed(desk, reverse(LIST), {"action": "call_off", "_selected_action": [empty.pk, sold.pk]})
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
        desk.post(change, {"name": "Pista Premium", "price": "95.50", "available": "5", "total": "5"})
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


FROM_PLAN = "admin:sessions_app_hall_import_hall"
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


def plan_of(hall: Hall) -> str:
    return reverse("admin:sessions_app_hall_import_plan", args=[hall.pk])


def shown(answer: Any) -> dict[str, str]:
    """Return what the browser posts when the page is sent on with another button."""
    form = answer.context["form"]
    return {name: form[name].value() or "" for name in form.fields if name != "file"}


def clerk(*permissions: str) -> Client:
    """Sign in a member of the staff who has this right and no other."""
    person = factories.UserFactory(is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person, backend=MODEL_BACKEND)
    return client


class TestHallPlan:
    def test_is_shown_and_then_kept_for_a_new_hall(self, desk: Client) -> None:
        venue = factories.VenueFactory()
        where = {"venue": str(venue.pk), "name": "Sala 7", "text": "[Plateia]\r\nwcaa_ll\r\n[Balcão]\r\naaa"}
        preview = desk.post(reverse(FROM_PLAN), {**where, "preview": "1"})
        page = preview.content.decode()
        assert page.count("data-seat=") == 9
        assert "9 seats, as buyers will see them" in page
        assert not Hall.objects.exists()
        kept = desk.post(reverse(FROM_PLAN), {**shown(preview), "keep": "1"}, follow=True)
        assert "were replaced" in kept.content.decode()
        assert Hall.objects.get(venue=venue, name="Sala 7").seats.count() == 9
        assert "A plan of 9 seats." in LogEntry.objects.get().change_message

    def test_may_be_a_file(self, desk: Client, hall: Hall) -> None:
        file = SimpleUploadedFile(
            "plan.json", b'{"sections": [{"rows": [{"name": "Z", "seats": [{"x": 0, "y": 3}]}]}]}'
        )
        preview = desk.post(plan_of(hall), {"file": file, "preview": "1"})
        desk.post(plan_of(hall), {**shown(preview), "keep": "1"})
        assert list(hall.seats.values_list("label", flat=True)) == ["Z1"]

    def test_says_that_it_replaces_chairs_but_not_those_of_sessions(
        self, desk: Client, hall: Hall, put_on: Open
    ) -> None:
        session = put_on(hall=hall.pk, price=100)
        preview = desk.post(plan_of(hall), {"text": "aaa", "preview": "1"})
        page = preview.content.decode()
        assert "The hall has 4 chairs now. If you save, the new chairs replace all of them" in page
        assert "1 future session was made with the old chairs" in page
        desk.post(plan_of(hall), {**shown(preview), "keep": "1"})
        assert hall.seats.count() == 3
        assert Seat.objects.of(session.pk).count() == 4

    def test_is_shown_again_if_it_was_changed_after_the_preview(self, desk: Client, hall: Hall) -> None:
        preview = desk.post(plan_of(hall), {"text": "aaa", "preview": "1"})
        again = desk.post(plan_of(hall), {**shown(preview), "text": "aaaaa", "keep": "1"})
        assert again.content.decode().count("data-seat=") == 5
        assert hall.seats.count() == 4
        desk.post(plan_of(hall), {**shown(again), "keep": "1"})
        assert hall.seats.count() == 5

    def test_is_not_kept_unseen(self, desk: Client, hall: Hall) -> None:
        assert desk.post(plan_of(hall), {"text": "aaa", "keep": "1"}).status_code == 200
        assert hall.seats.count() == 4

    @pytest.mark.parametrize(
        ("posted", "field", "wrong"),
        [
            ({"text": ""}, "text", "The plan has no seats."),
            ({"text": "aa\n?"}, "text", "line 2: “?” has no meaning here"),
            ({"text": '{"sections": [{"rows": 1}]}'}, "text", "sections[0].rows: Must be a list"),
            ({"text": "a\0"}, "text", "Null characters are not allowed."),
            ({"file": b"\xff\xfe"}, "text", "The file is not text in UTF-8."),
            ({"file": b"\0"}, "text", "has no meaning here"),
            ({"file": b""}, "file", "The submitted file is empty."),
            ({"file": b"#" * 2_000_001}, "text", "A plan has at most 2000000 bytes."),
            ({"text": "#" * 2_000_001}, "text", "at most 2000000 characters"),
        ],
    )
    def test_lists_its_errors(self, desk: Client, hall: Hall, posted: dict[str, Any], field: str, wrong: str) -> None:
        if "file" in posted:
            posted = {"file": SimpleUploadedFile("plan.txt", posted["file"])}
        answer = desk.post(plan_of(hall), {**posted, "keep": "1"})
        assert answer.status_code == 200
        assert wrong in str(answer.context["form"].errors[field])
        assert answer.context["plan"] is None
        assert hall.seats.count() == 4

    def test_shows_a_wrong_file_so_that_it_can_be_corrected(self, desk: Client, hall: Hall) -> None:
        answer = desk.post(plan_of(hall), {"file": SimpleUploadedFile("plan.txt", b"aaa\nbbb")})
        assert answer.context["form"]["text"].value() == "aaa\nbbb"

    def test_is_refused_if_it_is_far_too_large(self, desk: Client, hall: Hall) -> None:
        assert desk.post(plan_of(hall), {"text": "#" * 3_000_000}).status_code == 400

    def test_needs_a_venue_and_an_own_name_for_a_new_hall(self, desk: Client, hall: Hall) -> None:
        assert {"venue", "name"} <= desk.post(reverse(FROM_PLAN), {"text": "a"}).context["form"].errors.keys()
        taken = {"venue": hall.venue_id, "name": hall.name, "text": "a"}
        assert set(desk.post(reverse(FROM_PLAN), taken).context["form"].errors) == {"name"}

    def test_is_for_staff_that_may_add_or_change_halls(self, hall: Hall, client: Client) -> None:
        looks, adds, changes = clerk("view_hall"), clerk("add_hall"), clerk("view_hall", "change_hall")
        answers = {
            name: (somebody.get(reverse(FROM_PLAN)).status_code, somebody.get(plan_of(hall)).status_code)
            for name, somebody in {"looks": looks, "adds": adds, "changes": changes, "street": client}.items()
        }
        assert answers == {"looks": (403, 403), "adds": (200, 403), "changes": (403, 200), "street": (302, 302)}
        assert looks.post(plan_of(hall), {"text": "a", "keep": "1"}).status_code == 403

    def test_is_sent_with_a_token(self, hall: Hall, olivia: User) -> None:
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(olivia, backend=MODEL_BACKEND)
        assert browser.post(plan_of(hall), {"text": "a"}).status_code == 403
        assert 'name="csrfmiddlewaretoken"' in browser.get(plan_of(hall)).content.decode()

    def test_is_not_found_for_an_unknown_hall(self, desk: Client) -> None:
        for name in ("import_plan", "export_plan"):
            for key in (uuid.uuid4(), "nonsense"):
                assert desk.get(reverse(f"admin:sessions_app_hall_{name}", args=[key])).status_code == 404

    def test_can_be_downloaded_and_imported_again(self, desk: Client, hall: Hall) -> None:
        answer = desk.get(reverse("admin:sessions_app_hall_export_plan", args=[hall.pk]))
        assert answer["Content-Disposition"].startswith('attachment; filename="sala-')
        assert plan_files.read(answer.content) == of_chairs(list(hall.seats.all()))

    def test_is_offered_where_halls_are(self, desk: Client, hall: Hall) -> None:
        halls = desk.get(reverse("admin:sessions_app_hall_changelist")).content.decode()
        assert reverse(FROM_PLAN) in halls
        one = desk.get(reverse("admin:sessions_app_hall_change", args=[hall.pk])).content.decode()
        assert plan_of(hall) in one

    def test_speaks_portuguese(self, desk: Client, hall: Hall) -> None:
        page = desk.post(plan_of(hall), {"text": "aa"}, headers={"accept-language": "pt-br"}).content.decode()
        assert "2 poltronas, como os compradores as verão" in page
        assert "Substituir as poltronas" in page


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
