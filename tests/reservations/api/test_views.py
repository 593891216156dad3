"""Buyers hold seats over HTTP, as API.md says."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from base.ids import uuid7
from reservations import queries
from reservations.admission import front_door
from reservations.models import InboxRequest, Reservation, Status
from reservations.queries import reservation_body
from reservations.queueing import liveness
from sessions_app.models import Seat, Session
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import SessionFactory, StockFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a worker is alive, so that waiting is worth it; the queue allocates in this process."""
    monkeypatch.setattr(liveness, "is_alive", lambda _part: True)


def ask(client: APIClient, session: Session, *seats: str, **headers: str) -> Any:
    return post(client, "/reservations", {"session": str(session.pk), "seats": list(seats)}, **headers)


class TestRequest:
    def test_is_accepted_with_its_location(self, ana: UUID, session: Session) -> None:
        response = ask(client_of(ana), session, "A1", "A2")
        body = response.json()
        assert response.status_code == 202
        assert response["Location"] == f"/api/v1/reservations/{body['id']}"
        assert int(response["Retry-After"]) >= 1
        assert "Preference-Applied" not in response
        assert body["status"] == "queued"
        assert body["session"] == str(session.pk)
        assert body["seats"] == ["A1", "A2"]
        assert 0 < body["arrival"] < 2**53
        assert UUID(body["id"]).version == 7

    @pytest.mark.usefixtures("a_worker")
    def test_gets_the_outcome_with_prefer_wait(self, ana: UUID, session: Session) -> None:
        response = ask(client_of(ana), session, "A1", "A2", prefer="wait=5")
        body = response.json()
        assert response.status_code == 201
        assert response["Location"] == f"/api/v1/reservations/{body['id']}"
        assert response["Preference-Applied"] == "wait=5"
        assert body["status"] == "held"
        assert body["total"] == {"amount": 5000, "currency": "BRL"}
        assert dt.datetime.fromisoformat(body["expires_at"]) > timezone.now()

    @pytest.mark.usefixtures("a_worker")
    def test_gets_the_names_of_taken_seats(self, ana: UUID, bruno: UUID, session: Session) -> None:
        ask(client_of(bruno), session, "A2")
        response = ask(client_of(ana), session, "A1", "A2", prefer="wait=5")
        problem = assert_problem(response, 409, "seats_unavailable")
        assert problem["conflicts"] == [{"seat": "A2", "reason": "held"}]
        assert Seat.objects.get(session=session, label="A1").status == "f"

    @pytest.mark.usefixtures("a_worker")
    def test_gets_the_same_refusal_after_waiting_as_at_admission(self, ana: UUID, session: Session) -> None:
        Seat.objects.filter(session=session, label="B1").update(status="b")
        problem = assert_problem(ask(client_of(ana), session, "B1", prefer="wait=5"), 409, "seats_unavailable")
        assert problem["conflicts"] == [{"seat": "B1", "reason": "blocked"}]

    def test_gets_the_best_seats(self, ana: UUID, session: Session) -> None:
        body = {"session": str(session.pk), "best_available": {"quantity": 3}}
        response = post(client_of(ana), "/reservations", body)
        assert response.status_code == 202
        assert len(get(client_of(ana), f"/reservations/{response.json()['id']}").json()["seats"]) == 3

    def test_gets_places_without_a_number(self, ana: UUID, session: Session) -> None:
        stock = StockFactory(session=session)
        body = {"session": str(session.pk), "ticket_type": str(stock.pk), "quantity": 2}
        response = post(client_of(ana), "/reservations", body)
        assert response.status_code == 202
        stock.refresh_from_db()
        assert stock.available == 3

    def test_is_refused_when_no_places_are_left(self, ana: UUID, session: Session) -> None:
        stock = StockFactory(session=session, capacity=1)
        body = {"session": str(session.pk), "ticket_type": str(stock.pk), "quantity": 2}
        assert_problem(post(client_of(ana), "/reservations", body), 409, "sold_out")

    def test_is_refused_with_the_opening_of_the_sale(self, ana: UUID) -> None:
        opens = timezone.now() + dt.timedelta(hours=1)
        problem = assert_problem(ask(client_of(ana), SessionFactory(on_sale_at=opens), "A1"), 409, "sale_not_open")
        assert dt.datetime.fromisoformat(problem["on_sale_at"]) == opens
        assert problem["on_sale_at"].endswith("Z")

    def test_is_refused_when_the_sale_is_closed(self, ana: UUID) -> None:
        past = SessionFactory(starts_at=timezone.now() - dt.timedelta(minutes=1))
        assert_problem(ask(client_of(ana), past, "A1"), 409, "sale_closed")

    def test_is_refused_with_the_limit_of_a_buyer(self, ana: UUID) -> None:
        session = SessionFactory(max_per_buyer=2)
        ask(client_of(ana), session, "A1", "A2")
        problem = assert_problem(ask(client_of(ana), session, "A3"), 409, "limit_reached")
        assert problem["limit"] == 2


S = "the session"  # stands for its id in the rows below
T = "a ticket type"


class TestApi:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "session"),
            ({"session": S}, "seats"),
            ({"session": "not-a-uuid", "seats": ["A1"]}, "session"),
            ({"session": 7, "seats": ["A1"]}, "session"),
            ({"session": None, "seats": ["A1"]}, "session"),
            ({"session": S, "seats": []}, "seats"),
            ({"session": S, "seats": "A1"}, "seats"),
            ({"session": S, "seats": {"A1": 1}}, "seats"),
            ({"session": S, "seats": [1]}, "seats.0"),
            ({"session": S, "seats": ["A1", None]}, "seats.1"),
            ({"session": S, "seats": ["A" * 17]}, "seats.0"),
            ({"session": S, "seats": ["A\x001"]}, "seats.0"),
            ({"session": S, "seats": ["\ud800"]}, "seats.0"),
            ({"session": S, "seats": ["A1"] * 1001}, "seats"),
            ({"session": S, "seats": ["A1"], "quantity": 2}, "quantity"),
            ({"session": S, "seats": ["A1"], "best_available": {"quantity": 1}}, "best_available"),
            ({"session": S, "quantity": 2}, "ticket_type"),
            ({"session": S, "ticket_type": T}, "quantity"),
            ({"session": S, "ticket_type": T, "quantity": 0}, "quantity"),
            ({"session": S, "ticket_type": T, "quantity": -1}, "quantity"),
            ({"session": S, "ticket_type": T, "quantity": "2"}, "quantity"),
            ({"session": S, "ticket_type": T, "quantity": 1.5}, "quantity"),
            ({"session": S, "ticket_type": T, "quantity": True}, "quantity"),
            ({"session": S, "ticket_type": T, "quantity": 10**30}, "quantity"),
            ({"session": S, "best_available": 3}, "best_available"),
            ({"session": S, "best_available": {"quantity": 0}}, "best_available.quantity"),
            ({"session": S, "best_available": {"quantity": 1, "accessible": "yes"}}, "best_available.accessible"),
        ],
        ids=repr,
    )
    def test_names_the_wrong_field_and_stores_nothing(
        self, ana: UUID, session: Session, body: dict[str, Any], field: str
    ) -> None:
        told = {S: str(session.pk), T: str(uuid4())}
        sent = {name: told.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
        response = client_of(ana).generic("POST", "/api/v1/reservations", json.dumps(sent), "application/json")
        problem = assert_problem(response, 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == [field]
        assert_nothing_stored(session)

    @pytest.mark.parametrize(
        ("seats", "code", "facts"),
        [
            (["A1", "Z9"], "unknown_seat", {"seats": ["Z9"]}),
            (["A1", "A2", "A1"], "duplicate_seat", {"seats": ["A1"]}),
            ([f"X{number}" for number in range(1000)], "too_many_seats", {"limit": 10}),
        ],
    )
    def test_refuses_unknown_seats(
        self, ana: UUID, session: Session, seats: list[str], code: str, facts: dict[str, Any]
    ) -> None:
        problem = assert_problem(ask(client_of(ana), session, *seats), 400, code)
        assert {name: problem[name] for name in facts} == facts
        assert_nothing_stored(session)

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"seats": [f"X{number}" for number in range(11)]}, "seats"),
            ({"best_available": {"quantity": 11}}, "best_available.quantity"),
            ({"ticket_type": str(uuid4()), "quantity": 11}, "quantity"),
        ],
    )
    def test_names_the_field_that_asks_for_too_many(
        self, ana: UUID, session: Session, asked: dict[str, Any], field: str
    ) -> None:
        response = post(client_of(ana), "/reservations", {"session": str(session.pk), **asked})
        problem = assert_problem(response, 400, "too_many_seats")
        assert problem["errors"] == [{"field": field, "message": "The limit is 10."}]

    def test_refuses_unknown_sessions_and_ticket_types(self, ana: UUID, session: Session) -> None:
        stock = StockFactory(session=SessionFactory())
        client = client_of(ana)
        assert_problem(
            post(client, "/reservations", {"session": str(uuid7()), "seats": ["A1"]}), 400, "unknown_session"
        )
        elsewhere = {"session": str(session.pk), "ticket_type": str(stock.pk), "quantity": 1}
        assert_problem(post(client, "/reservations", elsewhere), 400, "unknown_ticket_type")
        assert_nothing_stored(session)

    def test_requires_a_buyer(self, session: Session) -> None:
        assert_problem(ask(APIClient(), session, "A1"), 401, "not_authenticated")
        assert_nothing_stored(session)

    @pytest.mark.parametrize("key", ["", "a b", "x" * 256])
    def test_requires_a_key_of_visible_characters(self, ana: UUID, session: Session, key: str) -> None:
        problem = assert_problem(ask(client_of(ana), session, "A1", idempotency_key=key), 400, "invalid")
        assert problem["errors"][0]["field"] == "Idempotency-Key"
        assert_nothing_stored(session)

    @pytest.mark.parametrize("sent", ["wait=x", "wait=-1", "wait=", "respond-async", "wait=1e3", "wait=99999999999"])
    def test_ignores_an_invalid_preference(self, ana: UUID, session: Session, sent: str) -> None:
        assert ask(client_of(ana), session, "A1", prefer=sent).status_code == 202


def assert_nothing_stored(session: Session) -> None:
    assert not Reservation.objects.exists()
    assert not InboxRequest.objects.exists()
    assert not Seat.objects.filter(session=session).exclude(status="f").exists()


class TestSameKey:
    def test_gets_the_same_202(self, ana: UUID, session: Session) -> None:
        first = ask(client_of(ana), session, "A1", idempotency_key="k")
        second = ask(client_of(ana), session, "A1", idempotency_key='"k"')
        assert (second.status_code, second.json()) == (first.status_code, first.json())
        assert second["Idempotent-Replayed"] == "true"
        assert second["Location"] == first["Location"]
        assert Reservation.objects.count() == 1

    @pytest.mark.usefixtures("a_worker")
    def test_gets_the_same_outcome_it_waited_for(self, ana: UUID, session: Session) -> None:
        first = ask(client_of(ana), session, "A1", idempotency_key="k", prefer="wait=5")
        post(client_of(ana), f"/reservations/{first.json()['id']}/extend")
        second = ask(client_of(ana), session, "A1", idempotency_key="k", prefer="wait=5")
        assert (second.status_code, second.json()) == (201, first.json())
        assert second["Location"] == first["Location"]
        assert second["Idempotent-Replayed"] == "true"

    @pytest.mark.usefixtures("a_worker")
    def test_gets_the_same_loss_after_waiting(self, ana: UUID, session: Session) -> None:
        Seat.objects.filter(session=session, label="B1").update(status="b")
        first = ask(client_of(ana), session, "B1", idempotency_key="k", prefer="wait=5")
        Seat.objects.filter(session=session, label="B1").update(status="f")
        second = ask(client_of(ana), session, "B1", idempotency_key="k", prefer="wait=5")
        assert first.status_code == second.status_code == 409
        assert second["Content-Type"] == "application/problem+json"
        assert second.json() == first.json()

    def test_gets_422_with_another_payload(self, ana: UUID, session: Session) -> None:
        ask(client_of(ana), session, "A1", idempotency_key="k")
        assert_problem(ask(client_of(ana), session, "A2", idempotency_key="k"), 422, "idempotency_mismatch")

    def test_is_another_key_for_another_buyer(self, ana: UUID, bruno: UUID, session: Session) -> None:
        ask(client_of(ana), session, "A1", idempotency_key="k")
        assert ask(client_of(bruno), session, "A2", idempotency_key="k").json()["seats"] == ["A2"]

    def test_may_try_again_after_a_refusal_at_admission(self, ana: UUID, bruno: UUID, session: Session) -> None:
        taken = ask(client_of(bruno), session, "A1").json()["id"]
        assert_problem(ask(client_of(ana), session, "A1", idempotency_key="k"), 409, "seats_unavailable")
        client_of(bruno).delete(f"/api/v1/reservations/{taken}")
        assert ask(client_of(ana), session, "A1", idempotency_key="k").status_code == 202


class TestRead:
    def test_shows_the_state(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        body = get(client_of(ana), f"/reservations/{reservation.pk}").json()
        assert body["status"] == "held"
        assert body["seats"] == ["A1"]
        assert body["total"] == {"amount": 2500, "currency": "BRL"}
        assert body["sale"] is None

    def test_shows_the_refusal(self, ana: UUID, session: Session, hold: Hold) -> None:
        Seat.objects.filter(session=session, label="B1").update(status="b")
        body = get(client_of(ana), f"/reservations/{hold(session, 'B1', buyer=ana).pk}").json()
        assert body["status"] == "rejected"
        assert body["reason"] == "seats_unavailable"
        assert body["conflicts"] == [{"seat": "B1", "reason": "blocked"}]

    def test_never_calls_a_young_id_unknown(self, ana: UUID) -> None:
        response = get(client_of(ana), f"/reservations/{uuid7()}")
        assert_problem(response, 503, "unavailable")
        assert response["Retry-After"]

    def test_lists_the_buyers_own_reservations_by_page(
        self, ana: UUID, bruno: UUID, session: Session, hold: Hold
    ) -> None:
        mine = [str(hold(session, seat, buyer=ana).pk) for seat in ("A1", "A2", "A3")]
        hold(session, "B1", buyer=bruno)
        first = get(client_of(ana), "/reservations", limit=2).json()
        second = client_of(ana).get(first["next"]).json()
        assert [row["id"] for row in first["results"] + second["results"]] == mine[::-1]
        assert second["next"] is None
        assert client_of(ana).get(second["previous"]).json()["results"] == first["results"]

    def test_lists_reservations_of_one_session(self, ana: UUID, session: Session, hold: Hold) -> None:
        other = SessionFactory(seats=(1, 2))
        held, _ = hold(session, "A1", buyer=ana), hold(other, "A1", buyer=ana)
        waits, _ = ask(client_of(ana), session, "A2").json(), ask(client_of(ana), other, "A2")
        found = get(client_of(ana), "/reservations", session=str(session.pk)).json()["results"]
        assert [row["id"] for row in found] == [waits["id"], str(held.pk)]
        assert get(client_of(ana), "/reservations", session=str(uuid7())).json()["results"] == []

    @pytest.mark.parametrize("session", ["", "x", "\0", "1" * 32])
    def test_refuses_an_invalid_session_id(self, ana: UUID, session: str) -> None:
        problem = assert_problem(get(client_of(ana), "/reservations", session=session), 400, "invalid")
        assert problem["errors"] == [{"field": "session", "message": "Must be the id of a session."}]

    @pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1.5", "9" * 30])
    def test_refuses_a_limit_out_of_bounds(self, ana: UUID, limit: str) -> None:
        problem = assert_problem(get(client_of(ana), "/reservations", limit=limit), 400, "invalid")
        assert problem["errors"][0]["field"] == "limit"

    @pytest.mark.parametrize("cursor", ["x", "cD1ub25zZW5zZQ==", "é"])
    def test_refuses_an_invalid_cursor(self, ana: UUID, cursor: str) -> None:
        problem = assert_problem(get(client_of(ana), "/reservations", cursor=cursor), 400, "invalid")
        assert problem["errors"][0]["field"] == "cursor"


class TestReservation:
    def test_is_hidden_from_other_buyers(self, ana: UUID, bruno: UUID, session: Session, hold: Hold) -> None:
        here = f"/reservations/{hold(session, 'A1', buyer=ana).pk}"
        client = client_of(bruno)
        assert_problem(get(client, here), 404, "not_found")
        assert_problem(client.delete(f"/api/v1{here}"), 404, "not_found")
        assert_problem(post(client, f"{here}/extend"), 404, "not_found")
        for way in ("pay", "confirm"):
            body = {"payment": {"method": "fake", "token": "ok"}}
            assert_problem(post(client, f"{here}/{way}", body), 404, "not_found")
        assert_problem(get(client, "/reservations", buyer=str(ana)), 404, "not_found")
        assert Reservation.objects.get().status == Status.HELD

    def test_is_shown_to_staff(self, ana: UUID, bruno: UUID, session: Session, hold: Hold) -> None:
        mine, his = hold(session, "A1", buyer=ana), hold(session, "A2", buyer=bruno)
        staff = client_of(UserFactory(is_staff=True, is_superuser=True))
        assert get(staff, f"/reservations/{mine.pk}").json()["id"] == str(mine.pk)
        assert [row["id"] for row in get(staff, "/reservations", buyer=str(ana)).json()["results"]] == [str(mine.pk)]
        everybodys = get(staff, "/reservations", buyer="").json()["results"]
        assert [row["id"] for row in everybodys] == [str(his.pk), str(mine.pk)]
        assert get(staff, "/reservations").json()["results"] == []
        assert_problem(get(staff, "/reservations", buyer="x"), 400, "invalid")


class TestRelease:
    def test_frees_the_seats_at_once_and_may_be_repeated(self, ana: UUID, session: Session, hold: Hold) -> None:
        here = f"/api/v1/reservations/{hold(session, 'A1', buyer=ana).pk}"
        for _time in range(2):
            response = client_of(ana).delete(here)
            assert (response.status_code, response.content) == (204, b"")
        assert Seat.objects.get(session=session, label="A1").status == "f"
        assert get(client_of(ana), here.removeprefix("/api/v1")).json()["status"] == "cancelled"

    def test_is_refused_during_a_payment(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        Reservation.objects.filter(pk=reservation.pk).update(status=Status.PAYING)
        response = client_of(ana).delete(f"/api/v1/reservations/{reservation.pk}")
        assert_problem(response, 409, "payment_in_progress")


class TestExtension:
    def test_gives_more_time_as_often_as_the_longest_hold_allows(self, ana: UUID, session: Session, hold: Hold) -> None:
        Session.objects.filter(pk=session.pk).update(max_hold_seconds=90)
        here = f"/reservations/{hold(session, 'A1', buyer=ana).pk}"
        until = [post(client_of(ana), f"{here}/extend").json()["expires_at"] for _time in range(2)]
        assert until == sorted(until)
        assert_problem(post(client_of(ana), f"{here}/extend"), 409, "extension_limit")

    def test_is_refused_after_the_end(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        Reservation.objects.filter(pk=reservation.pk).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
        assert_problem(post(client_of(ana), f"/reservations/{reservation.pk}/extend"), 410, "reservation_expired")


class TestDuplicate:
    """Redis forgot the key; PostgreSQL refused the second request and named the first."""

    @pytest.mark.usefixtures("a_worker")
    def test_gets_the_outcome_of_the_first_request(
        self, ana: UUID, session: Session, hold: Hold, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = hold(session, "A1", buyer=ana, key="k")
        admit = front_door.admit

        def forgetful(asked: Any, **how: Any) -> Any:
            admission = admit(asked, **how)
            row = Reservation(pk=admission.id, session=session, buyer=ana, arrival=2, quantity=1, duplicate_of=first.pk)
            row.status, row.reason, row.accepted_at = Status.REJECTED, "duplicate", timezone.now()
            return type(admission)(request=admission.request, outcome=reservation_body(row), waited=True)

        monkeypatch.setattr(front_door, "admit", forgetful)
        response = ask(client_of(ana), session, "A2", prefer="wait=5")
        assert response.status_code == 201
        assert response.json()["id"] == str(first.pk)
        assert queries.find(first.pk, buyer=ana)["status"] == "held"
