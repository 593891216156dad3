"""A gateway is one module and one entry: a toy is added through the registry alone, and everything offers it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from config.web.openapi import views
from reservations.models import Reservation
from sessions_app.models import Session
from tests.api import client_of, post
from tests.conftest import Hold
from tests.support import toy_gateway
from tests.support.toy_gateway import TOY
from ticketing import identity
from ticketing.api.order_fields import OrderFields, plain_wish
from ticketing.models import LedgerEntry, Payment, Sale
from ticketing.pages.forms import TakenForm
from ticketing.pages.views import paid_by
from ticketing.payments.gateways import registry
from ticketing.payments.gateways.registry import Method, Setting

TEMPLATES = Path(toy_gateway.__file__).parent / "templates"
MARBLE = {"method": "toy", "token": "marble-7"}


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setitem(registry.METHODS, "toy", TOY)
    settings.PAYMENT_METHODS = ["fake", "toy"]
    settings.TOY_KEY, settings.TOY_PUBLIC_KEY = "k", "pk_toy"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [*settings.TEMPLATES[0]["DIRS"], TEMPLATES]}]


@pytest.fixture
def held(session: Session, hold: Hold, ana: uuid.UUID) -> Reservation:
    return hold(session, "A1", buyer=ana)


@pytest.fixture
def guest(client: Client, session: Session) -> uuid.UUID:
    """Return the buyer of the client's browser."""
    client.get("/visitor")
    buyer = identity.buyer_of_cookie(client.cookies["buyer"].value)
    assert buyer is not None
    return buyer


@pytest.mark.usefixtures("_toy")
@pytest.mark.django_db(transaction=True)
class TestToy:
    def test_schema_of_the_api_offers_it(self) -> None:
        document = views.document.__wrapped__()
        means = document["components"]["schemas"]["PaymentMeans"]["properties"]
        enum = document["components"]["schemas"]["MethodEnum"]["enum"] if "$ref" in str(means["method"]) else means
        assert "toy" in str(enum)
        assert "`toy` takes marbles." in str(means["method"])
        assert "or a marble." in means["token"]["description"]

    def test_api_sells_with_it(self, held: Reservation, ana: uuid.UUID) -> None:
        answer = post(client_of(ana), f"/reservations/{held.pk}/pay", {"payment": MARBLE}, prefer="wait=5")
        assert answer.status_code == 200, answer.content
        assert answer.json()["sale"]["payment"]["method"] == "toy"
        assert toy_gateway.standings[Payment.objects.get().pk].state == "captured"
        assert LedgerEntry.objects.filter(account="gateway").exists()

    def test_token_that_the_gateway_does_not_know_is_refused(self, held: Reservation, ana: uuid.UUID) -> None:
        wrong = {"payment": {"method": "toy", "token": "button"}}
        assert post(client_of(ana), f"/reservations/{held.pk}/pay", wrong).json()["code"] == "unknown_token"

    def test_page_offers_it_and_its_form_sells(
        self, client: Client, session: Session, hold: Hold, guest: uuid.UUID
    ) -> None:
        page = f"/reservations/{hold(session, 'A1', buyer=guest).pk}"
        shown = client.get(page)
        assert "Marbles<small>for children</small>" in shown.content.decode()
        assert 'name="token.toy" data-key="pk_toy"' in shown.content.decode()
        policy = shown["Content-Security-Policy"]
        assert "https://js.toy.example;" in policy
        assert "frame-src https://toy.example" in policy
        client.post(f"{page}/pay", {"method": "toy", "token": "ok", "token.toy": "marble-7"})
        assert Sale.objects.get().payment.method == "toy"

    def test_both_judges_of_an_order_take_it(self, session: Session) -> None:
        body = b'{"seats": ["A1"], "session": "%s", "payment": {"method": "toy", "token": "marble-7"}}'
        plain = plain_wish(body % str(session.pk).encode())
        fields = OrderFields(data={"seats": ["A1"], "session": str(session.pk), "payment": MARBLE})
        assert fields.is_valid()
        assert plain is not None
        assert plain.payment == fields.wish().payment

    def test_webhook_arrives(self, held: Reservation, ana: uuid.UUID) -> None:
        post(client_of(ana), f"/reservations/{held.pk}/pay", {"payment": MARBLE}, prefer="wait=5")
        attempt = str(Payment.objects.get().pk)
        sign = {"Toy-Signature": "signed by the toy"}
        client = Client()
        assert client.post("/api/v1/webhooks/toy", attempt, content_type="text/plain").status_code == 400
        assert client.post("/api/v1/webhooks/toy", attempt, content_type="text/plain", headers=sign).status_code == 204

    def test_receipt_names_it(self) -> None:
        assert paid_by("toy") == "Toy money"

    def test_settings_are_checked(self) -> None:
        values = {setting.name: "" for setting in registry.settings()}
        assert list(registry.problems(["toy"], values, is_real=True)) == ["PAYMENT_METHODS names toy: set TOY_KEY"]
        assert list(registry.problems(["toy"], {**values, "TOY_KEY": "k"}, is_real=True)) == []


def test_methods_at_the_counter_are_no_methods_of_the_api() -> None:
    assert not registry.is_of_place("cash", "online")
    body = b'{"seats": ["A1"], "session": "%s", "payment": {"method": "cash", "token": "x"}}'
    assert plain_wish(body % str(uuid.uuid4()).encode()) is None


def test_counter_offers_a_method_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    coupon = Method(name="coupon", receipt="Coupon", place="counter", label="by coupon", takes_token=False)
    monkeypatch.setitem(registry.METHODS, "coupon", coupon)
    form = TakenForm({"method": "coupon", "transaction": "left over"})
    assert form.is_valid()
    assert form.cleaned_data["transaction"] == ""


@pytest.mark.parametrize("chosen", [[], ["cash"], ["fake", "door"], ["nothing"]])
def test_method_that_is_not_online_cannot_be_chosen(chosen: list[str]) -> None:
    (problem,) = registry.problems(chosen, {}, is_real=False)
    assert problem.startswith("PAYMENT_METHODS must name one or more of fake, stripe, not ")


def test_every_entry_is_complete() -> None:
    for method in registry.METHODS.values():
        assert method.receipt
        if method.place == "online":
            assert method.label
            assert method.template
            assert method.token
            assert method.signature


def test_setting_is_needed_unless_it_says_otherwise() -> None:
    assert Setting(name="ANY").is_needed
