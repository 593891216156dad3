"""Admission uses its copy of a session's facts while PostgreSQL is slow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from reservations.admission import sale_facts
from reservations.admission.sale_facts import FactsUnavailable, facts_of
from reservations.refusals import UnknownSession
from sessions_app.models import Session

pytestmark = pytest.mark.django_db


@contextmanager
def somebody_asks(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let one request ask for the facts while PostgreSQL is silent; finally it knows no such session."""
    asked, over = threading.Event(), threading.Event()

    def read(*_asked: object) -> None:
        asked.set()
        over.wait(10)

    monkeypatch.setattr(sale_facts, "_read", read)
    monkeypatch.setattr(sale_facts, "MOST_SECONDS", 0.05)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(facts_of, session.pk, max_age=0)
        assert asked.wait(5)
        yield
        over.set()
        with pytest.raises(UnknownSession):
            first.result(timeout=10)


def test_other_requests_wait_briefly_without_known_facts(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    sale_facts.forget()
    with somebody_asks(session, monkeypatch), pytest.raises(FactsUnavailable):
        facts_of(session.pk)


def test_other_requests_do_not_wait_with_known_facts(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    known = facts_of(session.pk)
    with somebody_asks(session, monkeypatch):
        assert facts_of(session.pk, max_age=0) is known
