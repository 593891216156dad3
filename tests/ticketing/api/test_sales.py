"""Check payments, sales and tickets over HTTP, as API.md describes them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from icalendar import Calendar
from rest_framework.test import APIClient

from reservations.admission import sale_facts
from reservations.models import Reservation, Status
from reservations.queueing.queues import PUBLISH_ERRORS
from sessions_app.models import Seat, Session
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import UserFactory
from ticketing.models import Payment, PaymentStatus, Sale, SandboxCharge
from ticketing.payments import bells, starting, sweeping

pytestmark = pytest.mark.django_db(transaction=True)

Pay = Callable[..., Any]


def pay(buyer: UUID, reservation: Reservation, *, token: str = "ok", way: str = "pay", **headers: str) -> Any:
    body = {"payment": {"method": "fake", "token": token}}
    return post(client_of(buyer), f"/reservations/{reservation.pk}/{way}", body, **headers)


@pytest.fixture
def sale(ana: UUID, session: Session, hold: Hold) -> Sale:
    """Sell A1 and A2 to Ana."""
    pay(ana, hold(session, "A1", "A2", buyer=ana))
    return Sale.objects.get()


class TestPaying:
    @pytest.mark.parametrize("way", ["pay", "confirm"])
    def test_payment_is_accepted_at_once(self, ana: UUID, session: Session, hold: Hold, way: str) -> None:
        reservation = hold(session, "A1", buyer=ana)
        response = pay(ana, reservation, way=way)
        assert response.status_code == 202
        assert response["Location"] == f"/api/v1/reservations/{reservation.pk}"
        assert response["Retry-After"]
        assert response.json()["reservation"] == str(reservation.pk)
        stands = get(client_of(ana), f"/reservations/{reservation.pk}").json()
        assert stands["status"] == "confirmed"
        assert stands["sale"] == get(client_of(ana), f"/sales/{stands['sale']['id']}").json()

    def test_payment_goes_on_while_the_sale_is_paused(
        self, ana: UUID, bruno: UUID, session: Session, hold: Hold
    ) -> None:
        """Pause the sale: the operator moves "on sale from" to a later time, and empties it again (docs/api.md)."""
        reservation = hold(session, "A1", buyer=ana)
        ask = {"session": str(session.pk), "seats": ["A2"]}
        later = timezone.now() + dt.timedelta(minutes=30)
        Session.objects.update(on_sale_at=later)
        sale_facts.forget()
        problem = assert_problem(post(client_of(bruno), "/reservations", ask), 409, "sale_not_open")
        assert dt.datetime.fromisoformat(problem["on_sale_at"]) == later
        assert pay(ana, reservation, prefer="wait=5").json()["sale"]["status"] == "paid"
        Session.objects.update(on_sale_at=None)
        sale_facts.forget()
        assert post(client_of(bruno), "/reservations", ask).status_code == 202

    def test_free_reservation_needs_no_payment(self, ana: UUID, session: Session, hold: Hold) -> None:
        session.ticket_types.update(price=0)
        reservation = hold(session, "A1", buyer=ana)
        response = post(client_of(ana), f"/reservations/{reservation.pk}/pay", {}, prefer="wait=5")
        assert response.status_code == 200
        assert response.json()["sale"]["payment"]["method"] == "free"
        assert not SandboxCharge.objects.exists()

    def test_missing_payment_is_named(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        problem = assert_problem(post(client_of(ana), f"/reservations/{reservation.pk}/pay", {}), 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == ["payment"]
        reservation.refresh_from_db()
        assert reservation.status == Status.HELD

    def test_payment_with_prefer_wait_answers_the_sale(self, ana: UUID, session: Session, hold: Hold) -> None:
        response = pay(ana, hold(session, "A1", buyer=ana), prefer="wait=5")
        assert response.status_code == 200
        assert response["Preference-Applied"] == "wait=5"
        sale = response.json()["sale"]
        assert sale["status"] == "paid"
        assert sale["total"] == {"amount": 2500, "currency": "BRL"}
        assert [ticket["seat"] for ticket in sale["tickets"]] == ["A1"]
        assert sale == get(client_of(ana), f"/sales/{sale['id']}").json()

    def test_payment_that_is_declined_is_402_and_keeps_the_hold(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        problem = assert_problem(pay(ana, reservation, token="declined", prefer="wait=5"), 402, "payment_declined")
        assert problem["reason"] == "card_declined"
        assert pay(ana, reservation, prefer="wait=5").status_code == 200

    def test_payment_twice_is_409_with_the_sale(self, ana: UUID, sale: Sale) -> None:
        problem = assert_problem(pay(ana, sale.reservation), 409, "already_paid")
        assert problem["sale"]["id"] == str(sale.pk)
        response = client_of(ana).delete(f"/api/v1/reservations/{sale.reservation_id}")
        assert assert_problem(response, 409, "already_paid")["sale"]["id"] == str(sale.pk)

    def test_payment_while_another_is_under_way_is_409(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        starting.start_payment(reservation_id=reservation.pk, buyer=ana, method="fake", token="ok")
        assert_problem(pay(ana, reservation), 409, "payment_in_progress")

    def test_payment_too_late_is_410_and_charges_nothing(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        past = timezone.now() - dt.timedelta(milliseconds=1)
        Reservation.objects.filter(pk=reservation.pk).update(expires_at=past)
        Seat.objects.filter(reservation_id=reservation.pk).update(held_until=past)
        assert_problem(pay(ana, reservation, prefer="wait=5"), 410, "reservation_expired")
        assert not Payment.objects.exists()
        assert not SandboxCharge.objects.exists()

    def test_payment_for_what_was_given_up_is_409(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        client_of(ana).delete(f"/api/v1/reservations/{reservation.pk}")
        assert_problem(pay(ana, reservation), 409, "not_held")

    def test_payment_with_the_same_key_charges_once(self, ana: UUID, session: Session, hold: Hold) -> None:
        reservation = hold(session, "A1", buyer=ana)
        first, second = (pay(ana, reservation, idempotency_key="k", prefer="wait=5") for _time in range(2))
        assert (first.status_code, first.json()) == (second.status_code, second.json())
        assert second["Idempotent-Replayed"] == "true"
        assert SandboxCharge.objects.filter(status="captured").count() == 1

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "payment"),
            ({"payment": None}, "payment"),
            ({"payment": "ok"}, "payment"),
            ({"payment": {"method": "fake"}}, "payment.token"),
            ({"payment": {"token": "ok"}}, "payment.method"),
            ({"payment": {"method": "gold", "token": "ok"}}, "payment.method"),
            ({"payment": {"method": ["fake"], "token": "ok"}}, "payment.method"),
            ({"payment": {"method": "fake", "token": 7}}, "payment.token"),
            ({"payment": {"method": "fake", "token": "o\x00k"}}, "payment.token"),
            ({"payment": {"method": "fake", "token": "ok"}, "email": "nowhere"}, "email"),
        ],
        ids=repr,
    )
    def test_payment_names_the_field_that_is_wrong(
        self, ana: UUID, session: Session, hold: Hold, body: dict[str, Any], field: str
    ) -> None:
        reservation = hold(session, "A1", buyer=ana)
        here = f"/api/v1/reservations/{reservation.pk}/pay"
        problem = assert_problem(
            client_of(ana).generic("POST", here, json.dumps(body), "application/json"), 400, "invalid"
        )
        assert [error["field"] for error in problem["errors"]] == [field]
        assert not Payment.objects.exists()

    def test_payment_knows_the_sandboxs_tokens(self, ana: UUID, session: Session, hold: Hold) -> None:
        problem = assert_problem(pay(ana, hold(session, "A1", buyer=ana), token="4242"), 400, "unknown_token")
        assert [error["field"] for error in problem["errors"]] == ["payment.token"]
        assert not Payment.objects.exists()

    @pytest.mark.parametrize("error", PUBLISH_ERRORS)
    def test_payment_survives_a_broker_that_is_away(
        self,
        ana: UUID,
        session: Session,
        hold: Hold,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        error: type[Exception],
    ) -> None:
        class Away:
            def send(self, *_args: Any, **_kwargs: Any) -> None:
                raise error

        reservation = hold(session, "A1", buyer=ana)
        settings.QUEUE = "rabbitmq"
        monkeypatch.setattr(bells, "courier", Away)
        assert pay(ana, reservation).status_code == 202
        assert Payment.objects.get().status == PaymentStatus.STARTED
        assert Reservation.objects.get().status == Status.PAYING
        assert sweeping.sweep_payments() == 1  # the next one, not the one after its time limit
        assert Reservation.objects.get().status == Status.CONFIRMED


class TestSales:
    def test_sales_tell_all_facts(self, ana: UUID, sale: Sale) -> None:
        body = get(client_of(ana), f"/sales/{sale.pk}").json()
        assert body["number"] == str(sale.number)
        assert body["session"] == str(sale.session_id)
        assert body["payment"]["status"] == "captured"
        assert [line["seat"] for line in body["lines"]] == ["A1", "A2"]
        assert {ticket["status"] for ticket in body["tickets"]} == {"valid"}

    def test_sales_are_listed_twice_under_two_names(self, ana: UUID, sale: Sale) -> None:
        listed = get(client_of(ana), "/sales").json()
        assert [row["id"] for row in listed["results"]] == [str(sale.pk)]
        assert get(client_of(ana), f"/users/{ana}/purchases").json() == listed

    def test_sales_are_the_buyers_own(self, ana: UUID, bruno: UUID, sale: Sale) -> None:
        client = client_of(bruno)
        ticket = sale.tickets.first()
        assert ticket
        assert get(client, "/sales").json()["results"] == []
        for path in (
            f"/sales/{sale.pk}",
            f"/sales/{sale.pk}/tickets.pdf",
            f"/tickets/{ticket.pk}",
            f"/sales/{sale.pk}/session.ics",
            f"/tickets/{ticket.pk}/qr.svg",
            f"/tickets/{ticket.pk}/qr.png",
            f"/tickets/{ticket.pk}/session.ics",
            f"/users/{ana}/purchases",
        ):
            assert_problem(get(client, path), 404, "not_found")
            assert_problem(get(APIClient(), path), 401, "not_authenticated")

    def test_sales_are_open_to_staff(self, ana: UUID, sale: Sale) -> None:
        staff = client_of(UserFactory(is_staff=True, is_superuser=True))
        assert get(staff, f"/sales/{sale.pk}").json()["id"] == str(sale.pk)
        assert get(staff, f"/users/{ana}/purchases").json()["results"][0]["id"] == str(sale.pk)
        assert get(staff, "/sales", buyer="").json()["results"][0]["id"] == str(sale.pk)
        assert get(staff, "/sales", buyer=str(uuid4())).json()["results"] == []

    def test_sales_print_a_page_a_ticket(self, ana: UUID, sale: Sale) -> None:
        response = get(client_of(ana), f"/sales/{sale.pk}/tickets.pdf")
        assert response["Content-Type"] == "application/pdf"
        assert response.content.startswith(b"%PDF-")
        assert response.content.count(b"/Type /Page\n") == 2


class TestTickets:
    def test_tickets_tell_their_code_and_their_sale(self, ana: UUID, sale: Sale) -> None:
        [first, _second] = get(client_of(ana), f"/sales/{sale.pk}").json()["tickets"]
        body = get(client_of(ana), f"/tickets/{first['id']}").json()
        assert body == {
            **first,
            "sale": str(sale.pk),
            "session": str(sale.session_id),
            "used_at": None,
            "gate": "",
        }

    @pytest.mark.parametrize(
        ("picture", "kind", "magic"), [("svg", "image/svg+xml", b"<svg"), ("png", "image/png", b"\x89PNG")]
    )
    def test_tickets_have_a_code_to_scan(self, ana: UUID, sale: Sale, picture: str, kind: str, magic: bytes) -> None:
        ticket = sale.tickets.first()
        assert ticket
        response = get(client_of(ana), f"/tickets/{ticket.pk}/qr.{picture}")
        assert response["Content-Type"] == kind
        assert magic in response.content
        assert "private" in response["Cache-Control"]

    def test_tickets_are_listed(self, ana: UUID, sale: Sale) -> None:
        listed = get(client_of(ana), "/tickets").json()["results"]
        assert {row["id"] for row in listed} == {str(ticket.pk) for ticket in sale.tickets.all()}

    def test_tickets_go_into_a_calendar(self, ana: UUID, sale: Sale) -> None:
        response = get(client_of(ana), f"/sales/{sale.pk}/session.ics")
        assert response["Content-Type"].startswith("text/calendar")
        (event,) = Calendar.from_ical(response.content).walk("VEVENT")
        assert event.decoded("dtstart") == sale.session.starts_at.replace(microsecond=0)
        assert event["summary"] == sale.session.show.title
        assert "A1" in str(event["description"])

    def test_unknown_tickets_are_404(self, ana: UUID) -> None:
        assert_problem(get(client_of(ana), f"/tickets/{uuid4()}"), 404, "not_found")
