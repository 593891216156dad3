"""Notice queues that no worker drains."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import kombu
import pytest
from django.conf import LazySettings, settings
from prometheus_client import REGISTRY

from realtime import relay
from reservations.queueing import liveness, queue_watch
from reservations.queueing.letters import OutOfReach
from reservations.queueing.queue_watch import Count, QueueWatch, is_consumed
from reservations.queueing.queues import jobs_queue
from tests import services
from tests.processes import until


class TestIsConsumed:
    @pytest.mark.parametrize(
        ("consumers", "age", "known", "consumed"),
        [
            (1, 0.5, True, True),
            (0, 0.5, True, False),  # its worker lost it and doesn't know yet
            (1, 5.0, True, False),  # its worker is held up
            (1, None, True, False),
            (1, None, False, True),  # Redis is away: the broker alone decides
            (0, None, False, False),
            (None, 0.5, True, True),  # a broker that can't tell
            (None, None, True, False),
        ],
    )
    def test_needs_a_consumer_and_a_report(
        self, consumers: int | None, age: float | None, known: bool, consumed: bool
    ) -> None:
        assert is_consumed(Count(3, consumers), age=age, known=known) is consumed


class TestLook:
    @pytest.fixture
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Count]:
        counted = {"payments": Count(7, 0)}
        monkeypatch.setattr(queue_watch, "count", lambda _connection: counted)
        return counted

    def undrained(self) -> float | None:
        return REGISTRY.get_sample_value("frontrow_queue_undrained", {"queue": "payments"})

    def test_logs_a_queue_without_a_consumer_and_when_it_is_drained_again(
        self, counted: dict[str, Count], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(queue_watch, "PATIENCE", 0.0)
        watch = QueueWatch()
        watch.look()
        watch.look()
        assert self.undrained() == 1
        assert [record.levelname for record in caplog.records if "queue.undrained" in record.getMessage()] == ["ERROR"]
        counted["payments"] = Count(7, 1)
        liveness.consumes(["payments"])
        watch.look()
        assert self.undrained() == 0
        assert "queue.drained_again" in caplog.text

    def test_waits_while_a_worker_reconnects(self, counted: dict[str, Count]) -> None:
        watch = QueueWatch()
        watch.look()
        assert self.undrained() == 0
        assert counted


def counts() -> Mapping[str, Count]:
    with relay.connect(settings.CELERY_BROKER_URL) as connection:
        return queue_watch.count(connection)


class TestCount:
    @pytest.fixture
    def rabbitmq(self, settings: LazySettings) -> Iterator[Any]:
        settings.KEY_PREFIX = f"test-{uuid.uuid4().hex[:8]}"
        settings.CELERY_BROKER_URL = services.current().rabbitmq_url
        with kombu.Connection(settings.CELERY_BROKER_URL) as connection:
            queue = jobs_queue("payments")(connection.default_channel)
            queue.declare()
            yield queue
            queue.delete()

    @pytest.mark.rabbitmq
    def test_comes_from_rabbitmq_without_making_queues(self, rabbitmq: Any) -> None:
        kombu.Producer(rabbitmq.channel).publish({}, routing_key=rabbitmq.name)
        until(lambda: counts()["payments"].messages == 1, seconds=10, what="the message")
        consumer = kombu.Consumer(rabbitmq.channel, [rabbitmq], callbacks=[lambda *_message: None])
        assert counts()["payments"].consumers == 0
        consumer.consume()
        assert counts()["payments"].consumers == 1
        assert counts()["mail"] == Count(0, 0)
        consumer.cancel()

    def test_has_no_consumers_with_another_broker(self) -> None:
        assert set(counts()) == {*liveness.queues(), "events.mail"}
        assert {found.consumers for found in counts().values()} == {None}

    def test_fails_without_a_broker(self, settings: LazySettings) -> None:
        settings.CELERY_BROKER_URL = "amqp://guest:guest@127.0.0.1:1//"
        with pytest.raises(OutOfReach):
            QueueWatch().look()
        with pytest.raises(OutOfReach):
            queue_watch.undrained()
