"""One relay is the active one. Each `Leadership` here stands for a relay of its own; PostgreSQL is real."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connection

from realtime import leadership
from realtime.leadership import Leadership, NotActive
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

HOLDERS = """
SELECT owner.pid FROM pg_locks AS held JOIN pg_stat_activity AS owner ON owner.pid = held.pid
WHERE held.locktype = 'advisory' AND held.granted AND owner.datname = current_database()
    AND owner.application_name LIKE 'frontrow relay %'
"""


@pytest.fixture
def relays() -> Iterator[list[Leadership]]:
    relays = [Leadership(), Leadership()]
    yield relays
    for relay in relays:
        relay.give_up()


def holders() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(HOLDERS)
        return [pid for (pid,) in cursor.fetchall()]


def end_connection_of_holder() -> None:
    (pid,) = holders()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])


def is_sure(relay: Leadership) -> bool:
    try:
        relay.require()
    except NotActive:
        return False
    return True


def test_first_relay_is_active_and_second_stands_by(relays: list[Leadership]) -> None:
    assert [relay.renew() for relay in relays] == [True, False]
    assert [relay.renew() for relay in relays] == [True, False]
    assert [is_sure(relay) for relay in relays] == [True, False]
    assert len(holders()) == 1


def test_second_relay_takes_over_when_first_gives_up(relays: list[Leadership]) -> None:
    first, second = relays
    first.renew()

    first.give_up()

    until(second.renew, what="the lock being free")
    assert not first.renew()
    assert not is_sure(first)


def test_relay_whose_connection_ended_is_not_sure_before_it_asks(relays: list[Leadership]) -> None:
    first, second = relays
    first.renew()
    assert is_sure(first)

    end_connection_of_holder()

    until(lambda: not is_sure(first), what="the relay noticing")
    until(second.renew, what="the lock being free")
    assert not first.renew()


def test_relay_whose_connection_ended_can_become_active_again(relays: list[Leadership]) -> None:
    first, _second = relays
    first.renew()
    end_connection_of_holder()

    until(first.renew, what="the relay connecting anew")

    assert is_sure(first)


def test_relay_on_standby_survives_the_end_of_its_connection(relays: list[Leadership]) -> None:
    first, second = relays
    assert [first.renew(), second.renew()] == [True, False]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'frontrow relay %%'"
            " AND datname = current_database() AND NOT pid = ANY(%s)",
            [holders()],
        )

    assert second.renew() is False


def test_silent_relay_loses_its_lock(relays: list[Leadership], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "SILENCE_SECONDS", 0.3)
    first, second = relays
    assert first.renew()

    until(second.renew, what="PostgreSQL ending the silent connection")

    assert not is_sure(first)


def test_relay_is_not_sure_for_longer_than_its_last_answer_lasts(
    relays: list[Leadership], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL still has the lock: the network between them may be gone without a word."""
    monkeypatch.setattr(leadership, "SURE_SECONDS", 0.2)
    first, _second = relays
    first.renew()

    until(lambda: not is_sure(first), what="the relay's own doubt")

    assert len(holders()) == 1
    assert leadership.SURE_SECONDS < leadership.SILENCE_SECONDS


def test_lock_connection_belongs_to_no_pool(relays: list[Leadership]) -> None:
    relays[0].renew()
    connection.ensure_connection()
    ours = connection.connection
    assert ours is not None

    assert ours.info.backend_pid not in holders()
    for _loan in range(3):
        connection.close()  # back to the pool
        connection.ensure_connection()
        assert len(holders()) == 1


def test_unreachable_database_is_an_error_of_django(relays: list[Leadership], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_where: object) -> None:
        raise psycopg.OperationalError("refused")

    monkeypatch.setattr(psycopg, "connect", refuse)

    with pytest.raises(OperationalError):
        relays[0].renew()
    assert not is_sure(relays[0])
