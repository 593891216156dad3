from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from sessions_app import operations
from sessions_app.api.views import FESTIVAL
from sessions_app.models import Hall, Pool, Seat, Session
from sessions_app.new_prices import NewTicketType
from tests import factories
from tests.api import assert_problem
from tests.sessions_app.conftest import Open

SESSIONS = "/api/v1/sessions"
UNKNOWN = uuid.UUID(int=7)


def seats_of(session: Session) -> str:
    return f"{SESSIONS}/{session.pk}/seats"


def fields(answer: Any) -> set[str]:
    """Return the fields that a validation problem names."""
    assert answer.status_code == 400, answer.content
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    return {error["field"] for error in answer.json()["errors"]}


class TestLists:
    @pytest.mark.parametrize("name", ["venues", "halls", "shows", "sessions", "ticket-types"])
    def test_are_public_with_or_without_a_last_slash(self, client: Client, put_on: Open, name: str) -> None:
        put_on()
        first, second = client.get(f"/api/v1/{name}"), client.get(f"/api/v1/{name}/")
        assert first.json() == second.json()
        assert set(first.json()) == {"results", "next", "previous"}

    def test_page_by_cursor_forth_and_back(self, client: Client, db: None) -> None:
        titles = [factories.ShowFactory(title=f"Filme {letter}").title for letter in "ABC"]
        first = client.get("/api/v1/shows?limit=2").json()
        second = client.get(first["next"]).json()
        assert [show["title"] for show in first["results"] + second["results"]] == titles
        assert second["next"] is None
        assert client.get(second["previous"]).json()["results"] == first["results"]

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=-1", "cursor=x", "cursor=cD0lMDA%3D"])
    def test_refuse_an_invalid_page(self, client: Client, db: None, query: str) -> None:
        assert fields(client.get(f"/api/v1/shows?{query}")) == {query.split("=")[0]}

    def test_give_the_ids_that_a_new_session_takes(self, client: Client, hall: Hall) -> None:
        (found,) = client.get("/api/v1/halls").json()["results"]
        assert found == {
            "id": str(hall.pk),
            "name": hall.name,
            "venue": {"id": str(hall.venue_id), "name": hall.venue.name, "city": "São Paulo", "address": ""},
            "seats": 4,
        }


class TestSessionList:
    def test_tells_places_left_and_the_lowest_price(self, client: Client, put_on: Open) -> None:
        session = put_on()
        (found,) = client.get(SESSIONS).json()["results"]
        assert found["id"] == str(session.pk)
        assert found["show"]["title"] == "A Cartógrafa"
        assert (found["available"], found["capacity"]) == (6, 6)
        assert found["from_price"] == {"amount": 2500, "currency": "BRL"}

    def test_tells_times_in_utc(self, client: Client, put_on: Open) -> None:
        put_on(starts_at=dt.datetime(2099, 5, 1, 19, 30, tzinfo=dt.timezone(dt.timedelta(hours=-3))))
        (found,) = client.get(SESSIONS).json()["results"]
        assert found["starts_at"] == "2099-05-01T22:30:00Z"

    def test_is_sorted_by_start(self, client: Client, put_on: Open, tomorrow: dt.datetime) -> None:
        later, sooner = put_on(starts_at=tomorrow + dt.timedelta(hours=1)), put_on()
        found = client.get(SESSIONS).json()["results"]
        assert [session["id"] for session in found] == [str(sooner.pk), str(later.pk)]

    def test_can_be_filtered(self, client: Client, put_on: Open, hall: Hall) -> None:
        wanted = put_on(
            hall=hall.pk, price=1, show="Sertão Elétrico", starts_at=dt.datetime(2099, 5, 2, 1, tzinfo=dt.UTC)
        )
        put_on()
        for query in (
            f"show={wanted.show_id}",
            f"venue={hall.venue_id}",
            "date=2099-05-01",  # there it is still the evening of the day before
            "search=sertão",
        ):
            found = client.get(f"{SESSIONS}?{query}").json()["results"]
            assert [session["id"] for session in found] == [str(wanted.pk)], query

    @pytest.mark.parametrize("query", ["show=1", "venue=x", "date=tomorrow", "date=2026-13-01", "search=%00"])
    def test_refuses_an_invalid_filter(self, client: Client, db: None, query: str) -> None:
        assert fields(client.get(f"{SESSIONS}?{query}")) == {query.split("=")[0]}

    def test_is_empty_for_an_unknown_show(self, client: Client, put_on: Open) -> None:
        put_on()
        assert client.get(f"{SESSIONS}?show={uuid.uuid4()}").json()["results"] == []


class TestOneSession:
    def test_has_its_types_and_counts(self, client: Client, put_on: Open) -> None:
        session = put_on(
            rows=1, seats_per_row=2, price=2500, ticket_types=[NewTicketType(name="Pista", price=50, capacity=5)]
        )
        found = client.get(f"{SESSIONS}/{session.pk}").json()
        assert found["counts"] == {"free": 2, "held": 0, "sold": 0, "blocked": 0}
        assert [
            (kind["name"], kind["price"]["amount"], kind["numbered"], kind["capacity"], kind["available"])
            for kind in found["ticket_types"]
        ] == [("Standard", 2500, True, 2, 2), ("Pista", 50, False, 5, 5)]

    def test_is_there_once_it_is_over(self, client: Client, put_on: Open) -> None:
        session = put_on(starts_at=timezone.now() - dt.timedelta(days=1))
        assert client.get(f"{SESSIONS}/{session.pk}").status_code == 200

    @pytest.mark.parametrize("path", [str(UNKNOWN), f"{UNKNOWN}/seats", "1", "1/seats"])
    def test_is_not_found_under_an_unknown_id(self, client: Client, db: None, path: str) -> None:
        answer = client.get(f"{SESSIONS}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


class TestTicketTypes:
    def test_can_be_of_one_session(self, client: Client, put_on: Open) -> None:
        session, _other = put_on(), put_on()
        found = client.get(f"/api/v1/ticket-types?session={session.pk}").json()["results"]
        assert [kind["session"] for kind in found] == [str(session.pk)]

    def test_are_of_upcoming_sessions_by_default(self, client: Client, put_on: Open) -> None:
        over, to_come = put_on(starts_at=timezone.now() - dt.timedelta(days=1)), put_on()
        found = client.get("/api/v1/ticket-types").json()["results"]
        assert [kind["session"] for kind in found] == [str(to_come.pk)]
        asked = client.get(f"/api/v1/ticket-types?session={over.pk}").json()["results"]
        assert [kind["session"] for kind in asked] == [str(over.pk)]


class TestSeats:
    def test_come_with_the_version_as_etag(self, client: Client, put_on: Open) -> None:
        session = put_on()
        Session.objects.filter(pk=session.pk).update(map_version=41)
        answer = client.get(seats_of(session))
        assert answer.headers["ETag"] == '"41"'
        assert answer.json()["version"] == 41
        assert [seat["label"] for seat in answer.json()["seats"]] == ["A1", "A2", "A3", "B1", "B2", "B3"]

    @pytest.mark.parametrize("known", ['"0"', 'W/"0"', '"9", "0"', "*"])
    def test_are_not_sent_again_to_a_client_that_has_them(self, client: Client, put_on: Open, known: str) -> None:
        answer = client.get(seats_of(put_on()), headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"0"')

    def test_are_sent_again_once_they_changed(self, client: Client, put_on: Open) -> None:
        session = put_on()
        Session.objects.filter(pk=session.pk).update(map_version=1)
        assert client.get(seats_of(session), headers={"if-none-match": '"0"'}).status_code == 200

    def test_have_a_compact_form(self, client: Client, put_on: Open) -> None:
        session = put_on()
        Seat.objects.filter(session=session, label="A2").update(status="b")
        answer = client.get(f"{seats_of(session)}?format=compact")
        assert answer.json() == {"version": 0, "seats": "fbffff"}
        assert answer.headers["ETag"] == '"0"'

    def test_tell_the_end_of_a_hold_in_utc(self, client: Client, put_on: Open) -> None:
        session = put_on()
        Seat.objects.filter(session=session, label="A1").update(
            status="h", reservation_id=uuid.uuid4(), held_until=dt.datetime(2099, 1, 1, 12, tzinfo=dt.UTC)
        )
        seat = client.get(seats_of(session)).json()["seats"][0]
        assert (seat["status"], seat["held_until"]) == ("held", "2099-01-01T12:00:00Z")

    def test_tell_each_seats_status_in_a_word(self, client: Client, staff: Client, put_on: Open) -> None:
        session = put_on()
        Seat.objects.filter(session=session, label="A2").update(status="b")
        answer = client.get(seats_of(session)).json()
        assert [seat["status"] for seat in answer["seats"]][:3] == ["free", "blocked", "free"]
        past = staff.get(f"{seats_of(session)}?at=2026-01-01T00:00:00Z").json()
        assert {seat["status"] for seat in past["seats"]} == {"free"}

    @pytest.mark.parametrize("moment", ["2026-01-01", "2026-01-01T00:00:00"])
    def test_of_the_past_take_no_moment_without_its_offset(self, staff: Client, put_on: Open, moment: str) -> None:
        answer = staff.get(f"{seats_of(put_on())}?at={moment}")
        assert assert_problem(answer, 400, "invalid")["errors"][0]["field"] == "at"

    def test_of_the_past_are_for_staff(self, client: Client, staff: Client, buyer: Client, put_on: Open) -> None:
        path = f"{seats_of(put_on())}?at=2026-01-01T00:00:00Z"
        assert [asker.get(path).status_code for asker in (client, buyer, staff)] == [401, 403, 200]
        assert staff.get(f"{path}&format=compact").json() == {"version": 0, "seats": "ffffff"}

    @pytest.mark.parametrize("query", ["format=xml", "at=yesterday", "at=0001-01-01T00:00:00Z"])
    def test_refuse_an_invalid_query(self, staff: Client, put_on: Open, query: str) -> None:
        assert fields(staff.get(f"{seats_of(put_on())}?{query}")) == {query.split("=")[0]}


class TestNewSession:
    @pytest.fixture
    def small_room(self) -> dict[str, Any]:
        return {
            "show": {"title": "Quintal de Estrelas"},
            "room": "Sala 1",
            "rows": 4,
            "seats_per_row": 4,
            "starts_at": "2099-05-01T22:30:00Z",
            "price": 2500,
            "currency": "BRL",
        }

    def test_makes_a_room_with_its_seats(self, staff: Client, small_room: dict[str, Any]) -> None:
        answer = staff.post(SESSIONS, small_room, content_type="application/json")
        assert answer.status_code == 201, answer.content
        made = answer.json()
        assert made["counts"]["free"] == made["available"] == 16
        assert made["ends_at"] == "2099-05-02T00:30:00Z"
        assert (made["hold_seconds"], made["max_hold_seconds"], made["max_per_buyer"]) == (30, 600, 10)
        assert staff.get(answer.headers["Location"]).json() == made

    def test_takes_a_hall_and_a_show_by_id(self, staff: Client, hall: Hall) -> None:
        show = factories.ShowFactory()
        asked = {"show": str(show.pk), "hall": str(hall.pk), "starts_at": "2099-05-01T22:30:00Z", "price": 0}
        made = staff.post(SESSIONS, asked, content_type="application/json").json()
        assert (made["show"]["id"], made["hall"], made["capacity"]) == (str(show.pk), str(hall.pk), 4)
        assert made["venue"]["id"] == str(hall.venue_id)

    def test_takes_general_admission(self, staff: Client) -> None:
        asked = {
            "show": {"title": "Lua de Abril"},
            "starts_at": "2099-05-01T22:30:00Z",
            "ticket_types": [{"name": "Pista", "price": 9000, "capacity": 50_000}],
        }
        made = staff.post(SESSIONS, asked, content_type="application/json").json()
        assert (made["available"], made["from_price"]["amount"]) == (50_000, 9000)

    def test_takes_pools_and_own_rules_of_ticket_types(self, staff: Client) -> None:
        made = staff.post(SESSIONS, FESTIVAL.value, content_type="application/json").json()
        assert [(pool["name"], pool["capacity"], pool["available"]) for pool in made["pools"]] == [
            ("Saturday", 500, 500),
            ("Sunday", 400, 400),
        ]
        _day, weekend = made["ticket_types"]
        assert (weekend["pools"], weekend["max_per_buyer"], weekend["holds"]) == (["Saturday", "Sunday"], 2, True)
        assert (weekend["sells_from"], weekend["sells_until"]) == (None, "2031-04-01T03:00:00Z")
        assert (made["available"], made["capacity"]) == (600, 600)
        Pool.objects.filter(name="Sunday").update(available=7)
        listed = staff.get("/api/v1/ticket-types", {"session": made["id"]}).json()["results"]
        assert [kind["available"] for kind in listed] == [500, 7]
        assert staff.get(f"{SESSIONS}/{made['id']}").json()["available"] == 507

    def test_shows_no_more_places_left_than_the_pools_have(self, staff: Client) -> None:
        both = {"price": 1, "capacity": 100, "pools": ["Day"]}
        asked = {**FESTIVAL.value, "pools": [{"name": "Day", "capacity": 30}]}
        asked["ticket_types"] = [{"name": "Full", **both}, {"name": "Half", **both}]
        made = staff.post(SESSIONS, asked, content_type="application/json").json()
        assert (made["available"], [kind["available"] for kind in made["ticket_types"]]) == (30, [30, 30])

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"ticket_types": [{"name": "X", "price": 1, "capacity": 1, "pools": ["Monday"]}]}, "ticket_types"),
            ({"pools": [{"name": "Saturday", "capacity": 1}] * 2}, "pools"),
            ({"pools": [{"name": "Saturday", "capacity": -1}]}, "pools.0.capacity"),
            (
                {"rows": 1, "seats_per_row": 1, "ticket_types": [{"name": "X", "price": 1, "max_per_order": 1}]},
                "ticket_types",
            ),
            (
                {"rows": 1, "seats_per_row": 1, "ticket_types": [{"name": "X", "price": 1, "holds": False}]},
                "ticket_types",
            ),
            (
                {"ticket_types": [{"name": "X", "price": 1, "capacity": 1, "max_per_order": 0}]},
                "ticket_types.0.max_per_order",
            ),
            (
                {"ticket_types": [{"name": "X", "price": 1, "capacity": 1, "sells_from": "1999-01-01T00:00:00Z"}]},
                "ticket_types",
            ),
            (
                {
                    "ticket_types": [
                        {
                            "name": "X",
                            "price": 1,
                            "capacity": 1,
                            "sells_from": "2031-02-01T00:00:00Z",
                            "sells_until": "2031-01-01T00:00:00Z",
                        }
                    ]
                },
                "ticket_types",
            ),
        ],
    )
    def test_names_the_wrong_field_of_ticket_types(self, staff: Client, wrong: dict[str, Any], field: str) -> None:
        answer = staff.post(SESSIONS, {**FESTIVAL.value, **wrong}, content_type="application/json")
        assert (answer.status_code, fields(answer)) == (400, {field})
        assert not Session.objects.exists()

    def test_refuses_a_hall_that_is_taken_and_names_the_session(self, staff: Client, put_on: Open, hall: Hall) -> None:
        first = put_on(hall=hall.pk, price=1)
        asked = {"show": str(first.show_id), "hall": str(hall.pk), "starts_at": first.starts_at.isoformat(), "price": 1}
        answer = staff.post(SESSIONS, asked, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (409, "hall_busy")
        assert answer.json()["session"] == str(first.pk)

    def test_is_created_once_for_one_key(self, staff: Client, small_room: dict[str, Any]) -> None:
        key = {"idempotency-key": "sala-1-friday"}
        first, again = (
            staff.post(SESSIONS, small_room, content_type="application/json", headers=key) for _time in range(2)
        )
        assert (again.status_code, again.content, again.headers["Location"]) == (
            first.status_code,
            first.content,
            first.headers["Location"],
        )
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert Session.objects.count() == 1

    def test_refuses_a_key_that_came_with_another_request(self, staff: Client, small_room: dict[str, Any]) -> None:
        key = {"idempotency-key": "sala-1-friday"}
        staff.post(SESSIONS, small_room, content_type="application/json", headers=key)
        answer = staff.post(SESSIONS, {**small_room, "rows": 5}, content_type="application/json", headers=key)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")

    def test_key_is_free_again_after_a_refusal(self, staff: Client, small_room: dict[str, Any]) -> None:
        key = {"idempotency-key": "sala-1-friday"}
        wrong = {**small_room, "on_sale_at": "2100-01-01T00:00:00Z"}
        assert staff.post(SESSIONS, wrong, content_type="application/json", headers=key).status_code == 400
        assert staff.post(SESSIONS, small_room, content_type="application/json", headers=key).status_code == 201

    def test_is_for_staff(self, client: Client, buyer: Client, small_room: dict[str, Any]) -> None:
        answers = [asker.post(SESSIONS, small_room, content_type="application/json") for asker in (client, buyer)]
        assert [answer.status_code for answer in answers] == [401, 403]
        assert not Session.objects.exists()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("show", None),
            ("show", 1),
            ("show", "A Cartógrafa"),
            ("show", {"title": ""}),
            ("show", {"title": "nul\0"}),
            ("show", {}),
            ("hall", "x"),
            ("room", "nul\0"),
            ("room", "half a pair \ud800"),
            ("rows", 0),
            ("rows", 2**31),
            ("rows", "4"),
            ("rows", 1.5),
            ("seats_per_row", None),
            ("starts_at", "soon"),
            ("starts_at", "0001-01-01T00:00:00+14:00"),
            ("starts_at", "9999-12-31T23:59:59-14:00"),
            ("price", -1),
            ("price", 2**63),
            ("currency", "R$"),
            ("hold_seconds", 0),
            ("max_per_buyer", True),
            ("on_sale_at", "2099-05-01T22:30:00Z"),
            ("ticket_types", "Pista"),
            ("ticket_types.0.name", [{"name": None, "price": 1, "capacity": 1}]),
            ("ticket_types.0.capacity", [{"name": "Pista", "price": 1, "capacity": 2**31}]),
        ],
    )
    def test_names_the_field_that_is_wrong(
        self, staff: Client, small_room: dict[str, Any], field: str, value: Any
    ) -> None:
        asked = {**small_room, field.split(".")[0]: value}
        found = fields(staff.post(SESSIONS, asked, content_type="application/json"))
        assert {name.removesuffix(".title") for name in found} == {field}
        assert not Session.objects.exists()

    @pytest.mark.parametrize(
        "moment", ["2099-05-01", "2099-05-01T20:00:00", "2099-05-01T20:00", "2099-05-01 20:00:00.5"]
    )
    @pytest.mark.parametrize(
        "field", ["starts_at", "on_sale_at", "ticket_types.0.sells_from", "ticket_types.0.sells_until"]
    )
    def test_takes_no_moment_without_its_offset(
        self, staff: Client, small_room: dict[str, Any], field: str, moment: str
    ) -> None:
        name, _number, inner = field.partition(".0.")
        said = [{"name": "Pista", "price": 1, "capacity": 1, inner: moment}] if inner else moment
        answer = staff.post(SESSIONS, {**small_room, name: said}, content_type="application/json")
        (error,) = assert_problem(answer, 400, "invalid")["errors"]
        assert error["field"] == field
        assert error["message"].startswith("Must be a time with its offset from UTC (RFC 3339), like 2030-")
        assert not Session.objects.exists()

    @pytest.mark.parametrize("moment", ["2099-05-01T19:30:00-03:00", "2099-05-01T22:30:00Z", "2099-05-01T22:30Z"])
    def test_takes_a_moment_with_any_offset(self, staff: Client, small_room: dict[str, Any], moment: str) -> None:
        made = staff.post(SESSIONS, {**small_room, "starts_at": moment}, content_type="application/json")
        assert made.json()["starts_at"] == "2099-05-01T22:30:00Z"

    def test_refuses_a_body_that_is_no_object(self, staff: Client) -> None:
        assert staff.post(SESSIONS, [], content_type="application/json").status_code == 400


def test_cancelled_session_says_so(client: Client, put_on: Open) -> None:
    session = put_on()
    operations.cancel_session(session_id=session.pk)
    assert client.get(f"{SESSIONS}/{session.pk}").json()["cancelled_at"] is not None
