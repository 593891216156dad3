from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from base.postgresql.patience import PatientConnection
from tests.proxy import Proxy


@pytest.fixture
def wire(db: None) -> Iterator[Proxy]:
    url = urllib.parse.urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}")
    with Proxy(url.geturl()) as wire:
        yield wire


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(PatientConnection, "limit", 0.5)
    return 0.5


def connect(wire: Proxy) -> PatientConnection:
    found = PatientConnection.connect(wire.url, autocommit=True)
    assert isinstance(found, PatientConnection)
    return found


def test_a_silent_server_loses_the_connection_in_time(wire: Proxy, limit: float) -> None:
    with connect(wire) as silent:
        wire.hole()
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            silent.execute("SELECT 1")
        assert limit <= time.monotonic() - began < limit + 5
        assert silent.closed


def test_a_transaction_of_a_silent_connection_ends_with_the_error(wire: Proxy, limit: float) -> None:
    def ask_in_vain(silent: PatientConnection) -> None:
        with silent.transaction():
            wire.hole()
            silent.execute("SELECT 1")

    with connect(wire) as silent:
        with pytest.raises(psycopg.OperationalError):
            ask_in_vain(silent)
        assert silent.closed


def test_what_postgresql_says_closes_nothing(wire: Proxy, limit: float) -> None:
    with connect(wire) as patient:
        patient.execute("SET lock_timeout = '50ms'")
        with psycopg.connect(wire.url) as blocker:
            blocker.execute("SELECT pg_advisory_xact_lock(4711)")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                patient.execute("SELECT pg_advisory_xact_lock(4711)")
        row = patient.execute("SELECT 1").fetchone()
        assert row == (1,)


def test_people_s_commands_have_no_limit(wire: Proxy) -> None:
    assert PatientConnection.limit in {None, settings.DB_ANSWER_SECONDS}
    with connect(wire) as patient:
        patient.limit = None  # type: ignore[misc] # of this connection
        patient.execute("SELECT pg_sleep(0.7)")


def test_the_pool_s_connections_are_patient(db: None) -> None:
    connection.ensure_connection()
    assert isinstance(connection.connection, PatientConnection)
