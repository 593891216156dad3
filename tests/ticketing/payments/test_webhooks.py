"""Check webhooks: believed only if signed, recent and confirmed; each once, in any order, however late."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
import uuid
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client

from realtime.models import Event
from reservations.models import Reservation, Status
from reservations.operations.sweeps import expire_holds
from sessions_app.models import Seat, Session
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.reservations.test_holding import run_out
from tests.ticketing.test_paying import attempt_of, pay
from ticketing.models import LedgerEntry, Payment, Sale, SandboxCharge, SandboxEvent, Ticket, WebhookEvent
from ticketing.payments import gateways, late, starting, steps, sweeping, webhooks
from ticketing.payments.gateways import GatewayTimeout, Standing, fake, registry, signatures
from ticketing.refusals import UnsignedWebhook

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _the_gateway_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "DEADLINE_SECONDS", 0)


@pytest.fixture
def held(session: Session, hold: Hold, ana: uuid.UUID) -> Reservation:
    return hold(session, "A1", "A2", buyer=ana)


@pytest.fixture
def silent(held: Reservation) -> Payment:
    """Make an attempt of Ana's that the gateway does not know."""
    payment = pay(held, "webhook_late")
    assert (payment.status, payment.reason, held.status) == ("failed", "gateway_silent", Status.HELD)
    return payment


def the_money_comes(payment: Payment) -> None:
    """Deliver the webhook that the sandbox sends 45 seconds later."""
    SandboxEvent.objects.filter(attempt=payment.pk).update(due_at=Now())
    webhooks.deliver_sandbox()
    payment.refresh_from_db()


def post(body: bytes, headers: dict[str, str], method: str = "fake") -> Any:
    client = Client(enforce_csrf_checks=True)
    return client.generic("POST", f"/api/v1/webhooks/{method}", body, "application/json", headers=headers)


def an_event(payment: Payment) -> tuple[bytes, dict[str, str]]:
    return fake.signed(SandboxEvent(attempt=payment.pk, kind="payment.captured", due_at=Now()))


class TestSignature:
    def test_signature_of_the_gateway_is_taken(self, held: Reservation) -> None:
        assert post(*an_event(pay(held))).status_code == 204
        assert WebhookEvent.objects.count() == 1

    def test_signature_over_other_bytes_is_refused(self, held: Reservation) -> None:
        body, headers = an_event(pay(held))
        for at in range(0, len(body), 7):
            flipped = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            assert post(flipped, headers).json()["code"] == "bad_signature"
        assert not WebhookEvent.objects.exists()

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_signature_from_another_time_is_refused(self, held: Reservation, minutes: int) -> None:
        body, _headers = an_event(pay(held))
        at = time.time() + 60 * minutes
        signed = signatures.sign(body, secret=fake._secret(), at=at)  # noqa: SLF001 the gateway's own
        assert post(body, {fake.SIGNATURE_HEADER: signed}).status_code == 400

    @pytest.mark.parametrize("header", ["", "t=1", "t=x,v1=y", "t=1,v1=" + "0" * 64])
    def test_signature_that_is_none_is_refused(self, held: Reservation, header: str) -> None:
        body, _headers = an_event(pay(held))
        assert post(body, {fake.SIGNATURE_HEADER: header}).status_code == 400

    @pytest.mark.parametrize("said", [[], {}, {"id": "1", "kind": "k", "attempt": "nobody"}, "text"])
    def test_signature_over_nonsense_is_refused(self, said: Any) -> None:
        body = json.dumps(said).encode()
        signed = signatures.sign(body, secret=fake._secret(), at=time.time())  # noqa: SLF001 the gateway's own
        assert post(body, {fake.SIGNATURE_HEADER: signed}).status_code == 400

    def test_signature_of_an_unknown_gateway_is_404(self) -> None:
        assert post(b"{}", {}, method="gold").status_code == 404


class TestEvent:
    def test_event_of_an_attempt_that_isnt_ours_is_taken_and_has_no_effect(self) -> None:
        event = SandboxEvent(attempt=uuid.uuid4(), kind="payment.captured", due_at=Now())
        assert post(*fake.signed(event)).status_code == 204
        assert not WebhookEvent.objects.exists()

    def test_event_has_its_effect_once(self, silent: Payment, held: Reservation) -> None:
        SandboxCharge.objects.update(status="captured")
        body, headers = an_event(silent)
        assert [post(body, headers).status_code for _time in range(3)] == [204] * 3
        assert (Sale.objects.count(), WebhookEvent.objects.count()) == (1, 1)

    def test_event_while_the_gateway_doesnt_answer_is_refused_and_comes_again(
        self, silent: Payment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_answer(_attempt: Any) -> Standing:
            raise GatewayTimeout

        monkeypatch.setattr(fake, "find", no_answer)
        response = post(*an_event(silent))
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert not WebhookEvent.objects.exists()

    @pytest.mark.parametrize("token", ["webhook_twice", "webhook_out_of_order"])
    def test_event_of_what_is_paid_already_changes_nothing(self, held: Reservation, token: str) -> None:
        payment = pay(held, token)
        told = SandboxEvent.objects.count()
        for _round in range(2):
            webhooks.deliver_sandbox()
        payment.refresh_from_db()
        assert (payment.status, Sale.objects.count(), WebhookEvent.objects.count()) == ("captured", 1, told)
        assert not SandboxEvent.objects.filter(times__gt=0).exists()

    def test_event_that_claims_what_the_gateway_denies_changes_nothing(self, held: Reservation) -> None:
        payment = pay(held, "declined")
        post(*an_event(payment))
        payment.refresh_from_db()
        assert (payment.status, Sale.objects.count()) == ("declined", 0)


class TestLateMoney:
    def test_late_money_pays_for_the_hold_while_it_lasts(self, silent: Payment, held: Reservation) -> None:
        the_money_comes(silent)
        held.refresh_from_db()
        assert (silent.status, held.status) == ("captured", Status.CONFIRMED)

    @pytest.mark.parametrize("swept", [False, True])
    def test_late_money_takes_the_same_seats_again_if_they_are_free(
        self, silent: Payment, held: Reservation, swept: bool
    ) -> None:
        run_out(held)
        if swept:
            expire_holds()
        the_money_comes(silent)
        held.refresh_from_db()
        again = Reservation.objects.exclude(pk=held.pk).get()
        assert (held.status, again.status, again.seats) == (Status.EXPIRED, Status.CONFIRMED, ["A1", "A2"])
        sale = Sale.objects.get()
        assert (sale.reservation, sale.payment, sale.buyer, silent.status) == (again, silent, held.buyer, "captured")
        assert set(Seat.objects.filter(status="s").values_list("label", "reservation_id")) == {
            ("A1", again.pk),
            ("A2", again.pk),
        }
        assert Event.objects.filter(name="reservation.confirmed").count() == 1

    def test_late_money_takes_unnumbered_places_again(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        held = hold(session, buyer=ana, ticket_type=stock.pk, quantity=2)
        payment = pay(held, "webhook_late")
        run_out(held)
        the_money_comes(payment)
        stock.refresh_from_db()
        assert (payment.status, stock.available, Ticket.objects.count()) == ("captured", 1, 2)

    def test_late_money_goes_back_if_another_buyer_has_one_of_the_seats(
        self, silent: Payment, held: Reservation, session: Session, hold: Hold, bruno: uuid.UUID
    ) -> None:
        run_out(held)
        expire_holds()
        other = hold(session, "A2", buyer=bruno)
        the_money_comes(silent)
        other.refresh_from_db()
        assert (silent.status, other.status, Sale.objects.count()) == ("returned", Status.HELD, 0)
        charge = SandboxCharge.objects.get(pk=silent.pk)
        assert charge.refunded == charge.amount
        (told,) = Event.objects.filter(name="payment.returned")
        assert (told.buyer, told.facts["amount"]) == (held.buyer, 5000)

    def test_late_money_goes_back_if_the_buyer_paid_otherwise(self, silent: Payment, held: Reservation) -> None:
        assert pay(held).status == "captured"
        the_money_comes(silent)
        assert (silent.status, Sale.objects.count()) == ("returned", 1)

    def test_late_money_goes_back_while_the_buyer_pays_otherwise_and_disturbs_nothing(
        self, silent: Payment, held: Reservation
    ) -> None:
        other = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        the_money_comes(silent)
        held.refresh_from_db()
        assert (silent.status, held.status) == ("returned", Status.PAYING)
        steps.finish_payment(payment_id=other.pk)
        other.refresh_from_db()
        assert (other.status, Sale.objects.get().payment) == ("captured", other)

    def test_late_money_goes_back_if_the_session_is_over(self, silent: Payment, held: Reservation) -> None:
        run_out(held)
        Session.objects.update(cancelled_at=Now())
        the_money_comes(silent)
        assert silent.status == "returned"

    def test_late_money_goes_back_if_the_buyer_has_as_many_as_allowed(
        self, silent: Payment, held: Reservation, session: Session, hold: Hold
    ) -> None:
        run_out(held)
        expire_holds()
        Session.objects.update(max_per_buyer=2)
        pay(hold(session, "B1", buyer=held.buyer))
        the_money_comes(silent)
        assert silent.status == "returned"

    def test_late_money_that_is_reserved_only_is_let_go(self, held: Reservation, session: Session) -> None:
        payment = pay(held, "declined")
        run_out(held)
        Session.objects.update(cancelled_at=Now())
        SandboxCharge.objects.update(status="authorised")
        late.take_notice(payment_id=payment.pk, standing=Standing("authorised"))
        steps.finish_payment(payment_id=payment.pk)
        payment.refresh_from_db()
        assert (payment.status, SandboxCharge.objects.get().status) == ("voided", "voided")
        assert not LedgerEntry.objects.exists()

    def test_late_money_is_asked_after_though_no_webhook_comes(self, silent: Payment, held: Reservation) -> None:
        run_out(held)
        SandboxCharge.objects.update(status="captured")
        Payment.objects.update(changed_at=Now() - late.ASKED_AGAIN_AFTER)
        sweeping.sweep_payments()
        silent.refresh_from_db()
        assert (silent.status, Sale.objects.count()) == ("captured", 1)


def test_a_late_authorisation_is_refused_by_the_sandbox_once_it_was_voided(held: Reservation) -> None:
    payment = pay(held, "timeout")
    assert fake.authorise(attempt_of(payment)).state == "voided"


class TestWithoutASecret:
    """Check an empty secret, which every attacker knows."""

    @pytest.mark.parametrize("secret", [b"", b" ", b"\t\n"])
    def test_empty_secret_neither_signs_nor_verifies(self, secret: bytes) -> None:
        now = time.time()
        forged = f"t={int(now)},v1={hmac.new(secret, b'%d.{}' % int(now), hashlib.sha256).hexdigest()}"

        with pytest.raises(UnsignedWebhook):
            signatures.verify(b"{}", forged, secret=secret)
        with pytest.raises(UnsignedWebhook):
            signatures.sign(b"{}", secret=secret, at=now)

    @pytest.mark.parametrize("secret", ["", " ", "\t"])
    def test_stripe_without_a_secret_accepts_no_webhook(self, settings: Any, secret: str, silent: Payment) -> None:
        settings.STRIPE_WEBHOOK_SECRET = secret
        body = json.dumps(
            {"id": "evt_1", "type": "charge.captured", "data": {"object": {"metadata": {"attempt": str(silent.pk)}}}}
        ).encode()
        now = int(time.time())
        forged = hmac.new(secret.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()

        answer = post(body, {"Stripe-Signature": f"t={now},v1={forged}"}, method="stripe")

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature")
        assert not WebhookEvent.objects.exists()


class TestOtherMethods:
    def test_gateway_whose_sdk_is_not_installed_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gateways.module_of.cache_clear()
        monkeypatch.delitem(sys.modules, "ticketing.payments.gateways.stripe", raising=False)
        monkeypatch.setitem(sys.modules, "stripe", None)  # as if it were not installed
        answer = post(b"{}", {"Stripe-Signature": "t=1,v1=00"}, method="stripe")
        gateways.module_of.cache_clear()

        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")

    @pytest.mark.parametrize("method", registry.METHODS)
    def test_unsigned_notice_is_refused_by_every_gateway(self, method: str) -> None:
        assert post(b"{}", {}, method=method).status_code in {400, 404}
