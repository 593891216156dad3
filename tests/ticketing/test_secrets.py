"""Check the logs of a whole purchase: enough to follow it, without private data."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from rest_framework.test import APIClient
from structlog.stdlib import ProcessorFormatter

from realtime import relay
from realtime.models import Event
from sessions_app.models import Session
from tests.api import client_of, post
from tests.factories import UserFactory
from ticketing.letters import mail
from ticketing.models import Payment, SandboxEvent, Ticket
from ticketing.payments import webhooks
from ticketing.payments.gateways import fake
from ticketing.people.roles import ensure_groups

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]

EMAIL = "ana.secreta@example.org"
PASSWORD = "uma-senha-que-so-ana-sabe"
NAME = "ana-souza-pinto"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Collect all lines as production writes them, and also those below its level."""
    lines = io.StringIO()
    how = dict(settings.LOGGING["formatters"]["json"])
    formatter = how.pop("()")
    handler = logging.StreamHandler(lines)
    handler.setFormatter(formatter(**how))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(before)


def test_logs_hold_no_secret_of_the_buyer_the_tickets_or_the_gateway(
    session: Session, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert issubclass(settings.LOGGING["formatters"]["json"]["()"], ProcessorFormatter)
    monkeypatch.setattr(fake, "DEADLINE_SECONDS", 0)
    secrets = {EMAIL, PASSWORD, NAME}

    ana = Client()
    ana.post("/register", {"username": NAME, "email": EMAIL, "password1": PASSWORD, "password2": PASSWORD})
    ana.post("/sign-in", {"username": NAME, "password": "not-hers-at-all"})
    secrets |= {cookie.value for cookie in ana.cookies.values() if len(cookie.value) > 8}
    tokens = post(APIClient(), "/auth/token", {"username": NAME, "password": PASSWORD}).json()
    secrets |= {tokens["access"], tokens["refresh"]}
    phone = APIClient()
    phone.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access']}")
    held = post(phone, "/reservations", {"session": str(session.pk), "seats": ["A1", "A2"]}).json()
    for token in ("declined", "webhook_late", "webhook_twice"):
        paid = {"payment": {"method": "fake", "token": token}, "email": EMAIL}
        post(phone, f"/reservations/{held['id']}/pay", paid)
    SandboxEvent.objects.update(due_at="2020-01-01T00:00:00Z")
    body, headers = fake.signed(SandboxEvent.objects.all()[0])
    secrets |= set(headers.values())
    Client().generic("POST", "/api/v1/webhooks/fake", body, "application/json", headers={fake.SIGNATURE_HEADER: "t=1"})
    webhooks.deliver_sandbox()
    assert set(Payment.objects.values_list("status", flat=True)) == {"declined", "captured", "returned"}

    one, two = Ticket.objects.order_by("id")
    secrets |= {one.code, one.signed_code, two.code, two.signed_code}
    gate = UserFactory.create(is_staff=True)
    gate.groups.add(ensure_groups()["gate"])
    for code in (one.signed_code, one.signed_code, one.code[:-1] + "0", two.signed_code[:-2] + "00"):
        secrets.add(code)
        post(client_of(gate), "/checkins", {"code": code})
    UserFactory.create(username="bruno")
    post(phone, f"/tickets/{two.pk}/transfer", {"username": UserFactory.create().username})
    mail.send_for(relay.message(Event.objects.filter(name="reservation.confirmed").latest("id")))

    written = logged.getvalue()
    assert written.count("\n") > 20
    assert "payment.late" in written
    found = {secret for secret in secrets if secret in written}
    assert found == set()
