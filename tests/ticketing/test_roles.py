"""Check permissions: each kind of person requests every address that is not public."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from sessions_app.models import Seat, Session
from sessions_app.templatetags.frontrow import grouped
from tests.api import client_of
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.ticketing.test_paying import pay
from ticketing.models import Sale, Ticket, User
from ticketing.people.roles import SEES_CODES, ensure_groups

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = ("nobody", "bruno", "ana", "gate", "boxoffice", "owner")
BOX = {"boxoffice", "owner"}
STAFF = {"gate", *BOX}
DOORS = {"gate", "owner"}
OWNER = {"owner"}
BUYER = {"ana", *BOX}  # the buyer, and staff with the permission (API.md); the gate lists no codes

PAGES = {
    "/sales/{sale}": BUYER,
    "/tickets/{ticket}": BUYER,
    "/reservations/{reservation}": BUYER,
    "/counter": BOX,
    "/counter/{session}": BOX,
    "/gate": DOORS,
    "/gate/{session}": DOORS,
    "/admin/": STAFF,
    "/admin/sessions/{session}/map": STAFF,
    "/admin/sessions/{session}/holders": BOX,
    "/admin/glance": BOX,
    "/admin/money": BOX,
    "/admin/money.csv": BOX,
}
LISTS = {  # lists of the admin; those not named are for the owner, and may be for the box office
    "ticketing.user": OWNER,
    "auth.group": OWNER,
    "ticketing.webhookevent": OWNER,
    "ticketing.sandboxcharge": OWNER,
    "ticketing.sale": BOX,
    "ticketing.ticket": BOX,
    "ticketing.checkin": STAFF,
    "ticketing.payment": BOX,
    "ticketing.refund": BOX,
    "ticketing.ledgerentry": BOX,
    "ticketing.transfer": BOX,
    "reservations.reservation": BOX,
    "realtime.event": BOX,
    "sessions_app.session": STAFF,
    "sessions_app.show": STAFF,
    "sessions_app.hall": STAFF,
    "sessions_app.venue": STAFF,
    "sessions_app.hallseat": BOX,
    "sessions_app.seat": BOX,
    "sessions_app.tickettype": BOX,
}
CARD = {"payment": {"method": "fake", "token": "ok"}}
BODIES: dict[str, dict[str, Any]] = {  # a valid body each, which changes nothing; the others are sent `CARD`
    "POST /tickets/{ticket}/transfer": {"buyer": "{ana}"},
    "POST /reservations/{reservation}/extend": {},
    "POST /sales/{sale}/refund": {"tickets": [str(uuid.UUID(int=7))]},
}
API = {
    "GET /sales/{sale}": BUYER,
    "GET /sales/{sale}/tickets.pdf": BUYER,
    "GET /tickets/{ticket}": BUYER,
    "GET /tickets/{ticket}/qr.svg": BUYER,
    "GET /users/{ana}/purchases": BUYER,
    "GET /reservations/{reservation}": BUYER,
    "GET /sessions/{session}/seats?at=2030-01-01T00:00:00Z": STAFF,
    "GET /sessions/{session}/door-list": DOORS,
    "POST /checkins": DOORS,
    "POST /sessions": BOX,
    "POST /reservations/{reservation}/pay": {"ana"},
    "POST /tickets/{ticket}/transfer": {"ana"},
    "DELETE /reservations/{reservation}": {"ana"},
    "POST /reservations/{reservation}/extend": {"ana"},
    "POST /sales/{sale}/refund": {"ana", *BOX},
}
DENIED = {401, 403, 404}


@pytest.fixture
def accounts() -> dict[str, User | None]:
    groups = ensure_groups()
    people: dict[str, User | None] = {"nobody": None}
    for name in PEOPLE[1:]:
        people[name] = person = UserFactory.create(username=name, is_staff=name in STAFF)
        if name in groups:
            person.groups.add(groups[name])
    return people


@pytest.fixture
def addresses(accounts: dict[str, User | None], session: Session, hold: Hold) -> Callable[[str], str]:
    """Fill in the ids of Ana's things."""
    ana = accounts["ana"]
    assert ana is not None
    held = hold(session, "A1", "A2", buyer=ana.pk)
    pay(held)
    sale = Sale.objects.get()
    facts: dict[str, uuid.UUID] = {
        "session": session.pk,
        "reservation": held.pk,
        "sale": sale.pk,
        "ticket": sale.tickets.earliest("id").pk,
        "ana": ana.pk,
    }
    return lambda address: address.format(**facts)


def window_of(person: User | None) -> Client:
    client = Client()
    if person:
        client.post(reverse("sign-in"), {"username": person.username, "password": "frontrow-demo"})
    return client


def is_let_in(answer: Any) -> bool:
    turned_away = answer.status_code == 302 and ("/sign-in" in answer["Location"] or "/login" in answer["Location"])
    return answer.status_code not in DENIED and not turned_away


def test_pages_are_for_those_whose_they_are(accounts: dict[str, User | None], addresses: Callable[[str], str]) -> None:
    windows = {name: window_of(person) for name, person in accounts.items()}
    found = {
        page: {name for name, window in windows.items() if is_let_in(window.get(addresses(page)))} for page in PAGES
    }
    assert found == PAGES


def test_lists_of_the_admin_are_least_privilege(accounts: dict[str, User | None]) -> None:
    windows = {name: window_of(accounts[name]) for name in ("ana", *sorted(STAFF))}
    for model in admin.site._registry:  # noqa: SLF001 what is registered
        name = model._meta.label_lower
        if name.split(".")[0] not in {"ticketing", "reservations", "sessions_app", "realtime", "auth"}:
            continue
        page = reverse(f"admin:{name.replace('.', '_')}_changelist")
        found = {who for who, window in windows.items() if is_let_in(window.get(page))}
        if name in LISTS:
            assert found == (LISTS[name] - OWNER if name == "auth.group" else LISTS[name]), name
        else:
            assert found <= BOX, name


def test_calls_of_the_api_are_for_those_whose_they_are(
    accounts: dict[str, User | None], addresses: Callable[[str], str]
) -> None:
    found: dict[str, set[str]] = {}
    for call in API:
        method, path = call.split(" ")
        body = {
            field: addresses(sent) if isinstance(sent, str) else sent for field, sent in BODIES.get(call, CARD).items()
        }
        asked = {name: client_of(person) if person else Client() for name, person in accounts.items()}
        answers = {
            name: client.generic(method, f"/api/v1{addresses(path)}", json.dumps(body), "application/json")
            for name, client in asked.items()
        }
        found[call] = {name for name, answer in answers.items() if is_let_in(answer)}
    assert found == API


CODES = (
    "/sales/{sale}",
    "/sales?buyer={ana}",
    "/users/{ana}/purchases",
    "/tickets/{ticket}",
    "/tickets?buyer={ana}",
    "/reservations/{reservation}",
    "/reservations?buyer={ana}",
    "/orders/{reservation}",
)
PICTURES = (
    "/tickets/{ticket}/qr.svg",
    "/tickets/{ticket}/qr.png",
    "/tickets/{ticket}/ticket.pdf",
    "/sales/{sale}/tickets.pdf",
)


def test_codes_are_for_their_holder_and_for_the_permission_alone(addresses: Callable[[str], str]) -> None:
    """Check that no other permission of staff is enough: one has no group, the others have one permission each."""
    ticket = Ticket.objects.earliest("id")
    shown: dict[str, set[str]] = {}
    for permission in ("", "reservations.view_reservation", "ticketing.view_sale", "ticketing.add_checkin", SEES_CODES):
        clerk = UserFactory.create(is_staff=True)
        if permission:
            app, codename = permission.split(".")
            clerk.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        client = client_of(clerk)
        texts = {path: client.get(f"/api/v1{addresses(path)}").content.decode() for path in CODES}
        seen = {path for path, text in texts.items() if ticket.code in text or ticket.signed_code in text}
        seen |= {path for path in PICTURES if client.get(f"/api/v1{addresses(path)}").status_code == 200}
        window = window_of(clerk)
        pages = ("/sales/{sale}", "/tickets/{ticket}", "/orders/{reservation}")
        seen |= {
            f"page {path}" for path in pages if grouped(ticket.code) in window.get(addresses(path)).content.decode()
        }
        shown[permission] = seen
    assert {*CODES[:5], *PICTURES, "page /tickets/{ticket}"} <= shown.pop(SEES_CODES)
    assert set().union(*shown.values()) == set()


def test_the_gate_gives_no_money_back_and_takes_no_seat_off_sale(
    accounts: dict[str, User | None], addresses: Callable[[str], str]
) -> None:
    gate = window_of(accounts["gate"])
    chosen = {"action": "refund", "_selected_action": [Sale.objects.get().pk]}
    gate.post(reverse("admin:ticketing_sale_changelist"), chosen)
    gate.post(addresses("/admin/sessions/{session}/map"), {"action": "block", "seats": "B1"})
    assert Sale.objects.get().refunded == 0
    assert not Seat.objects.filter(status="b").exists()
