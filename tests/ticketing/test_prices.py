"""Check prices over HTTP: concessions, vouchers, fees; a client can only name them."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from reservations.admission import judging, sale_facts
from reservations.hold_request import ORDER_SCOPE, Ask
from reservations.models import Reservation, Status
from reservations.queueing import liveness
from sessions_app.models import Session
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import ConcessionFactory, StockFactory, UserFactory, VoucherFactory
from ticketing.models import Payment, Sale, Ticket

pytestmark = pytest.mark.django_db(transaction=True)

PAYMENT = {"method": "fake", "token": "ok"}
LIES = {
    "price": {"amount": 1, "currency": "BRL"},
    "total": {"amount": 1, "currency": "BRL"},
    "amount": 1,
    "currency": "XXX",
    "discount": 2499,
    "fee": 0,
    "tax": 0,
    "lines": [],
    "status": "confirmed",
    "voucher_id": str(uuid4()),
}


def price(buyer: UUID, reservation: Reservation, body: dict[str, Any], **headers: str) -> Any:
    return post(client_of(buyer), f"/reservations/{reservation.pk}/price", body, **headers)


def order(buyer: UUID, body: dict[str, Any]) -> Any:
    return post(client_of(buyer), "/orders", body, idempotency_key=uuid4().hex)


def outcome(buyer: UUID, ordered: Any) -> dict[str, Any]:
    assert ordered.status_code == 202, ordered.content
    body: dict[str, Any] = get(client_of(buyer), f"/orders/{ordered.json()['id']}").json()
    return body


def at_fault(problem: dict[str, Any]) -> str:
    return str(problem["errors"][0]["field"])


@pytest.fixture
def olivia() -> APIClient:
    return client_of(UserFactory.create(is_staff=True))


class TestSession:
    def test_session_is_put_on_with_concessions_fees_and_tax_and_tells_them(self, ana: UUID, olivia: APIClient) -> None:
        body = {
            "show": {"title": "Estrada"},
            "rows": 1,
            "seats_per_row": 2,
            "price": 2500,
            "starts_at": (timezone.now() + dt.timedelta(days=1)).isoformat(),
            "concessions": [
                {"name": "Student", "percent_off": 50, "note": "student card"},
                {"name": "Child", "price": 1000},
            ],
            "booking_fee": 150,
            "booking_fee_basis_points": 100,
            "tax_basis_points": 700,
        }
        made = post(olivia, "/sessions", body)
        assert made.status_code == 201, made.content
        told = get(client_of(ana), f"/sessions/{made.json()['id']}").json()
        assert [(one["name"], one["percent_off"], one["price"], one["note"]) for one in told["concessions"]] == [
            ("Student", 50, None, "student card"),
            ("Child", None, {"amount": 1000, "currency": "BRL"}, ""),
        ]
        assert told["booking_fee"] == {"amount": 150, "currency": "BRL"}
        assert (told["booking_fee_basis_points"], told["tax_basis_points"]) == (100, 700)

    @pytest.mark.parametrize(
        "concessions",
        [
            [{"name": "Child"}],
            [{"name": "Child", "percent_off": 50, "price": 100}],
            [{"name": "Child", "percent_off": 101}],
            [{"name": "Child", "price": -1}],
            [{"name": "Child", "percent_off": 50}, {"name": "CHILD", "percent_off": 10}],
        ],
    )
    def test_session_is_refused_with_concessions_that_are_none(
        self, olivia: APIClient, concessions: list[dict[str, Any]]
    ) -> None:
        body = {"show": {"title": "Estrada"}, "rows": 1, "seats_per_row": 2, "price": 2500, "concessions": concessions}
        starts_at = (timezone.now() + dt.timedelta(days=1)).isoformat()
        problem = assert_problem(post(olivia, "/sessions", {**body, "starts_at": starts_at}), 400, "invalid")
        assert at_fault(problem).startswith("concessions")


class TestPricingAHold:
    def test_pricing_answers_the_reservation_as_it_is_now(self, ana: UUID, session: Session, hold: Hold) -> None:
        Session.objects.update(booking_fee=100)
        ConcessionFactory.create(session=session, name="Child")
        voucher = VoucherFactory.create()
        held = hold(session, "A1", "A2", buyer=ana)
        response = price(ana, held, {"concessions": {"A2": "Child"}, "voucher": voucher.code.lower()})
        body = response.json()
        assert (response.status_code, body["total"]["amount"], body["voucher"]) == (200, 2350 + 1225, voucher.code)
        first, second = body["lines"]
        assert (first["base"]["amount"], first["discount"]["amount"], first["fee"]["amount"]) == (2500, 250, 100)
        assert second["concession"]["name"] == "Child"
        assert get(client_of(ana), f"/reservations/{held.pk}").json()["lines"] == body["lines"]
        assert price(ana, held, {"voucher": None}).json()["total"]["amount"] == 2600 + 1350
        assert price(ana, held, {}).json()["total"]["amount"] == 2600 + 1350

    def test_pricing_is_what_is_charged_sold_and_refunded(self, ana: UUID, session: Session, hold: Hold) -> None:
        ConcessionFactory.create(session=session)
        held = hold(session, "A1", "A2", buyer=ana)
        price(ana, held, {"concessions": {"A2": "Child"}})
        assert post(client_of(ana), f"/reservations/{held.pk}/pay", {"payment": PAYMENT}).status_code == 202
        sale, payment = Sale.objects.get(), Payment.objects.get()
        assert payment.amount == sale.total == sum(line["price"]["amount"] for line in sale.lines) == 3750
        assert sorted(Ticket.objects.values_list("price", "concession")) == [(1250, "Child"), (2500, "")]
        child = Ticket.objects.get(concession="Child")
        refund = post(client_of(ana), f"/sales/{sale.pk}/refund", {"tickets": [str(child.pk)]}).json()["refund"]
        assert refund["amount"]["amount"] == 1250

    def test_pricing_is_asked_for_once_with_a_key(self, ana: UUID, session: Session, hold: Hold) -> None:
        held = hold(session, "A1", buyer=ana)
        voucher = VoucherFactory.create()
        first = price(ana, held, {"voucher": voucher.code}, idempotency_key="once")
        again = price(ana, held, {"voucher": voucher.code}, idempotency_key="once")
        assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")

    @pytest.mark.parametrize(
        ("body", "status", "code", "field"),
        [
            ({"concessions": {"A1": "Dog"}}, 400, "unknown_concession", "concessions"),
            ({"concessions": {"B9": "Child"}}, 400, "unknown_seat", "concessions"),
            ({"concessions": {"A1": -1}}, 400, "invalid", "concessions"),
            ({"concessions": {"A1": 10**30}}, 400, "invalid", "concessions"),
            ({"concessions": {"A1": None}}, 400, "invalid", "concessions"),
            ({"concessions": {"A1": {"price": 0}}}, 400, "invalid", "concessions"),
            ({"concessions": ["Child"]}, 400, "invalid", "concessions"),
            ({"concessions": {str(n): "Child" for n in range(1001)}}, 400, "invalid", "concessions"),
            ({"voucher": "NOBODYS"}, 400, "voucher_unknown", "voucher"),
            ({"voucher": "GONE"}, 409, "voucher_expired", "voucher"),
            ({"voucher": "SOON"}, 409, "voucher_not_yet_valid", "voucher"),
            ({"voucher": "EUROS"}, 409, "voucher_not_for_this", "voucher"),
            ({"voucher": "X" * 101}, 400, "invalid", "voucher"),
            ({"voucher": ""}, 400, "invalid", "voucher"),
            ({"voucher": 7}, 400, "invalid", "voucher"),
        ],
    )
    def test_pricing_names_the_field_that_is_wrong(
        self, ana: UUID, session: Session, hold: Hold, body: dict[str, Any], status: int, code: str, field: str
    ) -> None:
        ConcessionFactory.create(session=session)
        VoucherFactory.create(code="GONE", valid_until=timezone.now())
        VoucherFactory.create(code="SOON", valid_from=timezone.now() + dt.timedelta(hours=1))
        VoucherFactory.create(code="EUROS", percent_off=None, amount=100, currency="EUR")
        held = hold(session, "A1", buyer=ana)
        problem = assert_problem(price(ana, held, body), status, code)
        assert at_fault(problem).startswith(field)
        held.refresh_from_db()
        assert held.total == 2500

    @pytest.mark.parametrize("count", [-1, 4, 10**9, 10**30, "2", 1.5, True])
    def test_pricing_of_unnumbered_places_takes_no_more_than_there_are(
        self, ana: UUID, session: Session, hold: Hold, count: Any
    ) -> None:
        ConcessionFactory.create(session=session)
        stock = StockFactory.create(session=session)
        held = hold(session, buyer=ana, ticket_type=stock.pk, quantity=3)
        response = price(ana, held, {"concessions": {"Child": count}})
        assert response.status_code == 400
        assert response.json()["code"] in {"invalid", "concession_count"}

    def test_pricing_is_the_buyers_own_affair(self, ana: UUID, bruno: UUID, session: Session, hold: Hold) -> None:
        held = hold(session, "A1", buyer=ana)
        assert_problem(price(bruno, held, {"concessions": {}}), 404, "not_found")
        assert_problem(post(client_of(bruno), f"/reservations/{held.pk}/pay", {"payment": PAYMENT}), 404, "not_found")
        assert_problem(post(APIClient(), f"/reservations/{held.pk}/price", {}), 401, "not_authenticated")

    @pytest.mark.parametrize(
        ("status", "code", "name"),
        [
            (Status.PAYING, 409, "payment_in_progress"),
            (Status.EXPIRED, 410, "reservation_expired"),
            (Status.CANCELLED, 409, "not_held"),
        ],
    )
    def test_pricing_ends_with_the_hold(
        self, ana: UUID, session: Session, hold: Hold, status: Status, code: int, name: str
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        Reservation.objects.filter(pk=held.pk).update(status=status)
        assert_problem(price(ana, held, {}), code, name)


class TestOrders:
    def test_orders_are_charged_with_what_they_name(self, ana: UUID, session: Session) -> None:
        ConcessionFactory.create(session=session)
        voucher = VoucherFactory.create(percent_off=None, amount=750, currency="BRL")
        body = {"session": str(session.pk), "seats": ["A1", "A2"], "payment": PAYMENT}
        done = outcome(ana, order(ana, {**body, "concessions": {"A1": "Child"}, "voucher": voucher.code.lower()}))
        assert (done["status"], done["total"]["amount"], done["voucher"]) == ("COMPLETED", 3000, voucher.code)
        assert Payment.objects.get().amount == 3000 == done["sale"]["total"]["amount"]

    def test_orders_count_concessions_of_unnumbered_places(self, ana: UUID, session: Session) -> None:
        stock = StockFactory.create(session=session)
        ConcessionFactory.create(session=session)
        body = {"ticket_type": str(stock.pk), "quantity": 2, "payment": PAYMENT}
        assert outcome(ana, order(ana, {**body, "concessions": {"Child": 1}}))["total"]["amount"] == 13500

    @pytest.mark.parametrize(
        ("terms", "status", "code"),
        [
            ({"voucher": "NOBODYS"}, 400, "voucher_unknown"),
            ({"voucher": "GONE"}, 409, "voucher_expired"),
            ({"concessions": {"A1": "Dog"}}, 400, "unknown_concession"),
            ({"concessions": {"B1": "Child"}}, 400, "unknown_seat"),
            ({"concessions": {"A1": -1}}, 400, "invalid"),
        ],
    )
    def test_orders_are_refused_at_the_door_for_what_is_known_to_be_wrong(
        self, ana: UUID, session: Session, terms: dict[str, Any], status: int, code: str
    ) -> None:
        ConcessionFactory.create(session=session)
        VoucherFactory.create(code="GONE", valid_until=timezone.now())
        body = {"session": str(session.pk), "seats": ["A1"], "payment": PAYMENT, **terms}
        assert_problem(order(ana, body), status, code)
        assert not Reservation.objects.exists()

    def test_orders_fail_uncharged_for_a_voucher_that_is_used_up(
        self, ana: UUID, bruno: UUID, session: Session
    ) -> None:
        voucher = VoucherFactory.create(uses=1)
        body = {"session": str(session.pk), "payment": PAYMENT, "voucher": voucher.code}
        assert outcome(ana, order(ana, {**body, "seats": ["A1"]}))["status"] == "COMPLETED"
        lost = outcome(bruno, order(bruno, {**body, "seats": ["A2"]}))
        assert (lost["status"], lost["reason"]) == ("FAILED", "voucher_used_up")
        assert "used up" in lost["message"]
        assert Payment.objects.count() == 1

    def test_orders_with_one_key_name_one_voucher(self, ana: UUID, session: Session) -> None:
        body = {"session": str(session.pk), "seats": ["A1"], "payment": PAYMENT}
        codes = [VoucherFactory.create().code for _voucher in range(2)]
        first, again, other = (
            post(client_of(ana), "/orders", {**body, "voucher": code}, idempotency_key="one")
            for code in (codes[0], codes[0].lower(), codes[1])
        )
        assert (first.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert_problem(other, 422, "idempotency_mismatch")

    def test_orders_that_wait_hear_that_it_is_used_up(
        self, ana: UUID, bruno: UUID, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
        body = {"session": str(session.pk), "voucher": VoucherFactory.create(uses=1).code}
        assert order(ana, {**body, "seats": ["A1"]}).status_code == 202
        keys = {"idempotency_key": uuid4().hex, "prefer": "wait=5"}
        late = post(client_of(bruno), "/orders", {**body, "seats": ["A2"]}, **keys)
        assert at_fault(assert_problem(late, 409, "voucher_used_up")) == "voucher"

    def test_orders_without_terms_ask_postgresql_nothing_at_the_door(
        self, ana: UUID, session: Session, django_assert_num_queries: Any
    ) -> None:
        ConcessionFactory.create(session=session)
        ask = Ask(session=session.pk, seats=("A1",), scope=ORDER_SCOPE)
        sale_facts.facts_of(session.pk)
        with django_assert_num_queries(0):
            judging.judged_by_facts(ask, is_guest=False)  # the front door's own thread has a connection of its own
        named = msgspec.structs.replace(ask, concessions=(("A1", "Child"),))
        with django_assert_num_queries(0):
            judging.judged_by_facts(named, is_guest=False)
        voucher = msgspec.structs.replace(ask, voucher=VoucherFactory.create().code)
        judging.judged_by_facts(voucher, is_guest=False)
        with django_assert_num_queries(0):
            judging.judged_by_facts(voucher, is_guest=False)  # known by now

    def test_orders_learn_of_a_new_voucher_at_once(self, ana: UUID, session: Session) -> None:
        assert sale_facts.voucher_of("FRESH") is None
        VoucherFactory.create(code="FRESH")
        sale_facts._vouchers["FRESH"] = (None, sale_facts._vouchers["FRESH"][1] - 1)  # noqa: SLF001 a second ago
        body = {"session": str(session.pk), "seats": ["A1"], "payment": PAYMENT, "voucher": "FRESH"}
        assert outcome(ana, order(ana, body))["status"] == "COMPLETED"


class TestTampering:
    """Check that all other amounts in a body have no effect or are refused: the server sets amounts."""

    def require_full_price(self, response: Any) -> None:
        assert response.status_code in {200, 202, 400}, response.content
        for reservation in Reservation.objects.filter(status__in=["held", "paying", "confirmed"]):
            assert reservation.total == 2500 * len(reservation.lines)
        assert not Payment.objects.exclude(amount=2500).exists()

    @pytest.mark.parametrize("field", LIES)
    def test_tampering_is_in_vain(self, ana: UUID, session: Session, hold: Hold, field: str) -> None:
        lie = {field: LIES[field]}
        asked = {"session": str(session.pk), "seats": ["A1"]}
        self.require_full_price(post(client_of(ana), "/reservations", {**asked, **lie}))
        held = hold(session, "B1", buyer=ana)
        self.require_full_price(price(ana, held, lie))
        paying = f"/reservations/{held.pk}/pay"
        self.require_full_price(post(client_of(ana), paying, {"payment": {**PAYMENT, **lie}, **lie}))
        self.require_full_price(order(ana, {**asked, "seats": ["C1"], "payment": {**PAYMENT, **lie}, **lie}))

    @pytest.mark.parametrize("quantity", [0, -1, 10**9, 10**30, 1.5, "2"])
    def test_tampering_with_quantities_is_refused(self, ana: UUID, session: Session, quantity: Any) -> None:
        stock = StockFactory.create(session=session)
        body = {"ticket_type": str(stock.pk), "quantity": quantity}
        assert post(client_of(ana), "/reservations", {"session": str(session.pk), **body}).status_code == 400
        assert order(ana, {**body, "payment": PAYMENT}).status_code == 400
        assert not Reservation.objects.exists()
