"""Check the box office's map: its readers, its actions and their messages, as a plain form and from a script."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from realtime.models import Event
from reservations.models import Reservation, Status
from reservations.operations import holding, inventory
from sessions_app.models import Session
from tests import factories
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.reservations.test_admin import statuses
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.models import Sale, Ticket, User
from ticketing.payments import starting
from ticketing.people.roles import ensure_groups

pytestmark = pytest.mark.django_db(transaction=True)

Staff = Callable[..., Client]
LOOK = ["view_session", "view_seat", "view_reservation"]


@pytest.fixture
def staff(db: None) -> Staff:
    """Return a function that makes staff with these permissions, or of this group."""

    def staff(*may: str, group: str = "") -> Client:
        user: User = factories.UserFactory(is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=may))
        if group:
            user.groups.set([ensure_groups()[group]])
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return staff


@pytest.fixture
def beto(staff: Staff) -> Client:
    """Sign in a seller of the box office."""
    return staff(group="boxoffice")


def page_of(session: Session) -> str:
    return reverse("seat-desk", args=[session.pk])


def order(client: Client, session: Session, action: str, **facts: object) -> str:
    """Send the form as a browser without scripts does, and return the message."""
    answer: Any = client.post(page_of(session), {"action": action, **facts})
    assert answer.status_code == 302, answer.status_code
    return str(list(get_messages(answer.wsgi_request))[-1])


def order_by_script(client: Client, session: Session, action: str, **facts: object) -> tuple[int, str]:
    answer = client.post(page_of(session), {"action": action, **facts}, headers={"accept": "application/json"})
    return answer.status_code, answer.json()["text"]


def holders(client: Client, session: Session, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(reverse("seat-holders", args=[session.pk]), query).json()["holders"]
    return found


class TestLooking:
    def test_map_is_linked_from_the_sessions(self, session: Session, beto: Client) -> None:
        listed = beto.get(reverse("admin:sessions_app_session_changelist")).content.decode()
        assert page_of(session) in listed
        change = reverse("admin:sessions_app_session_change", args=[session.pk])
        to_map = f"{change.removesuffix('change/')}live-map/"
        assert to_map in beto.get(change).content.decode()
        answer: Any = beto.get(to_map, follow=True)
        assert answer.redirect_chain[-1][0] == page_of(session)

    def test_map_shows_the_plan_and_who_holds_what(
        self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client
    ) -> None:
        hold(session, "A1", "A2", buyer=ana)
        page = beto.get(page_of(session)).content.decode()
        assert page.count('data-seat="') == 16
        assert "A1, A2" in page
        assert f"Guest …{str(ana)[-6:]}" in page

    def test_map_shows_places_without_a_number(
        self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client
    ) -> None:
        stock = StockFactory.create(session=session, name="Pista", capacity=5)
        hold(session, buyer=ana, ticket_type=stock.pk, quantity=2)
        page = beto.get(page_of(session)).content.decode()
        assert f'data-stock="{stock.pk}">3</span> / 5' in page
        assert [holder["places"] for holder in holders(beto, session)] == [2]

    def test_map_tells_of_a_person_no_more_than_an_accounts_name(
        self, session: Session, hold: Hold, beto: Client
    ) -> None:
        clara = factories.UserFactory(username="clara", first_name="Clara", last_name="Rocha", email="c@example.org")
        held = hold(session, "A1", buyer=clara.pk)
        (holder,) = holders(beto, session)
        assert holder == {
            "reservation": str(held.pk),
            "link": reverse("admin:reservations_reservation_change", args=[held.pk]),
            "buyer": str(clara.pk),
            "username": "clara",
            "name": "clara",
            "status": "held",
            "status_name": "held",
            "held_until": holder["held_until"],
            "seats": ["A1"],
            "places": 1,
        }
        page = beto.get(page_of(session)).content.decode()
        assert "clara" in page
        assert "c@example.org" not in page
        assert "Rocha" not in page

    def test_map_finds_the_holders_of_some_seats(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, beto: Client
    ) -> None:
        hold(session, "A1", "A2", buyer=ana)
        bought = hold(session, "B1", buyer=bruno)
        pay(bought)
        assert {holder["buyer"] for holder in holders(beto, session, seats="A2,B1,C1")} == {str(ana), str(bruno)}
        assert [holder["status"] for holder in holders(beto, session, seats="B1")] == ["confirmed"]
        assert holders(beto, session, seats="") == []
        assert holders(beto, session, seats="C1,\0Z99") == []

    def test_map_takes_as_many_queries_for_many_holders(
        self, session: Session, hold: Hold, beto: Client, django_assert_max_num_queries: Any
    ) -> None:
        for row in "ABCD":
            for number in (1, 2, 3, 4):
                hold(session, f"{row}{number}", buyer=uuid.uuid4())
        beto.get(page_of(session))
        with django_assert_max_num_queries(12):
            beto.get(page_of(session))

    def test_map_of_no_session_is_404(self, beto: Client) -> None:
        assert beto.get(reverse("seat-desk", args=[uuid.uuid4()])).status_code == 404

    def test_map_is_in_the_readers_language(self, session: Session, beto: Client) -> None:
        page = beto.get(page_of(session), headers={"accept-language": "pt-br"}).content.decode()
        assert "Tirar de venda" in page
        assert "Fileira A poltrona 1, livre" in page


class TestWhoMay:
    def test_only_staff_see_the_map(self, session: Session, client: Client) -> None:
        client.force_login(factories.UserFactory(), backend="django.contrib.auth.backends.ModelBackend")
        for path in (page_of(session), reverse("seat-holders", args=[session.pk]), reverse("glance")):
            assert client.get(path).status_code == 302
            assert Client().get(path).status_code == 302

    def test_staff_without_a_permission_for_sessions_doesn_t(self, session: Session, staff: Staff) -> None:
        assert staff().get(page_of(session)).status_code == 403

    def test_the_gate_sees_the_map_but_neither_people_nor_actions(
        self, session: Session, hold: Hold, ana: uuid.UUID, staff: Staff
    ) -> None:
        hold(session, "A1", buyer=ana)
        gate = staff(group="gate")
        page = gate.get(page_of(session)).content.decode()
        assert 'data-seat="A1"' in page
        assert str(ana)[-6:] not in page
        assert 'name="action"' not in page
        assert gate.get(reverse("seat-holders", args=[session.pk])).status_code == 403

    def test_staff_who_may_only_look_get_no_actions(
        self, session: Session, hold: Hold, ana: uuid.UUID, staff: Staff
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        reader = staff(*LOOK)
        page = reader.get(page_of(session)).content.decode()
        assert f"Guest …{str(ana)[-6:]}" in page
        assert "Release …</button>" not in page
        assert 'value="block"' not in page
        for action in ("block", "unblock", "release", "move"):
            facts = {"seats": "A1", "to": "B1", "reservation": held.pk, "confirmed": "yes"}
            assert reader.post(page_of(session), {"action": action, **facts}).status_code == 403
        assert statuses(session, "A1", "B1") == "hf"

    @pytest.mark.parametrize(
        ("permission", "able"), [("change_seat", {"block", "unblock"}), ("change_reservation", {"release", "move"})]
    )
    def test_each_permission_is_for_its_own_actions(
        self, session: Session, staff: Staff, permission: str, able: set[str]
    ) -> None:
        client = staff(*LOOK, permission)
        answers = {
            action: client.post(page_of(session), {"action": action}).status_code
            for action in ("block", "unblock", "release", "move")
        }
        assert {action for action, status in answers.items() if status != 403} == able

    def test_no_other_site_sends_the_form(self, session: Session, staff: Staff) -> None:
        user = factories.UserFactory(is_staff=True, is_superuser=True)
        client = Client(enforce_csrf_checks=True)
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert client.post(page_of(session), {"action": "block", "seats": "A1"}).status_code == 403
        assert statuses(session, "A1") == "f"


class TestBlocking:
    def test_blocking_takes_free_seats_off_sale_and_says_what_stayed(
        self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client
    ) -> None:
        hold(session, "A1", buyer=ana)
        told = order(beto, session, "block", seats="A1, A2;A3 A3")
        assert told == "2 seats were taken off sale. 1 seat was not changed."
        assert statuses(session, "A1", "A2", "A3") == "hbb"
        assert order(beto, session, "unblock", seats="A2") == "1 seat is on sale again."

    @pytest.mark.parametrize(("seats", "says"), [("", "Choose seats first."), ("Z9 A1", "2 seats were not changed.")])
    def test_blocking_says_when_nothing_changed(
        self, session: Session, beto: Client, hold: Hold, ana: uuid.UUID, seats: str, says: str
    ) -> None:
        hold(session, "A1", buyer=ana)
        assert order_by_script(beto, session, "block", seats=seats) == (409, says)
        assert not LogEntry.objects.exists()

    def test_blocking_notes_who_did_it(self, session: Session, beto: Client) -> None:
        order(beto, session, "block", seats="A1")
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.change_message) == (str(session.pk), "block: A1")
        history = beto.get(reverse("admin:sessions_app_session_history", args=[session.pk])).content.decode()
        assert "block: A1" in history


class TestReleasing:
    def test_release_asks_first_and_then_frees(
        self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client
    ) -> None:
        held = hold(session, "A1", "A2", buyer=ana)
        asked = beto.post(page_of(session), {"action": "release", "seats": "A2"}).content.decode()
        assert "Release this reservation?" in asked
        assert "A1, A2" in asked
        assert f'name="reservation" value="{held.pk}"' in asked
        assert statuses(session, "A1") == "h"
        told = order(beto, session, "release", reservation=held.pk, confirmed="yes")
        assert told == "The reservation is released; its places are free."
        held.refresh_from_db()
        assert (held.status, statuses(session, "A1", "A2")) == (Status.CANCELLED, "ff")
        assert Event.objects.filter(name="reservation.cancelled").count() == 1

    def test_release_releases_whom_the_desk_saw_and_not_who_came_after(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, beto: Client
    ) -> None:
        seen = hold(session, "A1", buyer=ana)
        holding.release(reservation_id=seen.pk, buyer=ana)
        hold(session, "A1", buyer=bruno)
        order(beto, session, "release", seats="A1", reservation=seen.pk, confirmed="yes")
        assert statuses(session, "A1") == "h"

    def test_release_refuses_what_is_paid_for(self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client) -> None:
        bought = hold(session, "A1", buyer=ana)
        pay(bought)
        status, text = order_by_script(beto, session, "release", reservation=bought.pk, confirmed="yes")
        assert (status, "Give the money back under Sales" in text) == (409, True)
        assert statuses(session, "A1") == "s"
        assert Sale.objects.get().status == "paid"

    def test_release_refuses_while_its_buyer_pays(
        self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token="ok")
        assert "is paying at this moment" in order(beto, session, "release", reservation=held.pk, confirmed="yes")

    @pytest.mark.parametrize(
        ("seats", "says"),
        [
            ("", "Choose seats first."),
            ("C1", "Choose seats of one"),
            ("A1 B1", "Choose seats of one"),
            ("Z9", "Choose"),
        ],
    )
    def test_release_is_of_one_reservation(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, beto: Client, seats: str, says: str
    ) -> None:
        hold(session, "A1", buyer=ana)
        hold(session, "B1", buyer=bruno)
        assert says in order(beto, session, "release", seats=seats)

    def test_release_is_of_this_session(self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client) -> None:
        elsewhere = hold(factories.SessionFactory.create(), "A1", buyer=ana)
        assert "one reservation" in order(beto, session, "release", reservation=elsewhere.pk, confirmed="yes")
        assert Reservation.objects.get().status == Status.HELD

    def test_release_needs_one_that_goes_on(self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client) -> None:
        held = hold(session, "A1", buyer=ana)
        holding.release(reservation_id=held.pk, buyer=ana)
        assert order(beto, session, "release", reservation=held.pk) == "This reservation has ended."


class TestMoving:
    def test_move_asks_first_and_then_moves(self, session: Session, hold: Hold, ana: uuid.UUID, beto: Client) -> None:
        bought = hold(session, "A1", "A2", buyer=ana)
        pay(bought)
        asked = beto.post(page_of(session), {"action": "move", "seats": "A1, A2", "to": "C1, C2"}).content.decode()
        assert "Move this buyer?" in asked
        assert f'name="reservation" value="{bought.pk}"' in asked
        facts = {"seats": "A1, A2", "to": "C1, C2", "reservation": bought.pk, "confirmed": "yes"}
        assert order(beto, session, "move", **facts) == "The buyer was moved from A1, A2 to C1, C2."
        assert set(Ticket.objects.values_list("seat__label", flat=True)) == {"C1", "C2"}
        assert LogEntry.objects.get().change_message == f"move: A1, A2 → C1, C2 {bought.pk}"

    def test_move_names_what_is_in_the_way(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, beto: Client
    ) -> None:
        held = hold(session, "A1", "A2", buyer=ana)
        hold(session, "C1", buyer=bruno)
        facts = {"seats": "A1,A2", "to": "C1,Z9", "reservation": held.pk, "confirmed": "yes"}
        refusal = "The buyer was not moved: C1 (held), Z9 (no such seat)."
        assert order_by_script(beto, session, "move", **facts) == (409, refusal)

    def test_move_names_seats_that_another_holds_by_now(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, beto: Client
    ) -> None:
        seen, other = hold(session, "A1", buyer=ana), hold(session, "B1", buyer=bruno)
        facts = {"seats": "B1", "to": "C1", "reservation": seen.pk, "confirmed": "yes"}
        assert "B1 (not in this reservation)" in order(beto, session, "move", **facts)
        other.refresh_from_db()
        assert other.seats == ["B1"]


class TestAnswers:
    def test_an_unknown_action_changes_nothing(self, session: Session, beto: Client) -> None:
        assert order_by_script(beto, session, "sell", seats="A1")[0] == 409
        assert order_by_script(beto, session, "", seats="A1")[0] == 409

    def test_busy_is_said_so(self, session: Session, beto: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def locked(**_order: object) -> list[str]:
            raise OperationalError("lock timeout")

        monkeypatch.setattr(inventory, "block_seats", locked)
        assert order_by_script(beto, session, "block", seats="A1") == (409, "The box office is busy. Try again.")

    def test_the_audit_finds_nothing_afterwards(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID, beto: Client
    ) -> None:
        held, bought = hold(session, "A1", "A2", buyer=ana), hold(session, "B1", buyer=bruno)
        pay(bought)
        sure = {"confirmed": "yes"}
        steps: list[tuple[str, dict[str, object]]] = [
            ("block", {"seats": "D1 D2"}),
            ("unblock", {"seats": "D1"}),
            ("move", {"seats": "A1", "to": "D1", "reservation": held.pk, **sure}),
            ("move", {"seats": "B1", "to": "A1", "reservation": bought.pk, **sure}),
            ("release", {"reservation": held.pk, **sure}),
        ]
        for action, facts in steps:
            assert order_by_script(beto, session, action, **facts)[0] == 200
            Event.objects.update(published_at="2026-01-01T00:00Z")
            assert audit()["findings"] == []
