"""Use Stripe through its own SDK, against a server that speaks its HTTP."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db.models import Sum
from django.test import Client
from django.utils import timezone

from reservations.models import Reservation, Status
from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import SessionFactory
from tests.proxy import Proxy
from tests.reservations.test_holding import run_out
from tests.ticketing import stripe_stub
from tests.ticketing.stripe_stub import Stub
from ticketing.models import LedgerEntry, Payment, Sale
from ticketing.payments import gateways, late, refunds, starting, steps, sweeping
from ticketing.payments.gateways import Attempt, Standing, signatures, stripe
from ticketing.refusals import UnknownMethod, UnknownToken

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "whsec_test"


@pytest.fixture
def stub(settings: Any) -> Iterator[Stub]:
    with stripe_stub.serving() as (stub, url):
        settings.PAYMENT_METHODS = ["stripe"]
        settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API_URL = "sk_test_1", SECRET, url
        gateways.breaker_of.cache_clear()
        yield stub


@pytest.fixture
def held(session: Session, hold: Hold, ana: uuid.UUID) -> Reservation:
    return hold(session, "A1", "A2", buyer=ana)


def pay(reservation: Reservation, token: str = "pm_card_visa") -> Payment:
    payment = starting.start_payment(
        reservation_id=reservation.pk, buyer=reservation.buyer, method="stripe", token=token
    )
    steps.finish_payment(payment_id=payment.pk)
    payment.refresh_from_db()
    reservation.refresh_from_db()
    return payment


def sweep() -> None:
    Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=2))
    sweeping.sweep_payments()


def statuses(stub: Stub) -> list[str]:
    return [intent["status"] for intent in stub.intents.values()]


class TestPaying:
    def test_payment_authorises_sells_and_captures(self, stub: Stub, held: Reservation) -> None:
        payment = pay(held)
        assert (payment.status, payment.reference, held.status) == ("captured", "pi_1", Status.CONFIRMED)
        (intent,) = stub.intents.values()
        assert (intent["status"], intent["amount"], intent["currency"]) == ("succeeded", 5000, "brl")
        assert intent["metadata"] == {"attempt": str(payment.pk)}

    def test_payment_posts_what_stripe_keeps(self, stub: Stub, held: Reservation) -> None:
        pay(held)
        sums = LedgerEntry.objects.order_by("account").values_list("account").annotate(sum=Sum("amount"))
        assert dict(sums) == {"gateway": 4810, "fees": 190, "revenue": -5000}

    def test_declined_payment_keeps_the_hold_and_another_card_may_be_tried(self, stub: Stub, held: Reservation) -> None:
        payment = pay(held, stripe_stub.DECLINED)
        assert (payment.status, payment.reason, held.status) == ("declined", "insufficient_funds", Status.HELD)
        assert pay(held).status == "captured"

    def test_payment_whose_bank_wants_to_ask_the_buyer_is_declined(self, stub: Stub, held: Reservation) -> None:
        payment = pay(held, stripe_stub.ABROAD)
        assert (payment.status, payment.reason) == ("declined", "authentication_required")

    def test_payment_knows_what_cant_be_a_payment_method(self, stub: Stub, held: Reservation) -> None:
        with pytest.raises(UnknownToken):
            pay(held, "4242424242424242")
        assert stub.asked == []

    def test_payment_that_isnt_switched_on_is_refused(self, stub: Stub, held: Reservation, settings: Any) -> None:
        settings.PAYMENT_METHODS = ["fake"]
        with pytest.raises(UnknownMethod):
            pay(held)


class TestSilence:
    def test_silence_after_charging_is_found_by_the_same_key(
        self, stub: Stub, held: Reservation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stub.slow_seconds = 0.5
        with monkeypatch.context() as patch:
            patch.setattr(stripe, "DEADLINE_SECONDS", 0.1)
            stripe._client.cache_clear()  # noqa: SLF001 its deadline is another now
            assert pay(held, stripe_stub.SLOW).status == "started"
        stripe._client.cache_clear()  # noqa: SLF001
        stub.slow_seconds = 0
        sweep()
        assert (statuses(stub), Sale.objects.count()) == (["succeeded"], 1)

    def test_silence_of_a_server_that_fails_is_asked_again(self, stub: Stub, held: Reservation) -> None:
        stub.down = 2
        assert (pay(held).status, held.status) == ("started", Status.PAYING)
        sweep()
        assert Payment.objects.get().status == "captured"

    def test_silence_at_the_capture_leaves_it_to_the_sweep(self, stub: Stub, held: Reservation) -> None:
        payment = starting.start_payment(
            reservation_id=held.pk, buyer=held.buyer, method="stripe", token="pm_card_visa"
        )
        stub.answers[f"{payment.pk}-capture"] = (500, {"error": {"type": "api_error"}})
        steps.finish_payment(payment_id=payment.pk)
        assert Payment.objects.get().status == "authorised"
        del stub.answers[f"{payment.pk}-capture"]
        sweep()
        assert Payment.objects.get().status == "captured"

    def test_missing_server_costs_a_deadline_and_no_seat(self, stub: Stub, held: Reservation, settings: Any) -> None:
        settings.STRIPE_API_URL = "http://127.0.0.1:9"
        assert (pay(held).status, held.status) == ("started", Status.PAYING)


class TestABlackHole:
    """Swallow all requests and answer none: the worst gateway, behind a wire."""

    CROWD = 24
    DEADLINE = 0.5

    @pytest.fixture
    def wire(self, stub: Stub, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
        with Proxy(settings.STRIPE_API_URL) as wire:
            settings.STRIPE_API_URL = wire.url
            monkeypatch.setattr(stripe, "DEADLINE_SECONDS", self.DEADLINE)
            stripe._client.cache_clear()  # noqa: SLF001 its deadline is another now
            wire.hole()
            yield wire
        stripe._client.cache_clear()  # noqa: SLF001

    @pytest.fixture
    def begun(self, hold: Hold) -> list[Payment]:
        arena = SessionFactory.create(seats=(5, 6))
        holds = [hold(arena, f"{'ABCDE'[n // 6]}{1 + n % 6}", buyer=uuid.uuid4()) for n in range(self.CROWD)]
        return [self.start(held) for held in holds]

    @staticmethod
    def start(held: Reservation) -> Payment:
        return starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="stripe", token="pm_card_visa")

    def test_black_hole_costs_a_crowd_a_deadline_and_the_next_nothing(
        self, stub: Stub, wire: Proxy, begun: list[Payment], held: Reservation
    ) -> None:
        before = time.monotonic()
        steps.finish_payments([(payment.pk, "") for payment in begun])
        assert time.monotonic() - before < self.CROWD * self.DEADLINE / 3
        standing = set(Payment.objects.values_list("status", flat=True))
        assert standing <= {"started", "failed"}  # asked about later, or refused by the breaker

        before = time.monotonic()
        turned_away = pay(held)
        assert time.monotonic() - before < self.DEADLINE
        assert (turned_away.status, held.status, stub.intents) == ("failed", Status.HELD, {})

        wire.up()
        gateways.breaker_of.cache_clear()
        for _sweep in range(2):
            sweep()
        assert not Payment.objects.filter(status="started").exists()
        sold = Payment.objects.filter(status="captured").count()
        assert Counter(statuses(stub))["succeeded"] == sold == Sale.objects.count()
        assert set(statuses(stub)) <= {"succeeded", "canceled"}
        turned_away.refresh_from_db()
        held.refresh_from_db()
        assert (turned_away.status, held.status) == ("failed", Status.HELD)  # as its buyer was told

    def test_black_hole_has_one_sweep_wait_however_often_it_is_rung(
        self, stub: Stub, wire: Proxy, begun: list[Payment], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=2))
        asked = threading.Event()

        def hang(_attempt: Attempt) -> Standing:
            asked.set()
            time.sleep(self.DEADLINE)  # as the network does
            raise gateways.GatewayTimeout

        monkeypatch.setattr(stripe, "authorise", hang)
        with ThreadPoolExecutor(1) as beat:
            first = beat.submit(sweeping.sweep_payments)
            assert asked.wait(10)
            assert sweeping.sweep_payments() == 0
            assert first.result() == self.CROWD


class TestBack:
    def test_refund_is_made_whole_and_in_parts(self, stub: Stub, held: Reservation) -> None:
        pay(held)
        sale = Sale.objects.get()
        first = sale.tickets.earliest("id")
        for tickets in ([first.pk], None):
            refund = refunds.ask_refund(sale_id=sale.pk, buyer=sale.buyer, tickets=tickets)
            for _time in range(2):
                refunds.pay_back(refund_id=refund.pk)
        assert [refund["amount"] for refund in stub.refunds.values()] == [2500, 2500]

    def test_refund_that_stripe_refuses_waits_for_a_person(self, stub: Stub, held: Reservation) -> None:
        pay(held)
        stub.intents["pi_1"]["status"] = "canceled"
        refund = refunds.ask_refund(sale_id=Sale.objects.get().pk, buyer=None)
        refunds.pay_back(refund_id=refund.pk)
        refund.refresh_from_db()
        assert refund.status == "refused"

    def test_refund_lets_go_of_what_came_too_late(self, stub: Stub, held: Reservation) -> None:
        payment = pay(held, stripe_stub.DECLINED)
        run_out(held)
        Session.objects.update(cancelled_at=timezone.now())
        stub.intents["pi_1"]["status"] = "requires_capture"
        late.take_notice(payment_id=payment.pk, standing=late.standing_of(payment))
        steps.finish_payment(payment_id=payment.pk)
        payment.refresh_from_db()
        assert (payment.status, statuses(stub)) == ("voided", ["canceled"])


class TestWebhook:
    @staticmethod
    def post(payment: Payment | None, *, secret: str = SECRET, age: float = 0) -> Any:
        about = {"id": "pi_1", "object": "payment_intent", "metadata": {"attempt": str(payment.pk)} if payment else {}}
        event = {"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "data": {"object": about}}
        body = json.dumps(event).encode()
        signed = signatures.sign(body, secret=secret.encode(), at=time.time() - age)
        headers = {"Stripe-Signature": signed}
        return Client().generic("POST", "/api/v1/webhooks/stripe", body, "application/json", headers=headers)

    def test_webhook_brings_money_that_came_late(self, stub: Stub, held: Reservation) -> None:
        payment = pay(held, stripe_stub.DECLINED)
        stub.intents["pi_1"]["status"] = "requires_capture"
        assert [self.post(payment).status_code for _time in range(2)] == [204, 204]
        payment.refresh_from_db()
        assert (payment.status, statuses(stub), Sale.objects.count()) == ("captured", ["succeeded"], 1)

    def test_webhook_about_something_else_is_taken(self, stub: Stub) -> None:
        assert self.post(None).status_code == 204

    @pytest.mark.parametrize("forged", [{"secret": "whsec_other"}, {"age": 400}])
    def test_forged_or_replayed_webhook_is_refused(self, stub: Stub, held: Reservation, forged: Any) -> None:
        assert self.post(pay(held), **forged).json()["code"] == "bad_signature"
