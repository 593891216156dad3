"""Check the gate's pages, for gate staff."""

from __future__ import annotations

import datetime as dt
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone, translation

from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import SessionFactory, UserFactory
from tests.ticketing.test_paying import pay
from ticketing import codes
from ticketing.models import Ticket, User
from ticketing.payments import refunds
from ticketing.people.roles import ensure_groups
from ticketing.tickets import doors
from ticketing.voiding import VoidReason

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]


@pytest.fixture
def gabi(client: Client) -> User:
    """Sign the gate's staff in."""
    user: User = UserFactory.create(username="gabi", is_staff=True)
    user.groups.add(ensure_groups()["gate"])
    client.force_login(user)
    return user


class TestSessions:
    def test_sessions_are_those_of_the_next_hours_with_their_check_ins(
        self, client: Client, gabi: User, session: Session, hold: Hold, ana: UUID
    ) -> None:
        past, later = timezone.now() - dt.timedelta(days=1), timezone.now() + dt.timedelta(days=4)
        for starts_at in (past, later):
            SessionFactory.create(starts_at=starts_at)
        pay(hold(session, "A1", "A2", buyer=ana))
        doors.check_in(code=Ticket.objects.all()[0].code, by=gabi)
        page = client.get("/gate").content.decode()
        assert page.count('href="/gate/') == 1
        assert f'href="/gate/{session.pk}"' in page
        assert "1 of 2 are in" in page

    def test_sessions_say_which_are_called_off(self, client: Client, gabi: User, session: Session) -> None:
        refunds.call_off(session_id=session.pk)
        page = client.get("/gate").content.decode()
        assert f'href="/gate/{session.pk}"' in page
        assert "Called off" in page

    def test_sessions_are_for_gate_staff_only(self, client: Client, session: Session) -> None:
        for page in ("/gate", f"/gate/{session.pk}"):
            assert Client().get(page)["Location"] == f"/sign-in?next={page}"
        client.force_login(UserFactory())
        for page in ("/gate", f"/gate/{session.pk}"):
            assert client.get(page).status_code == 403


class TestScanner:
    def test_scanner_brings_the_keys_along(self, client: Client, gabi: User, session: Session) -> None:
        page = client.get(f"/gate/{session.pk}").content.decode()
        assert codes.published()["keys"][0]["x"] in page
        assert f"/sessions/{session.pk}/door-list" in page

    def test_scanner_knows_when_the_doors_open(self, client: Client, gabi: User, session: Session) -> None:
        page = client.get(f"/gate/{session.pk}").content.decode()
        assert str(doors.opens_at(session).date()) in page
        assert '<p class="notice bad" id="called-off" hidden>' in page
        assert '<div class="stack gate" id="scanning">' in page

    def test_scanner_of_a_session_that_was_called_off_stays_shut(
        self, client: Client, gabi: User, session: Session
    ) -> None:
        refunds.call_off(session_id=session.pk)
        page = client.get(f"/gate/{session.pk}").content.decode()
        assert '<p class="notice bad" id="called-off">This session was called off' in page
        assert '<div class="stack gate" id="scanning" hidden>' in page

    @pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
    def test_scanner_has_words_for_each_reason_why_a_ticket_is_void(
        self, client: Client, gabi: User, session: Session, language: str
    ) -> None:
        page = client.get(f"/gate/{session.pk}", headers={"accept-language": language}).content.decode()
        with translation.override(language):
            for reason in VoidReason:
                assert f'<template data-word="void-{reason.value}">{reason.label}</template>' in page

    def test_scanner_of_no_session_is_404(self, client: Client, gabi: User) -> None:
        assert client.get(f"/gate/{uuid4()}").status_code == 404

    def test_scanner_is_kept_by_a_worker_that_may_keep_it(self, client: Client) -> None:
        answer = client.get("/gate/worker.js")
        assert answer["Content-Type"].startswith("text/javascript")
        assert answer["Service-Worker-Allowed"] == "/gate"
