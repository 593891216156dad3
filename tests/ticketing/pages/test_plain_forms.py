from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from pytest_django.fixtures import Settings

from config.web import throttles
from reservations.models import Reservation, Status
from sessions_app.models import Session, TicketType
from tests.conftest import Hold
from tests.factories import StockFactory, UserFactory
from ticketing import identity
from ticketing.models import Sale

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def guest(client: Client, session: Session) -> uuid.UUID:
    """Return the buyer of the client's browser."""
    client.get("/visitor")
    buyer = identity.buyer_of_cookie(client.cookies["buyer"].value)
    assert buyer is not None
    return buyer


def told(answer: Any) -> str:
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


class TestPay:
    def test_payment_of_a_free_reservation_asks_for_no_card(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold
    ) -> None:
        session.ticket_types.update(price=0)
        page = f"/reservations/{hold(session, 'A1', buyer=guest).pk}"
        assert re.search("<fieldset[^>]* data-priced hidden disabled>", client.get(page).content.decode())
        client.post(f"{page}/pay", {"email": "ana@example.org"})
        assert Sale.objects.get().payment.method == "free"

    def test_payment_says_that_a_price_is_to_be_paid(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold
    ) -> None:
        page = f"/reservations/{hold(session, 'A1', buyer=guest).pk}"
        assert "required" in told(client.post(f"{page}/pay", {}))
        assert not Sale.objects.exists()


class TestHold:
    def test_hold_leads_to_the_reservation(self, client: Client, guest: uuid.UUID, session: Session) -> None:
        answer = client.post(f"/sessions/{session.pk}/hold", {"way": "seats", "seats": ["A1", "A2"]})
        assert re.fullmatch("/reservations/[0-9a-f-]{36}", answer["Location"])

    def test_hold_pressed_twice_is_one_request(self, client: Client, guest: uuid.UUID, session: Session) -> None:
        form = {"way": "seats", "seats": ["A1"], "key": "page"}
        first, again = (client.post(f"/sessions/{session.pk}/hold", form) for _ in range(2))
        other = client.post(f"/sessions/{session.pk}/hold", form | {"seats": ["A2"]})
        assert first["Location"] == again["Location"] != other["Location"]

    def test_hold_says_which_seats_are_gone_and_keeps_the_rest(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold, bruno: uuid.UUID
    ) -> None:
        hold(session, "A1", buyer=bruno)
        answer = client.post(f"/sessions/{session.pk}/hold", {"way": "seats", "seats": ["A1", "A2"]})
        assert "A1" in told(answer)
        page = client.get(answer["Location"]).content.decode()
        assert re.search('value="A2"[^>]* checked', page)
        assert re.search('value="A1"[^>]* disabled', page)

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"way": "seats", "seats": ["Z99"]},
            {"way": "best", "quantity": "many"},
            {"way": "best", "quantity": "999"},
            {"way": "stock", "places": "nonsense:2"},
            {"way": "stock", "places": ""},
        ],
    )
    def test_hold_says_what_is_impossible(
        self, client: Client, guest: uuid.UUID, session: Session, form: dict[str, Any]
    ) -> None:
        answer = client.post(f"/sessions/{session.pk}/hold", form)
        assert answer["Location"].startswith(f"/sessions/{session.pk}")
        assert told(answer)
        assert not Reservation.objects.exists()

    def test_hold_takes_places_without_a_number(self, client: Client, guest: uuid.UUID, session: Session) -> None:
        stock = StockFactory.create(session=session)
        form = {"way": "stock", f"places.{stock.pk}": "2"}
        client.post(f"/sessions/{session.pk}/hold", form)
        assert Reservation.objects.get(ticket_type=stock).quantity == 2

    def test_hold_of_no_session_is_nothing(self, client: Client, guest: uuid.UUID) -> None:
        assert client.post(f"/sessions/{uuid.uuid4()}/hold", {"seats": "A1"}, follow=True).status_code == 404

    def test_hold_is_limited_as_the_api_is(
        self, client: Client, guest: uuid.UUID, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(throttles, "take", lambda _buckets: 2.5)
        answer = client.post(f"/sessions/{session.pk}/hold", {"seats": "A1"})
        assert (answer.status_code, answer["Retry-After"]) == (429, "3")

    def test_hold_wants_the_pages_token(self, session: Session) -> None:
        stranger = Client(enforce_csrf_checks=True)
        assert stranger.post(f"/sessions/{session.pk}/hold", {"seats": "A1"}).status_code == 403


class TestReservation:
    def test_reservation_is_extended_and_released(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold
    ) -> None:
        held = hold(session, "A1", buyer=guest)
        before = held.expires_at
        client.post(f"/reservations/{held.pk}/extend")
        held.refresh_from_db()
        assert before is not None
        assert held.expires_at is not None
        assert held.expires_at > before
        answer = client.post(f"/reservations/{held.pk}/release", follow=True)
        assert "Released" in answer.content.decode()

    def test_reservation_is_paid_for_and_leads_to_the_tickets(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold
    ) -> None:
        held = hold(session, "A1", buyer=guest)
        declined = client.post(f"/reservations/{held.pk}/pay", {"token": "declined"})
        assert "declined" in told(declined)
        answer = client.post(f"/reservations/{held.pk}/pay", {"token": "ok", "email": "ana@example.org"}, follow=True)
        assert answer.redirect_chain[-1][0].startswith("/sales/")
        assert Reservation.objects.get().status == Status.CONFIRMED

    def test_reservation_by_card_wants_a_script_and_says_so(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold, settings: Settings
    ) -> None:
        settings.PAYMENT_METHODS, settings.STRIPE_PUBLISHABLE_KEY = ["stripe"], "pk_test_1"
        page = f"/reservations/{hold(session, 'A1', buyer=guest).pk}"
        shown = client.get(page).content.decode()
        assert 'data-key="pk_test_1"' in shown
        assert "You need JavaScript to pay by card" in shown
        assert "sandbox" not in shown
        assert (
            told(client.post(f"{page}/pay", {"method": "stripe"}))
            == "You need JavaScript to pay by card. Switch it on and load the page again."
        )
        assert Reservation.objects.get().status == Status.HELD
        client.get(page)  # where the page reads it
        stock = StockFactory.create(session=session, capacity=3)
        order = client.post(f"/sessions/{session.pk}/order", {"method": "stripe", "places": f"{stock.pk}:1"})
        assert told(order) == "You need JavaScript to pay by card. Switch it on and load the page again."
        assert Reservation.objects.count() == 1

    def test_reservation_offers_nothing_of_stripe_where_it_is_off(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold
    ) -> None:
        assert "data-card" not in client.get(f"/reservations/{hold(session, 'A1', buyer=guest).pk}").content.decode()

    def test_reservation_wants_an_address_that_can_be_written_to(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold
    ) -> None:
        held = hold(session, "A1", buyer=guest)
        answer = client.post(f"/reservations/{held.pk}/pay", {"token": "ok", "email": "ana"})
        assert told(answer) == "Enter a valid email address."

    @pytest.mark.parametrize("action", ["extend", "release", "pay"])
    def test_reservation_of_another_buyer_is_not_found(
        self, client: Client, guest: uuid.UUID, session: Session, hold: Hold, bruno: uuid.UUID, action: str
    ) -> None:
        held = hold(session, "A1", buyer=bruno)
        assert client.post(f"/reservations/{held.pk}/{action}", {"token": "ok"}).status_code == 404


class TestOrder:
    @pytest.fixture
    def stock(self, session: Session) -> TicketType:
        made: TicketType = StockFactory.create(session=session)
        return made

    @pytest.fixture
    def order(self, client: Client, guest: uuid.UUID, stock: TicketType) -> Callable[..., Any]:
        """Press the button of the session's page; `places` by ticket type."""

        def order(places: dict[str, str] | None = None, **fields: str) -> Any:
            chosen = {f"places.{kind}": number for kind, number in (places or {str(stock.pk): "2"}).items()}
            return client.post(
                f"/sessions/{stock.session_id}/order", {"token": "ok", "key": "page", **chosen, **fields}
            )

        return order

    def test_order_buys_and_leads_to_the_orders_page(
        self, client: Client, guest: uuid.UUID, order: Callable[..., Any]
    ) -> None:
        answer = order(email="ana@example.com")
        bought = Reservation.objects.get()
        assert answer["Location"] == f"/orders/{bought.pk}"
        assert (bought.buyer, bought.status, bought.quantity, bought.is_order) == (guest, Status.CONFIRMED, 2, True)
        assert Sale.objects.get().email == "ana@example.com"

    def test_order_pressed_twice_is_one_order(self, order: Callable[..., Any]) -> None:
        assert order()["Location"] == order()["Location"]
        assert Sale.objects.count() == 1

    def test_order_with_another_card_is_another_one(self, order: Callable[..., Any]) -> None:
        assert order(token="declined")["Location"] != order()["Location"]
        assert Sale.objects.count() == 1

    @pytest.mark.parametrize(
        ("places", "said"),
        [
            ({"nonsense": "0"}, "Choose how many places."),
            ({"nonsense": "2"}, "The session has no ticket type with this id."),
            ({str(uuid.uuid4()): "1", str(uuid.uuid4()): "1"}, "Please choose one kind of place at a time."),
        ],
    )
    def test_order_says_what_is_impossible(self, order: Callable[..., Any], places: dict[str, str], said: str) -> None:
        answer = order(places)
        assert answer["Location"].endswith("#order-form")
        assert said.lower() in told(answer).lower()

    def test_order_says_what_is_wrong_with_a_field(self, order: Callable[..., Any]) -> None:
        assert "valid email address" in told(order(email="nonsense"))
        assert not Reservation.objects.exists()

    def test_order_says_that_all_is_gone(self, stock: TicketType, order: Callable[..., Any]) -> None:
        TicketType.objects.filter(pk=stock.pk).update(available=0)
        assert "left" in told(order())


class TestAForm:
    """Check forms that the browser sends again after a sign-in or sign-out."""

    @pytest.fixture
    def send(self, client: Client, guest: uuid.UUID, session: Session) -> Callable[[], Any]:
        stock = StockFactory(session=session)
        page = client.get(f"/sessions/{session.pk}", {"plain": "1"}).content.decode()
        hidden = dict(re.findall('<input type="hidden" name="(key|buyer)" value="([^"]*)">', page))
        assert hidden["buyer"] == str(guest)
        form = {**hidden, f"places.{stock.pk}": "1", "method": "fake", "token": "ok"}
        return lambda: client.post(f"/sessions/{session.pk}/order", form)

    def sign_in(self, client: Client, name: str) -> None:
        UserFactory.create(username=name)
        client.post("/sign-in", {"username": name, "password": "frontrow-demo"})

    def test_form_is_the_same_order_for_the_account_that_the_guest_became(
        self, client: Client, send: Callable[[], Any]
    ) -> None:
        first = send()
        self.sign_in(client, "ana")
        assert send()["Location"] == first["Location"]
        assert Sale.objects.count() == 1

    def test_form_buys_nothing_for_the_next_visitor_after_a_sign_out(
        self, client: Client, send: Callable[[], Any]
    ) -> None:
        send()
        self.sign_in(client, "ana")
        client.post("/sign-out")
        assert "Another person asked for this" in told(send())
        self.sign_in(client, "bruno")
        assert "Another person asked for this" in told(send())
        assert Sale.objects.count() == 1

    def test_form_holds_nothing_for_another_person(self, client: Client, guest: uuid.UUID, session: Session) -> None:
        form = {"way": "seats", "seats": ["A1"], "buyer": str(uuid.uuid4())}
        assert "Another person asked for this" in told(client.post(f"/sessions/{session.pk}/hold", form))
        assert "Another person asked for this" in told(
            client.post(f"/sessions/{session.pk}/hold", form | {"buyer": "nobody"})
        )
        assert not Reservation.objects.exists()
