"""Check what a visitor sees after an error. The API's problems are tested elsewhere."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.test import Client

from sessions_app.pages import programme


@pytest.fixture
def visitor() -> Client:
    """Return a client that gets the error page instead of the error."""
    return Client(raise_request_exception=False)


def test_a_lost_database_is_said_to_be_busy(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_anything: object) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr(programme, "days", gone)
    answer = visitor.get("/")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "1"
    assert "The box office is very busy" in answer.content.decode()


def test_a_fault_of_ours_is_owned(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_anything: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(programme, "days", broken)
    answer = visitor.get("/")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.content.decode()
    assert "ZeroDivisionError" not in answer.content.decode()


@pytest.mark.django_db
def test_a_wrong_address_is_a_page_in_the_readers_language(visitor: Client) -> None:
    answer = visitor.get("/nada", headers={"accept-language": "pt-BR"})
    assert answer.status_code == 404
    assert "Não há nada aqui" in answer.content.decode()
