"""Check pages that are older than a sign-in or sign-out: they get a fresh token once, or say what to do."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from tests.api import assert_problem
from tests.factories import UserFactory
from tests.ticketing.test_identity import cookie_of

OLD = "o" * 32
DJANGO = re.compile("CSRF|Referer|verification", re.IGNORECASE)
ID = UUID(int=7)  # names no row; a test has the same name in every process
FORMS = [
    reverse("sign-in"),
    reverse("sign-out"),
    reverse("register"),
    reverse("set-language"),
    *(f"/reservations/{ID}/{act}" for act in ("pay", "extend", "release", "price")),
    *(f"/sessions/{ID}/{act}" for act in ("hold", "order")),
    f"/orders/{ID}/give-up",
    f"/sales/{ID}/refund",
    f"/tickets/{ID}",
    f"/counter/{ID}",
    "/admin/login/",
]


@pytest.fixture
def strict() -> Client:
    """Return a client whose cookie is newer than its pages."""
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "n" * 32
    return client


def send(strict: Client, path: str, **headers: str) -> Any:
    return strict.post(path, {"csrfmiddlewaretoken": OLD}, headers=headers)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_with_an_old_token_gets_a_page_of_the_house(strict: Client, form: str) -> None:
    answer = send(strict, form, referer="http://testserver/sessions/1?lane=x#choose")
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "Nothing was done" in page
    assert 'class="button primary" href="/sessions/1?lane=x"' in page
    main = page.split("<main", 1)[1].split("</main>", 1)[0]
    assert not DJANGO.search(main)


def test_the_page_is_in_the_readers_language(strict: Client) -> None:
    page = send(strict, reverse("sign-in"), accept_language="pt-BR").content.decode()
    assert "Nada foi feito" in page
    assert "Nothing was done" not in page


@pytest.mark.parametrize("before", ["", "https://elsewhere.example/", "//elsewhere.example/x", "javascript:alert(1)"])
def test_the_way_back_stays_on_this_site(strict: Client, before: str) -> None:
    page = send(strict, reverse("sign-in"), referer=before).content.decode()
    assert "elsewhere" not in page
    assert "javascript:" not in page
    assert 'class="button primary" href="/"' in page


def test_a_browser_without_cookies_is_told_so() -> None:
    page = send(Client(enforce_csrf_checks=True), reverse("sign-in")).content.decode()
    assert "Allow cookies for this site" in page


def test_a_script_gets_a_problem_and_not_a_page(strict: Client) -> None:
    assert_problem(send(strict, reverse("sign-in"), accept="application/json"), 403, "csrf_failed")


@pytest.mark.parametrize(("language", "words"), [("en", "Load the page again"), ("pt-BR", "Carregue a página de novo")])
def test_the_api_says_what_to_do(strict: Client, ana: UUID, language: str, words: str) -> None:
    strict.cookies["buyer"] = cookie_of(ana)
    answer = strict.post(f"/api/v1/reservations/{ID}/extend", headers={"x-csrftoken": OLD, "accept-language": language})
    detail = assert_problem(answer, 403, "csrf_failed")["detail"]
    assert words in detail
    assert not DJANGO.search(detail)


@pytest.mark.django_db
def test_a_fresh_token_is_valid_after_a_sign_in() -> None:
    browser = Client(enforce_csrf_checks=True)
    old = browser.get(reverse("visitor")).json()["token"]
    browser.force_login(UserFactory.create())
    browser.cookies["csrftoken"] = "n" * 32  # as a sign-in rotates it
    assert browser.post(reverse("sign-out"), {"csrfmiddlewaretoken": old}).status_code == 403
    answer = browser.get(reverse("visitor"))
    assert "no-store" in answer["Cache-Control"]
    fresh = answer.json()["token"]
    assert browser.post(reverse("sign-out"), {"csrfmiddlewaretoken": fresh}).status_code == 302
