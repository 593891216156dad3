"""Compare the ledger with Stripe's own record in the audit."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from reservations.models import Reservation
from sessions_app.models import Session
from tests.conftest import Hold
from tests.ticketing import stripe_stub
from tests.ticketing.stripe_stub import Stub
from tests.ticketing.upkeep.test_audit import found
from ticketing.models import Payment, Refund, Sale
from ticketing.payments import gateways, refunds, starting, steps
from ticketing.refusals import UnknownMethod
from ticketing.upkeep import reconciling

pytestmark = pytest.mark.django_db(transaction=True)

CHECK = "ledger_differs_from_stripe"


@pytest.fixture
def stub(settings: Any) -> Iterator[Stub]:
    with stripe_stub.serving() as (stub, url):
        settings.PAYMENT_METHODS = ["stripe"]
        settings.STRIPE_API_KEY, settings.STRIPE_API_URL = "sk_test_stub", url
        yield stub


@pytest.fixture
def sale(stub: Stub, session: Session, hold: Hold, ana: uuid.UUID) -> Sale:
    """Sell Ana two seats at 25.00, and refund one of them an hour ago."""
    held: Reservation = hold(session, "A1", "A2", buyer=ana)
    payment = starting.start_payment(reservation_id=held.pk, buyer=ana, method="stripe", token="pm_card_visa")
    steps.finish_payment(payment_id=payment.pk)
    sale = Sale.objects.get()
    refund = refunds.ask_refund(sale_id=sale.pk, buyer=ana, tickets=[sale.tickets.earliest("id").pk])
    refunds.pay_back(refund_id=refund.pk)
    let_an_hour_pass()
    return sale


def let_an_hour_pass() -> None:
    ago = timezone.now() - dt.timedelta(hours=1)
    Payment.objects.update(changed_at=ago)
    Refund.objects.update(changed_at=ago)


@pytest.mark.usefixtures("sale")
class TestStripesRecord:
    def test_same_record_is_no_finding(self, stub: Stub) -> None:
        assert found(CHECK) == []
        assert "GET /v1/payment_intents" in stub.asked

    def test_check_finds_a_refund_that_failed_at_stripe(self, stub: Stub) -> None:
        stub.intents["pi_1"]["latest_charge"]["amount_refunded"] = 0
        (finding,) = found(CHECK)
        assert (finding["posted"], finding["at_the_gateway"]) == (2500, 5000)

    def test_check_finds_a_charge_that_stripe_does_not_know(self, stub: Stub) -> None:
        del stub.intents["pi_1"]
        (finding,) = found(CHECK)
        assert (finding["posted"], finding["at_the_gateway"]) == (2500, None)

    def test_check_finds_a_charge_that_we_do_not_know(self, stub: Stub) -> None:
        lost = {**stub.intents["pi_1"], "id": "pi_9", "metadata": {"attempt": str(uuid.UUID(int=7))}}
        stub.intents["pi_9"] = lost
        (finding,) = found(CHECK)
        assert (finding["charge"], finding["at_the_gateway"]) == ("pi_9", 2500)

    def test_check_leaves_out_other_charges_of_the_account_and_what_moves_now(self, stub: Stub) -> None:
        stub.intents["pi_9"] = {**stub.intents["pi_1"], "id": "pi_9", "metadata": {}}
        assert found(CHECK) == []
        stub.intents["pi_1"]["latest_charge"]["amount_refunded"] = 0
        Refund.objects.update(changed_at=Now())
        assert found(CHECK) == []

    def test_check_asks_for_older_payments_one_by_one(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconciling, "MOST", 1)
        stub.intents["pi_9"] = {**stub.intents["pi_1"], "id": "pi_9", "metadata": {}}
        assert found(CHECK) == []
        assert "GET /v1/payment_intents/pi_1" in stub.asked

    def test_check_says_so_when_stripe_is_away(self, stub: Stub) -> None:
        stub.down = 1
        (finding,) = found(CHECK)
        assert finding["gateway"] == "stripe"

    def test_check_says_so_when_its_sdk_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(method: str) -> None:
            raise UnknownMethod(method)

        monkeypatch.setattr(gateways, "of", missing)
        (finding,) = found(CHECK)
        assert "uv sync --extra stripe" in finding["said"]


def test_houses_without_stripe_ask_no_gateway(session: Session) -> None:
    assert list(reconciling.differences()) == []
