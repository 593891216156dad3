"""Messages that wait together are allocated together, and none overtakes another."""

from __future__ import annotations

import uuid
from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kombu.message import Message

from reservations import tasks
from reservations.allocation import announcements, batch
from reservations.allocation.announcements import Announcements
from reservations.claims import standings
from reservations.hold_request import HoldRequest
from reservations.models import Reservation, Status
from reservations.operations import messages, queued
from reservations.queueing.queues import QueueDown
from sessions_app.models import Session
from tests.processes import until
from tests.reservations.test_holding import request_for

pytestmark = pytest.mark.django_db(transaction=True)


def message(*requests: HoldRequest, task: str = tasks.allocate.name, payload: Any = None) -> Message:
    """Return the parts of a message that the worker looks at."""
    said: Any = payload or ([], {"requests": [request.to_json() for request in requests]}, {})
    return cast(Message, SimpleNamespace(headers={"task": task, "id": str(uuid.uuid4())}, payload=said))


def run(one: Message) -> None:
    """Run the task in its own turn."""
    tasks.allocate.push_request(id=one.headers["id"])
    try:
        tasks.allocate(**one.payload[1])
    finally:
        tasks.allocate.pop_request()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the sizes of the batches that were allocated, in order."""
    sizes: list[int] = []
    allocate_batch = batch.allocate_batch

    def noted(requests: Any, **where: Any) -> Announcements:
        sizes.append(len(requests))
        return allocate_batch(requests, **where)

    monkeypatch.setattr(batch, "allocate_batch", noted)
    return sizes


class TestTogether:
    def test_several_messages_are_one_transaction(self, session: Session, batches: list[int]) -> None:
        came = deque([message(request_for(session, seat, buyer=uuid.uuid4())) for seat in ("A1", "A2", "A1")])
        some = tasks.allocated_together(came)
        assert (len(some), len(came)) == (3, 0)
        for one in some:
            run(one)
        assert batches == [3]
        assert sorted(Reservation.objects.values_list("status", flat=True)) == ["held", "held", "rejected"]

    def test_one_message_waits_for_its_own_turn(self, session: Session, batches: list[int]) -> None:
        (one,) = tasks.allocated_together(deque([message(request_for(session, "A1", buyer=uuid.uuid4()))]))
        assert batches == []
        run(one)
        assert batches == [1]

    def test_no_message_passes_an_order_to_drain_the_inbox(self, session: Session, batches: list[int]) -> None:
        first, last = (message(request_for(session, seat, buyer=uuid.uuid4())) for seat in ("A1", "A2"))
        drain = message(task=tasks.drain.name, payload=([], {"shard": 0}, {}))
        came = deque([first, drain, last])
        assert [tasks.allocated_together(came) for _turn in range(3)] == [[first], [drain], [last]]
        assert batches == []

    def test_batch_has_no_more_messages_than_fit(
        self, session: Session, batches: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "TOGETHER", 2)
        came = deque([message(request_for(session, seat, buyer=uuid.uuid4())) for seat in ("A1", "A2", "A3")])
        assert len(tasks.allocated_together(came)) == 2
        assert len(came) == 1

    @pytest.mark.parametrize("said", [{"requests": None}, {}, "?"])
    def test_unreadable_message_is_left_to_the_task(self, session: Session, said: Any, batches: list[int]) -> None:
        odd = message(payload=([], said, {}))
        good = message(request_for(session, "A1", buyer=uuid.uuid4()))
        came = deque([odd, good])
        assert tasks.allocated_together(came) == [odd]
        assert list(came) == [good]

    def test_each_message_has_its_turn_if_they_fail_together(
        self, session: Session, batches: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        came = deque([message(request_for(session, seat, buyer=uuid.uuid4())) for seat in ("A1", "A2")])
        with monkeypatch.context() as patch:
            patch.setattr(messages, "allocate_message", lambda _said: (_ for _ in ()).throw(QueueDown("no broker")))
            some = tasks.allocated_together(came)
        for one in some:
            run(one)
        assert batches == [1, 1]

    def test_repeated_message_is_allocated_again(self, session: Session, batches: list[int]) -> None:
        twice = message(request_for(session, "A1", buyer=uuid.uuid4()))
        tasks.allocated_together(deque([twice, message(request_for(session, "A2", buyer=uuid.uuid4()))]))
        tasks.allocated_together(deque([twice]))
        run(twice)
        assert batches == [2, 1]
        assert Reservation.objects.count() == 2


class TestTeller:
    @pytest.fixture(autouse=True)
    def _a_thread_tells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(announcements, "_teller", None)
        announcements.tell_from_a_thread()

    def test_sends_committed_announcements(self, session: Session) -> None:
        told: list[uuid.UUID] = []
        requests = [request_for(session, seat, buyer=uuid.uuid4()) for seat in ("A1", "A2")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(standings, "upkeep", lambda rows, **_more: told.extend(row.reservation for row in rows))
            for request in requests:
                queued.allocate([request])
            until(lambda: len(told) == 2, what="both being told")
        assert told == [request.id for request in requests]

    def test_goes_on_after_a_failure(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[int] = []

        def upkeep(standings: list[Any], **_more: Any) -> None:
            told.append(len(standings))
            if len(told) == 1:
                raise ValueError("a bug")

        monkeypatch.setattr(standings, "upkeep", upkeep)
        for seat in ("A1", "A2"):
            queued.allocate([request_for(session, seat, buyer=uuid.uuid4())])
        until(lambda: len(told) == 2, what="the second being told")
        assert Reservation.objects.filter(status=Status.HELD).count() == 2
