import uuid

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from realtime import events
from realtime.events import NewEvent
from realtime.models import Event

pytestmark = pytest.mark.django_db


def held(*, session: uuid.UUID, map_version: int | None = None) -> NewEvent:
    return NewEvent(event="seat.held", session=session, facts={"changes": {"A1": "h"}}, map_version=map_version)


class TestRecord:
    def test_writes_the_event(self, ana: uuid.UUID) -> None:
        session = uuid.uuid4()

        event = events.record(
            event="reservation.held", session=session, buyer=ana, facts={"seats": ["A1"], "name": "Não é só"}
        )

        row = Event.objects.get(pk=event.pk)
        assert (row.name, row.session, row.buyer, row.map_version) == ("reservation.held", session, ana, None)
        assert row.facts == {"seats": ["A1"], "name": "Não é só"}
        assert row.published_at is None
        assert row.occurred_at == event.occurred_at

    def test_takes_the_time_of_the_write_not_of_the_transactions_beginning(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.01), now()")
            ((_slept, began),) = cursor.fetchall()

        event = events.record(event="payment.captured", session=None, facts={})

        assert event.occurred_at > began


class TestRecordMany:
    def test_needs_one_statement_for_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session = uuid.uuid4()

        statements: list[str] = []
        monkeypatch.setattr(events, "execute", lambda *statement: statements.append(statement[0]))
        events.record_many([held(session=session, map_version=version) for version in range(1, 501)])

        assert statements == [events.INSERT]

    def test_keeps_the_order_in_the_ids(self) -> None:
        session = uuid.uuid4()

        made = events.record_many([held(session=session, map_version=version) for version in (1, 2, 3)])

        assert list(Event.objects.order_by("id").values_list("map_version", flat=True)) == [1, 2, 3]
        assert list(Event.objects.order_by("id").values_list("id", flat=True)) == made

    def test_sends_no_query_without_events(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        with django_assert_num_queries(0):
            assert events.record_many([]) == []

    def test_writes_none_when_the_callers_transaction_fails(self) -> None:
        def fail_after_recording() -> None:
            with transaction.atomic():
                events.record(event="reservation.held", session=None, facts={})
                raise LookupError

        with pytest.raises(LookupError):
            fail_after_recording()

        assert not Event.objects.exists()


class TestTheLog:
    def test_refuses_a_map_version_twice(self) -> None:
        session = uuid.uuid4()
        events.record_many([held(session=session, map_version=1)])

        with pytest.raises(IntegrityError, match="event_one_map_version_a_session"):
            events.record_many([held(session=session, map_version=1)])

    def test_lets_two_sessions_count_for_themselves(self) -> None:
        events.record_many([held(session=uuid.uuid4(), map_version=1), held(session=uuid.uuid4(), map_version=1)])

        assert Event.objects.count() == 2

    def test_cannot_be_rewritten(self) -> None:
        event = events.record(event="reservation.held", session=None, facts={})

        with pytest.raises(IntegrityError, match="append-only"):
            Event.objects.filter(pk=event.pk).update(name="reservation.confirmed")

    def test_cannot_be_shortened(self) -> None:
        events.record(event="reservation.held", session=None, facts={})

        with pytest.raises(IntegrityError, match="append-only"):
            Event.objects.all().delete()
