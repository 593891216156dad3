"""Caches may keep the catalogue's answers for a second, and a buyer's never."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from sessions_app.models import Session
from tests.api import client_of
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.support.pages import window_of
from tests.ticketing.test_paying import pay
from ticketing.models import Sale
from ticketing.people.roles import ensure_groups

pytestmark = pytest.mark.django_db(transaction=True)

PUBLIC = ("venues", "halls", "shows", "sessions", "ticket-types", "sessions/{session}", "sessions/{session}/seats")
OWN = (
    *("me", "reservations", "reservations/{held}", "orders", "sales", "sales/{sale}", "tickets", "tickets/{ticket}"),
    *("tickets/{ticket}/qr.svg", "sales/{sale}/tickets.pdf", "users/{ana}/purchases"),
)


@pytest.mark.parametrize("path", PUBLIC)
def test_catalogue_is_cacheable_for_a_second_and_has_an_etag(client: Client, session: Session, path: str) -> None:
    address = f"/api/v1/{path.format(session=session.pk)}"
    answer = client.get(address)
    assert answer.headers["Cache-Control"] == "public, max-age=1"
    again = client.get(address, headers={"if-none-match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(address, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", OWN)
def test_answer_for_a_buyer_is_never_stored(session: Session, hold: Hold, ana: uuid.UUID, path: str) -> None:
    pay(hold(session, "A1", buyer=ana))
    sale = Sale.objects.get()
    names = {"sale": sale.pk, "ticket": sale.tickets.get().pk, "held": sale.reservation_id, "ana": ana}
    answer = client_of(ana).get(f"/api/v1/{path.format(**names)}")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-store")


@pytest.mark.parametrize(
    "path",
    [
        "/?plain=1",
        "/sessions/{session}?plain=1",
        "/visitor",
        "/my-tickets",
        "/orders",
        "/sales/{sale}",
        "/tickets/{ticket}",
    ],
)
def test_no_cache_keeps_a_page(session: Session, hold: Hold, path: str) -> None:
    account = UserFactory.create(username="ana")
    pay(hold(session, "A1", buyer=account.id))
    sale = Sale.objects.get()
    page = path.format(session=session.pk, sale=sale.pk, ticket=sale.tickets.get().pk)
    answer = window_of("ana").get(page)
    assert answer.status_code == 200
    assert {"private", "no-store"} <= set(answer.headers["Cache-Control"].split(", "))


@pytest.mark.parametrize("path", ["/?plain=1", "/sessions/{session}?plain=1"])
def test_no_cache_shares_a_page_with_forms_of_one_visitor(client: Client, session: Session, path: str) -> None:
    answer = client.get(path.format(session=session.pk))
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-cache")


@pytest.mark.parametrize("path", ["/", "/sessions/{session}"])
def test_page_for_every_visitor_says_nothing_of_one_and_any_cache_may_keep_it(session: Session, path: str) -> None:
    UserFactory.create(username="ana", email="ana@example.org", first_name="Ana")
    address = path.format(session=session.pk)
    of_ana, of_nobody = window_of("ana").get(address), Client().get(address)
    assert of_ana.content == of_nobody.content
    assert not of_ana.cookies
    assert of_ana.headers["Cache-Control"] == "public, max-age=1, stale-while-revalidate=4"
    assert {"Accept-Encoding", "Accept-Language", "Cookie"} <= set(of_ana.headers["Vary"].split(", "))
    again = Client().get(address, headers={"if-none-match": of_ana.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


class TestStaff:
    """Groups narrow what staff may do; without one, staff has the rights that API.md gives them."""

    @pytest.mark.parametrize(("group", "status"), [(None, 200), ("boxoffice", 200), ("gate", 404)])
    def test_opens_a_buyers_ticket(
        self, session: Session, hold: Hold, ana: uuid.UUID, group: str | None, status: int
    ) -> None:
        pay(hold(session, "A1", buyer=ana))
        beto = UserFactory.create(is_staff=True)
        if group:
            beto.groups.add(ensure_groups()[group])
        ticket = Sale.objects.get().tickets.get()
        assert client_of(beto).get(f"/api/v1/tickets/{ticket.pk}").status_code == status

    def test_has_own_permissions_beside_those_of_a_group(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        pay(hold(session, "A1", buyer=ana))
        gabi = UserFactory.create(is_staff=True)
        gabi.groups.add(ensure_groups()["gate"])
        gabi.user_permissions.add(Permission.objects.get(codename="view_ticket"))
        ticket = Sale.objects.get().tickets.get()
        assert client_of(gabi).get(f"/api/v1/tickets/{ticket.pk}").status_code == 200
