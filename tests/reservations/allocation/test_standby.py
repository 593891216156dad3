"""Orders stand by for places that come back."""

from __future__ import annotations

import datetime as dt
import uuid
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from reservations import queries
from reservations.admission import front_door, sale_facts
from reservations.hold_request import ORDER_SCOPE, Ask, Means
from reservations.models import Reservation
from reservations.operations import holding, sweeps
from reservations.queueing import liveness
from reservations.refusals import SoldOut
from sessions_app.models import Pool, Session, TicketType
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.race.racing import race
from tests.reservations.test_holding import run_out, status
from ticketing.orders import orders
from ticketing.upkeep.auditing import CHECKS

pytestmark = pytest.mark.django_db(transaction=True)

CARD = Means(method="fake", token="ok")


@pytest.fixture
def stock(session: Session) -> TicketType:
    """Put on two places, with standby."""
    Session.objects.filter(pk=session.pk).update(standby=True)
    made: TicketType = StockFactory.create(session=session, capacity=2)
    return made


@pytest.fixture(autouse=True)
def _nobody_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep orders held, unless a test pays them."""
    monkeypatch.setattr("reservations.orders.pay_in_process", lambda _some: None)


def order(
    kind: TicketType, places: int = 1, *, means: Means | None = CARD, buyer: uuid.UUID | None = None
) -> Reservation:
    ask = Ask(
        session=kind.session_id,
        ticket_type=kind.pk,
        quantity=places,
        payment=means,
        scope=ORDER_SCOPE,
        key=uuid.uuid4().hex,
    )
    return Reservation.objects.get(pk=front_door.admit(ask, buyer=buyer or uuid.uuid4()).id)


def left(kind: TicketType) -> int:
    return TicketType.objects.values_list("available", flat=True).get(pk=kind.pk) or 0


def findings() -> list[str]:
    with connection.cursor() as cursor:
        found = []
        for check in CHECKS:
            if check.sql:
                cursor.execute(check.sql, check.parameters or None)
                found += [check.name] if cursor.fetchone() else []
    return found


@pytest.fixture
def full(stock: TicketType) -> list[Reservation]:
    """Let two buyers hold all places."""
    return [order(stock), order(stock)]


class TestOrderOnStandby:
    def test_waits_with_its_payment_when_no_places_are_left(self, stock: TicketType, full: list[Reservation]) -> None:
        first, second = order(stock), order(stock, 2)
        assert [(row.status, row.place_on_standby) for row in (first, second)] == [("queued", 1), ("queued", 2)]
        body = queries.find(second.pk, buyer=second.buyer)
        assert (body["status"], body["standby"], body["total"]) == ("queued", 2, None)
        assert findings() == []

    def test_gets_places_in_the_transaction_that_gives_them_back(
        self, stock: TicketType, full: list[Reservation]
    ) -> None:
        waits = order(stock)
        holding.release(reservation_id=full[0].pk, buyer=None)
        waits.refresh_from_db()
        assert (waits.status, waits.total, len(waits.lines)) == ("held", 9000, 1)
        assert left(stock) == 0
        assert findings() == []

    def test_gets_places_of_an_expired_hold(self, stock: TicketType, full: list[Reservation]) -> None:
        waits = order(stock)
        run_out(full[1])
        sweeps.expire_holds()
        assert status(waits) == "held"

    def test_is_paid_like_any_order(self, stock: TicketType, full: list[Reservation]) -> None:
        waits = order(stock)
        holding.release(reservation_id=full[0].pk, buyer=None)
        orders.pay([(waits.pk, "")])
        assert status(waits) == "confirmed"
        assert findings() == []

    def test_gets_places_that_a_declined_card_gives_back(self, stock: TicketType) -> None:
        declined, _paid = order(stock, means=Means(method="fake", token="declined")), order(stock)
        waits = order(stock)
        orders.pay([(declined.pk, "")])
        assert (status(declined), status(waits)) == ("cancelled", "held")

    def test_is_served_by_arrival_and_blocks_those_behind_if_it_does_not_fit(
        self, stock: TicketType, full: list[Reservation]
    ) -> None:
        large, small = order(stock, 2), order(stock)
        holding.release(reservation_id=full[0].pk, buyer=None)
        assert (status(large), status(small), left(stock)) == ("queued", "queued", 1)
        assert findings() == []
        holding.release(reservation_id=full[1].pk, buyer=None)
        assert (status(large), status(small), left(stock)) == ("held", "queued", 0)

    def test_is_overtaken_by_no_new_request(
        self, stock: TicketType, full: list[Reservation], hold: Hold, ana: uuid.UUID
    ) -> None:
        order(stock, 2)
        holding.release(reservation_id=full[0].pk, buyer=None)
        late = order(stock)
        assert (late.status, late.place_on_standby) == ("queued", 2)
        assert hold(stock.session, buyer=ana, ticket_type=stock.pk, quantity=1).reason == "sold_out"
        assert left(stock) == 1

    def test_keeps_its_order_among_types_of_a_shared_pool(self, stock: TicketType) -> None:
        pool = Pool.objects.create(session=stock.session, name="House", capacity=1, available=1)
        other = StockFactory.create(session=stock.session, name="Meia", capacity=9)
        for kind in (stock, other):
            kind.pools.add(pool)
        holder = order(other)
        first, second = order(stock), order(other)
        assert second.place_on_standby == 2
        holding.release(reservation_id=holder.pk, buyer=None)
        assert (status(first), status(second)) == ("held", "queued")
        assert findings() == []

    def test_needs_its_payment_in_advance(self, stock: TicketType, full: list[Reservation]) -> None:
        with pytest.raises(SoldOut):
            order(stock, means=None)

    def test_may_be_free(self, stock: TicketType) -> None:
        free = StockFactory.create(session=stock.session, name="Grátis", price=0, capacity=1)
        holder, waits = order(free, means=None), order(free, means=None)
        assert waits.status == "queued"
        holding.release(reservation_id=holder.pk, buyer=None)
        waits.refresh_from_db()
        assert (waits.status, waits.payment) == ("held", {"method": "free", "token": "", "email": "", "language": "en"})

    def test_is_refused_without_the_setting(self, stock: TicketType, full: list[Reservation]) -> None:
        Session.objects.filter(pk=stock.session_id).update(standby=False)
        with pytest.raises(SoldOut):
            order_anew(stock)

    def test_keeps_its_place_when_the_setting_is_switched_off(self, stock: TicketType, full: list[Reservation]) -> None:
        waits = order(stock)
        Session.objects.filter(pk=stock.session_id).update(standby=False)
        holding.release(reservation_id=full[0].pk, buyer=None)
        assert status(waits) == "held"

    def test_counts_for_the_limit_when_its_turn_comes(
        self, stock: TicketType, full: list[Reservation], ana: uuid.UUID, hold: Hold
    ) -> None:
        Session.objects.filter(pk=stock.session_id).update(max_per_buyer=1)
        waits, behind = order(stock, buyer=ana), order(stock)
        Session.objects.filter(pk=stock.session_id).update(max_per_buyer=2)
        hold(stock.session, "A1", "A2", buyer=ana)
        holding.release(reservation_id=full[0].pk, buyer=None)
        waits.refresh_from_db()
        assert (waits.status, waits.reason, status(behind)) == ("rejected", "limit_reached", "held")


def order_anew(kind: TicketType) -> Reservation:
    """Order with the settings of this instant."""
    sale_facts.forget()
    return order(kind)


class TestEndOfStandby:
    def test_caused_by_its_buyer_lets_orders_behind_through(self, stock: TicketType, full: list[Reservation]) -> None:
        large, small = order(stock, 2), order(stock)
        holding.release(reservation_id=full[0].pk, buyer=None)
        holding.release(reservation_id=large.pk, buyer=large.buyer)
        assert (status(large), status(small), left(stock)) == ("cancelled", "held", 0)
        holding.release(reservation_id=large.pk, buyer=large.buyer)
        assert findings() == []

    @pytest.mark.parametrize("over", ["starts_at", "cancelled_at"])
    def test_comes_when_the_sale_is_over(self, stock: TicketType, full: list[Reservation], over: str) -> None:
        waits = [order(stock), order(stock, 2)]
        Session.objects.filter(pk=stock.session_id).update(**{over: timezone.now() - dt.timedelta(seconds=1)})
        assert sweeps.look_after_standby() == 2
        for row in waits:
            row.refresh_from_db()
        assert {(row.status, row.reason) for row in waits} == {("rejected", "sold_out")}
        assert sweeps.look_after_standby() == 0
        assert "standing_by_in_vain" not in findings()

    def test_is_checked_by_the_audit(self, stock: TicketType, full: list[Reservation]) -> None:
        waits = order(stock)
        TicketType.objects.filter(pk=stock.pk).update(capacity=3, available=1)
        Reservation.objects.filter(pk=waits.pk).update(changed_at=timezone.now() - dt.timedelta(minutes=1))
        assert findings() == ["standing_by_in_vain"]
        sweeps.look_after_standby()
        assert status(waits) == "held"
        assert findings() == []


class TestMessage:
    def test_reaches_a_program(self, stock: TicketType, full: list[Reservation], ana: uuid.UUID) -> None:
        body = {"ticket_type": str(stock.pk), "quantity": 1, "payment": {"method": "fake", "token": "ok"}}
        accepted = post(client_of(ana), "/orders", body, idempotency_key="once")
        assert accepted.status_code == 202
        told = get(client_of(ana), f"/orders/{accepted.json()['id']}").json()
        assert (told["status"], told["place_in_line"], told["standby"]) == ("PENDING", 1, 1)
        assert told["message"] == "You are on standby, number 1."
        assert client_of(ana).delete(f"/api/v1/reservations/{told['id']}").status_code == 204
        assert get(client_of(ana), f"/orders/{told['id']}").json()["status"] == "FAILED"

    def test_reaches_a_request_that_waits_for_the_outcome(
        self, stock: TicketType, full: list[Reservation], ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
        body = {"ticket_type": str(stock.pk), "quantity": 1, "payment": {"method": "fake", "token": "ok"}}
        answer = post(client_of(ana), "/orders", body, idempotency_key="once", prefer="wait=5")
        assert (answer.status_code, answer.json()["standby"]) == (202, 1)

    def test_reaches_a_buyer_who_cannot_pay_yet(
        self, stock: TicketType, full: list[Reservation], ana: uuid.UUID
    ) -> None:
        body = {"ticket_type": str(stock.pk), "quantity": 1, "payment": {"method": "fake", "token": "ok"}}
        waits = post(client_of(ana), "/orders", body, idempotency_key="once").json()["id"]
        paid = post(client_of(ana), f"/reservations/{waits}/pay", {"payment": {"method": "fake", "token": "ok"}})
        assert_problem(paid, 409, "not_held")

    def test_reaches_a_socket(self, stock: TicketType, full: list[Reservation]) -> None:
        waits = order(stock)
        messages: Any = queries.first_messages(waits.buyer)
        assert [message.get("standby") for message in messages] == [1, None]
        assert messages[1]["message"] == "You are on standby, number 1."


@pytest.mark.race
class TestTransactionsAtOnce:
    def test_serve_in_order_of_arrival(self, stock: TicketType) -> None:
        TicketType.objects.filter(pk=stock.pk).update(capacity=8, available=8)
        holders = [order_anew(stock) for _holder in range(8)]
        waiting = [order(stock) for _buyer in range(12)]
        race([partial(holding.release, reservation_id=row.pk, buyer=None) for row in holders[:6]])
        assert [status(row) for row in waiting] == ["held"] * 6 + ["queued"] * 6
        assert left(stock) == 0
        assert findings() == []
