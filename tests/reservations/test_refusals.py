"""Each refusal is spelled once, in a catalogue, and all that tells of it reads it there. Without a database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.html import escape

import reservations.refusals
import sessions_app.operations
import ticketing.refusals
from base.refusals import Refused
from config.web.openapi import problem_shapes, views
from reservations import orders
from reservations.pages import views as pages
from reservations.refusals import NotHeld
from tests.support.refusals_page import written

ROOT = Path(settings.BASE_DIR)
ENTRIES = [*reservations.refusals.ENTRIES, *ticketing.refusals.ENTRIES, *sessions_app.operations.REFUSALS]
ENDINGS = reservations.refusals.ENDINGS
APPS = ("base", "sessions_app", "reservations", "ticketing", "config", "realtime", "templates")
CATALOGUES = ("reservations/refusals/", "ticketing/refusals.py", "sessions_app/operations.py")
# Words of other vocabularies that happen to be spelled like a reason
ALSO = {
    "expired": "a reservation's status, and a letter's template",
    "failed": "a payment's status, and what pages say of an answer that never came",
    "released": "an event's name",
    "invalid": "what Django and DRF call a wrong value",
    "session_cancelled": "why a refund was asked for",
    "box_office": "why a ticket is void",
    "too_late": "why a payment came to nothing",
    "not_yet": "the state of a gate",
    **dict.fromkeys(("already_used", "other_session", "payment_due"), "how a check-in is recorded"),
}
# Scripts that act on a problem, besides showing it
SCRIPTS = {
    "ticketing/static/ticketing/gate-page.js",
    "ticketing/static/ticketing/payment-form.js",
    "ticketing/static/ticketing/session-page.js",
    "reservations/static/reservations/hold-panel.js",
    "sessions_app/static/sessions_app/api.js",
    "ticketing/static/ticketing/order-form.js",
}


def name_of(entry: type[Refused]) -> str:
    return entry.__name__


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
class TestEntry:
    def test_has_an_http_answer_and_a_sentence_in_both_languages(self, entry: type[Refused]) -> None:
        assert entry.status in {400, 401, 402, 403, 404, 409, 410, 422, 429}
        assert entry.title
        sentences = self.in_both(entry.sentence)
        assert all(sentences)
        assert len(set(sentences)) == 2, "not translated"

    def test_is_in_the_schema(self, entry: type[Refused]) -> None:
        name = problem_shapes.name_of((entry.code, entry.status))
        component = views.document()["components"]["schemas"].get(name)
        if component is None:  # the API never answers with it; pages do
            assert entry is sessions_app.operations.HasBuyers
            return
        assert component["properties"]["code"] == {"type": "string", "const": entry.code}

    @staticmethod
    def in_both(words: object) -> list[str]:
        said = []
        for language in ("en", "pt-br"):
            with translation.override(language):
                said.append(str(words))
        return said


@pytest.mark.parametrize("reason", ENDINGS)
class TestEnding:
    def test_has_advice_in_both_languages(self, reason: str) -> None:
        for words in (ENDINGS[reason].ended, ENDINGS[reason].advice):
            assert len(set(TestEntry.in_both(words))) == 2, words

    def test_fits_the_row_and_the_schema(self, reason: str) -> None:
        assert len(reason) <= 32
        assert reason in views.document()["components"]["schemas"]["Reason"]["enum"]

    def test_is_shown_by_an_order(self, reason: str) -> None:
        assert orders.said_of("rejected", reason) == str(ENDINGS[reason].ended)


def test_is_shown_by_the_panel_of_a_hold() -> None:
    words = render_to_string("reservations/_words.html")
    for reason, entry in ENDINGS.items():
        assert f'<template data-word="story-{reason}">{escape(entry.story())}</template>' in words
    assert '<template data-word="title-session_cancelled">Called off</template>' in words
    assert pages.title("cancelled", "session_cancelled") == "Called off"
    assert pages.title("cancelled", "released") == "Released"
    assert str(NotHeld(ENDINGS["session_cancelled"]).said()) == str(ENDINGS["session_cancelled"].ended)


def test_documentation_matches_the_catalogues() -> None:
    with translation.override("en"):
        assert (ROOT / "docs" / "refusals.md").read_text() == written(), "run tools/document-refusals"


def spelled() -> dict[str, set[str]]:
    """Map each reason or code to the files that spell it, beside the catalogues."""
    words = {entry.reason for entry in ENTRIES} | {entry.code for entry in ENTRIES}
    found: dict[str, set[str]] = {}
    for app in APPS:
        for file in (ROOT / app).rglob("*"):
            name = file.relative_to(ROOT).as_posix()
            if file.suffix not in {".py", ".html", ".js"} or "/migrations/" in name or name.startswith(CATALOGUES):
                continue
            for word in re.findall(r"[\"']([a-z_]+)[\"']", file.read_text()):
                if word in words - ALSO.keys():
                    found.setdefault(word, set()).add(name)
    return found


def test_no_other_module_spells_one() -> None:
    elsewhere = {word: files - SCRIPTS for word, files in spelled().items() if files - SCRIPTS}
    allowed = {
        # of problems that are no refusals, and have the same code
        "bad_token": {"config/web/problems.py", "config/web/openapi/answers.py", "ticketing/identity.py"},
        "rate_limited": {"config/web/problems.py", "config/web/openapi/answers.py", "config/run/serving/refusals.py"},
        "bad_signature": {"config/web/openapi/problem_shapes.py"},
        "ticket_void": {"config/web/openapi/problem_shapes.py"},
        # any operation may answer with these
        "request_in_flight": {"config/web/openapi/answers.py"},
        "idempotency_mismatch": {"config/web/openapi/answers.py"},
        "other_buyer": {"config/web/openapi/answers.py"},
    }
    assert {
        word: sorted(files - allowed.get(word, set()))
        for word, files in elsewhere.items()
        if files - allowed.get(word, set())
    } == {}


def test_scripts_decide_by_codes() -> None:
    codes = {entry.code for entry in ENTRIES} | {code for code, _status in problem_shapes.known()} | {"not_resent"}
    for name in SCRIPTS:
        for code in re.findall(r"code === \"(\w+)\"", (ROOT / name).read_text()):
            assert code in codes, (name, code)
