"""Copies sent from the event loop: the same answer as Django's, for the same reader only."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from base import copies
from base.copies import copy
from config.run.serving.site import Site
from config.web import ready
from config.wsgi import application
from reservations.operations import queued
from sessions_app.models import Session
from sessions_app.operations import create_session
from tests.config.run.test_serving import Client
from tests.factories import SessionFactory
from tests.reservations.test_holding import request_for

pytestmark = pytest.mark.django_db(transaction=True)

OF_ONE_ANSWER = {"date", "x-request-id"}


@pytest.fixture(autouse=True)
def _second(settings: Any) -> Iterator[None]:
    settings.COPY_SECONDS = 1.0
    copies.forget()
    ready.forget()
    yield
    copies.forget()
    ready.forget()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that came to Django."""
    return []


@pytest.fixture
def site(asked: list[str]) -> Site:
    def noting(environ: dict[str, Any], start: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        return application(environ, start)

    return Site(noting)


@pytest.fixture
def session() -> Session:
    made: Session = SessionFactory.create(show__title="Maré", seats=(2, 3))
    return made


def ask(site: Site, path: str, query: bytes = b"", **headers: str) -> Client:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(Client(path, headers=sent, scope={"query_string": query}).ask(site))


def lasting(client: Client) -> dict[str, str]:
    return {name: value for name, value in client.headers.items() if name not in OF_ONE_ANSWER}


PATHS = ["/", "/sessions/{}", "/api/v1/sessions", "/api/v1/sessions/{}", "/api/v1/ticket-types"]


class TestTheSame:
    @pytest.mark.parametrize("packing", ["", "gzip, br"])
    @pytest.mark.parametrize("path", PATHS)
    def test_second_reader_gets_what_django_told_the_first_without_asking_it(
        self, site: Site, asked: list[str], session: Session, path: str, packing: str
    ) -> None:
        address = path.format(session.pk)
        first = ask(site, address, accept_encoding=packing)
        second = ask(site, address, accept_encoding=packing)
        assert asked == [address]
        assert (second.status, second.body) == (200, first.body)
        assert lasting(second) == lasting(first)
        assert second.headers["x-request-id"] != first.headers["x-request-id"]

    @pytest.mark.parametrize("path", PATHS)
    def test_reader_who_has_it_is_told_so_as_django_does(self, site: Site, session: Session, path: str) -> None:
        address = path.format(session.pk)
        tag = ask(site, address).headers["etag"]
        ready.forget()
        first = ask(site, address, if_none_match=tag)  # by Django
        ask(site, address)
        second = ask(site, address, if_none_match=tag)
        assert (first.status, first.body) == (second.status, second.body) == (304, b"")
        of_a_body = {"content-length", "content-type"}
        assert {k: v for k, v in lasting(second).items() if k not in of_a_body} == {
            k: v for k, v in lasting(first).items() if k not in of_a_body
        }

    def test_reader_who_takes_no_gzip_gets_the_same_words(self, site: Site, session: Session) -> None:
        packed = ask(site, "/", accept_encoding="gzip")
        plain = ask(site, "/")
        assert gzip.decompress(packed.body) == plain.body
        assert "content-encoding" not in plain.headers

    def test_request_id_of_the_client_comes_back(self, site: Site, session: Session) -> None:
        ask(site, "/")
        assert ask(site, "/", x_request_id="from-a-test").headers["x-request-id"] == "from-a-test"


class TestWhoGetsItsOwn:
    """A reader who differs in anything the answer depends on is answered by Django."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"accept_language": "pt-BR"},
            {"cookie": "django_language=pt-br"},
            {"host": "127.0.0.1"},
            {"cookie": "theme=dark; messages=abc"},
            {"origin": "https://elsewhere.example"},
            {"authorization": "Bearer x"},
        ],
    )
    def test_other_reader_reaches_django(
        self, site: Site, asked: list[str], session: Session, headers: dict[str, str]
    ) -> None:
        ask(site, "/")
        ask(site, "/", b"", **headers)
        assert asked == ["/", "/"]

    def test_languages_are_kept_apart(self, site: Site, session: Session) -> None:
        for _time in range(2):
            assert b'lang="en"' in ask(site, "/").body
            assert b'lang="pt-br"' in ask(site, "/", accept_language="pt-BR,pt;q=0.9").body
            assert b'lang="pt-br"' in ask(site, "/", cookie="a=b; django_language=pt-br").body

    def test_bad_token_is_refused_though_a_copy_lies_ready(self, site: Site, session: Session) -> None:
        ask(site, "/api/v1/sessions")
        assert ask(site, "/api/v1/sessions", authorization="Bearer nonsense").status == 401

    def test_answer_for_one_visitor_is_never_ready_for_another(self, site: Site, session: Session) -> None:
        for path in ("/visitor", "/my-tickets", "/sign-in", f"/sessions/{session.pk}"):
            query = b"plain=1" if path.startswith("/sessions") else b""
            ask(site, path, query)
        assert not ready.kept


class TestReadWhatWasWritten:
    def available(self, site: Site, session: Session) -> tuple[int, int]:
        one = json.loads(ask(site, f"/api/v1/sessions/{session.pk}").body)["available"]
        listed = json.loads(ask(site, "/api/v1/sessions").body)["results"][0]["available"]
        return one, listed

    def test_program_that_held_a_seat_reads_at_once_that_it_is_gone(self, site: Site, session: Session) -> None:
        for number, seat in enumerate(["A1", "A2", "A3", "B1"]):
            assert self.available(site, session) == (6 - number, 6 - number)
            queued.allocate([request_for(session, seat, buyer=uuid4())])
        assert self.available(site, session) == (2, 2)

    def test_program_that_made_a_session_finds_it_in_the_list(self, site: Site, session: Session) -> None:
        ask(site, "/api/v1/sessions")
        starts = timezone.now() + dt.timedelta(days=2)
        made = create_session(show="Vento", starts_at=starts, price=100, rows=1, seats_per_row=1)
        assert str(made.pk) in ask(site, "/api/v1/sessions").body.decode()


class TestFresh:
    def test_change_is_seen_within_a_second(self, site: Site, session: Session) -> None:
        """Asks all the time, as a crowd does: the old page is not seen after the second is over."""
        assert "Maré".encode() in ask(site, f"/sessions/{session.pk}").body
        session.show.title = "Vento"
        session.show.save()
        changed = timezone.now()
        while b"Vento" not in ask(site, f"/sessions/{session.pk}").body:
            assert (timezone.now() - changed).total_seconds() < 1.25  # a busy machine's share in it
        while (timezone.now() - changed).total_seconds() < 1.5:
            assert b"Vento" in ask(site, f"/sessions/{session.pk}").body

    def test_one_reader_renews_it_in_its_second_half(
        self, site: Site, asked: list[str], session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask(site, "/")
        now = copy.now() + 0.6
        monkeypatch.setattr(copy, "now", lambda: now)
        for _reader in range(5):
            ask(site, "/")
        assert len(asked) == 2

    def test_missing_session_is_never_ready(self, site: Site, asked: list[str]) -> None:
        for _time in range(2):
            assert ask(site, "/sessions/01900000-0000-7000-8000-000000000000").status == 404
        assert len(asked) == 2
