from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from realtime.models import Event
from reservations.models import InboxRequest, Reservation, Voucher
from reservations.operations import holding, queued
from sessions_app.models import Seat, Session
from tests import factories
from tests.conftest import Hold
from tests.reservations.test_holding import request_for

SEATS = "admin:sessions_app_seat_changelist"
INBOX = "admin:reservations_inboxrequest_changelist"


@pytest.fixture
def desk(session: Session) -> Client:
    client = Client()
    owner = factories.UserFactory(is_staff=True, is_superuser=True)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def choose(desk: Client, session: Session, action: str, *labels: str) -> str:
    chosen = Seat.objects.filter(session=session, label__in=labels).values_list("pk", flat=True)
    answer: Any = desk.post(reverse(SEATS), {"action": action, "_selected_action": list(chosen)})
    assert answer.status_code == 302
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def statuses(session: Session, *labels: str) -> str:
    return "".join(Seat.objects.filter(session=session, label__in=labels).values_list("status", flat=True))


class TestSeatDesk:
    def test_takes_free_seats_off_sale_and_leaves_the_others(
        self, desk: Client, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        hold(session, "A1", buyer=ana)
        told = choose(desk, session, "block", "A1", "A2", "A3")
        assert "2 seats were taken off sale. 1 seat was not changed." in told
        assert statuses(session, "A1", "A2", "A3") == "hbb"
        assert Event.objects.filter(session=session.pk, name="seat.blocked").exists()

    def test_puts_seats_back_on_sale(self, desk: Client, session: Session) -> None:
        choose(desk, session, "block", "A1", "A2")
        assert "1 seat is on sale again" in choose(desk, session, "unblock", "A1")
        assert statuses(session, "A1", "A2") == "fb"

    def test_changes_no_seat_by_a_form(self, desk: Client, session: Session) -> None:
        seat = Seat.objects.get(session=session, label="A1")
        desk.post(reverse("admin:sessions_app_seat_change", args=[seat.pk]), {"status": "s", "label": "Z9"})
        seat.refresh_from_db()
        assert (seat.status, seat.label) == ("f", "A1")


class TestReservationDesk:
    def test_shows_reservations_but_changes_nothing(
        self, desk: Client, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        reservation = hold(session, "A1", "A2", buyer=ana)
        page = desk.get(reverse("admin:reservations_reservation_changelist"), {"q": str(ana)}).content.decode()
        assert "A1, A2" in page
        change = reverse("admin:reservations_reservation_change", args=[reservation.pk])
        assert desk.get(change).status_code == 200
        assert desk.post(change, {"status": "cancelled"}).status_code == 403


class TestInboxDesk:
    @pytest.fixture
    def poison(self, session: Session) -> InboxRequest:
        """The request would be allocated now."""
        request = request_for(session, "A1", buyer=uuid.uuid4())
        row: InboxRequest = InboxRequest.objects.create(
            id=request.id, shard=0, arrival=1, buyer=request.buyer, request=request.to_json(), attempts=5, error="a bug"
        )
        return row

    def test_shows_failed_requests_and_reasons(self, desk: Client, poison: InboxRequest) -> None:
        page = desk.get(reverse(INBOX)).content.decode()
        assert str(poison.pk) in page
        assert "a bug" in page

    def test_puts_a_request_back_into_the_queue(self, desk: Client, poison: InboxRequest) -> None:
        answer: Any = desk.post(reverse(INBOX), {"action": "requeue", "_selected_action": [poison.pk]})
        assert "1 request will be tried again." in map(str, get_messages(answer.wsgi_request))
        queued.drain_inbox(shard=0)
        assert Reservation.objects.get().pk == poison.pk

    def test_needs_the_right_to_change_requests(self, poison: InboxRequest) -> None:
        clerk = factories.UserFactory(is_staff=True)
        clerk.user_permissions.add(Permission.objects.get(codename="view_inboxrequest"))
        client = Client()
        client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
        client.post(reverse(INBOX), {"action": "requeue", "_selected_action": [poison.pk]})
        poison.refresh_from_db()
        assert poison.attempts == 5


class TestVoucherDesk:
    FILLED = {"code": "summer", "percent_off": "", "amount": "10.50", "currency": "BRL", "uses": "2", "is_active": "on"}

    def test_creates_a_voucher(self, desk: Client) -> None:
        assert desk.post(reverse("admin:reservations_voucher_add"), self.FILLED).status_code == 302
        voucher = Voucher.objects.get()
        assert (voucher.code, voucher.amount, voucher.uses, voucher.is_active) == ("SUMMER", 1050, 2, True)
        page = desk.get(reverse("admin:reservations_voucher_changelist"), {"q": "summer"}).content.decode()
        assert "R$10.50" in page
        assert "0 / 2" in page

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("code", {"code": "a b"}),
            ("percent_off", {"percent_off": "10"}),
            ("percent_off", {"amount": "", "currency": ""}),
            ("currency", {"currency": ""}),
            ("amount", {"amount": "0.001"}),
            ("uses", {"uses": "0"}),
        ],
    )
    def test_names_the_wrong_field(self, desk: Client, field: str, change: dict[str, str]) -> None:
        answer = desk.post(reverse("admin:reservations_voucher_add"), {**self.FILLED, **change})
        assert answer.status_code == 200
        assert field in answer.context["adminform"].form.errors
        assert not Voucher.objects.exists()

    def test_allows_no_fewer_uses_than_there_were(
        self, desk: Client, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        voucher = factories.VoucherFactory.create(code="SUMMER", uses=2)
        for buyer, seat in ((ana, "A1"), (bruno, "A2")):
            held = hold(session, seat, buyer=buyer)
            holding.price(reservation_id=held.pk, buyer=buyer, voucher="SUMMER")
        change = reverse("admin:reservations_voucher_change", args=[voucher.pk])
        assert desk.get(change).status_code == 200
        answer = desk.post(change, {**self.FILLED, "amount": "", "currency": "", "percent_off": "10", "uses": "1"})
        assert "2 times" in str(answer.context["adminform"].form.errors["uses"])
