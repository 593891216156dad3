"""Check workers that wait in a blocking read."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import kombu
import pytest
from celery.bootsteps import CLOSE, RUN
from celery.exceptions import WorkerShutdown
from celery.worker import state
from django.test import override_settings
from kombu.message import Message

from config.celery import app
from config.management.commands import worker
from config.run.blocking_worker import BlockingConsumer, BlockingWorker, ConsumerGone, blocking_loop, is_heard
from tests.processes import Processes, fresh_database, until


class TestQueues:
    @override_settings(SHARDS=3)
    def test_queues_are_those_of_all_shards(self) -> None:
        assert worker.holds("") == ["holds.0", "holds.1", "holds.2"]

    @override_settings(SHARDS=3)
    def test_queues_are_those_of_some_shards_when_asked(self) -> None:
        assert worker.holds("0,2") == ["holds.0", "holds.2"]


class TestBlockingWorker:
    def test_blocking_worker_uses_no_event_loop_and_keeps_heartbeats(self) -> None:
        with mock.patch("celery.apps.worker.check_privileges"):
            made = BlockingWorker(app=app, pool_cls="solo", concurrency=1, queues=["holds.0"], quiet=True)
        assert not made.use_eventloop
        assert made.consumer_cls.__name__ == "BlockingConsumer"


class ConnectionLost:
    """Simulate a read in which py-amqp notices a closed socket, as a failed ack does."""


class ChannelLost:
    """Simulate a read in which the channel is closed."""


class Reads:
    """Simulate a connection with given reads: nothing, messages that come together, or an error.

    After the last one its consumer closes.
    """

    supports_heartbeats = True
    last_heartbeat_received = 0

    def __init__(self, reads: list[Any], blueprint: SimpleNamespace, log: list[str]) -> None:
        self.transport = self.connection = self
        self.connected = True
        self.reads, self.blueprint, self.log = deque(reads), blueprint, log
        self.waiting: deque[Any] = deque()  # messages that have also arrived
        self.come: Any = None

    def verify_connection(self, connection: Any) -> bool:
        return connection is self and self.connected

    def drain_events(self, connection: Any, timeout: float) -> None:
        assert connection is self
        assert timeout <= 0.5
        if timeout == 0:
            if not self.waiting:
                raise TimeoutError
            self.come(self.waiting.popleft())
            return
        self.log.append("read")
        if len(self.reads) == 1:
            self.blueprint.state = CLOSE
        outcome = self.reads.popleft()
        if isinstance(outcome, ConnectionLost):
            self.connected = False
            return
        if isinstance(outcome, ChannelLost):
            self.connection = None
            return
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            self.waiting.extend(outcome[1:])
            self.come(outcome[0])

    def heartbeat_check(self, _connection: Any, rate: float) -> None:
        self.log.append("heartbeat")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def nobody_stops_us() -> Iterator[None]:
    yield
    state.should_stop = None


def loop(reads: list[Any], log: list[str], *, heartbeat: float = 5) -> None:
    blueprint = SimpleNamespace(state=RUN)
    connection = Reads(reads, blueprint, log)
    consumer = mock.Mock(connection=connection)
    consumer.finish.side_effect = lambda: log.append("acks")
    consumer.create_task_handler.return_value = lambda message: log.append(message.headers["id"])
    tasks = mock.Mock(channel=connection, queues=[])
    tasks.consume.side_effect = lambda: setattr(connection, "come", tasks.on_message)
    qos = SimpleNamespace(prev=1, value=1)
    blocking_loop(consumer, connection, tasks, blueprint, None, qos, heartbeat, None)


class TestLoop:
    def test_loop_acknowledges_what_is_done_before_it_waits_again(self, log: list[str]) -> None:
        loop([None, None], log)
        assert log == ["acks", "read", "heartbeat", "acks", "read", "heartbeat"]

    def test_loop_takes_all_that_has_come_and_hands_it_out_in_order(self, log: list[str]) -> None:
        first, second, third = (SimpleNamespace(headers={"task": "mail", "id": name}) for name in "abc")
        loop([[first, second], [third]], log)
        assert log == ["acks", "read", "a", "acks", "b", "acks", "heartbeat", "acks", "read", "c", "acks", "heartbeat"]

    def test_loop_goes_on_when_nothing_came(self, log: list[str]) -> None:
        loop([TimeoutError(), TimeoutError(), None], log)
        assert log.count("read") == 3

    def test_loop_ends_when_its_connection_is_gone_instead_of_reading_from_another(self, log: list[str]) -> None:
        with pytest.raises(ConsumerGone):
            loop([ConnectionLost(), None], log)
        assert log.count("read") == 1

    def test_loop_ends_when_its_channel_is_closed(self, log: list[str]) -> None:
        with pytest.raises(ConsumerGone):
            loop([ChannelLost(), None], log)

    def test_loop_tells_of_a_broken_connection(self, log: list[str]) -> None:
        with pytest.raises(ConnectionResetError):
            loop([ConnectionResetError(), None], log)

    def test_loop_acknowledges_before_it_stops(self, log: list[str]) -> None:
        state.should_stop = 0
        with pytest.raises(WorkerShutdown):
            loop([None], log)
        assert log == ["acks"]

    def test_loop_sends_no_heartbeat_where_none_was_agreed(self, log: list[str]) -> None:
        loop([None], log, heartbeat=0)
        assert "heartbeat" not in log


class TestConsumer:
    @pytest.fixture
    def consumer(self) -> BlockingConsumer:
        consumer = BlockingConsumer(
            lambda _request: None, app=app, pool=mock.Mock(is_green=False, num_processes=1), controller=mock.Mock()
        )
        consumer.task_consumer = mock.Mock()
        return consumer

    def message(self, consumer: BlockingConsumer, **more: Any) -> Message:
        return Message(channel=consumer.task_consumer.channel, delivery_tag="1", **more)

    def test_consumer_acknowledges_in_the_loop_and_not_in_the_thread_of_the_task(
        self, consumer: BlockingConsumer
    ) -> None:
        message = self.message(consumer)
        consumer.call_soon_ack(message.ack_log_error, mock.Mock(), consumer.connection_errors)
        assert not message.acknowledged
        consumer.finish()
        assert message.acknowledged

    def test_consumer_raises_the_error_of_an_ack_where_celery_only_logs_it(self, consumer: BlockingConsumer) -> None:
        message = self.message(consumer)
        message.channel.basic_ack.side_effect = ConnectionResetError
        consumer.call_soon_ack(message.ack_log_error, mock.Mock(), consumer.connection_errors)
        with pytest.raises(ConnectionResetError):
            consumer.finish()

    def test_consumer_raises_the_error_of_a_reject(self, consumer: BlockingConsumer) -> None:
        message = self.message(consumer)
        message.channel.basic_reject.side_effect = BrokenPipeError
        consumer.call_soon_ack(message.reject_log_error, mock.Mock(), consumer.connection_errors, True)
        with pytest.raises(BrokenPipeError):
            consumer.finish()
        message.channel.basic_reject.assert_called_once_with("1", requeue=True)

    def test_consumer_acknowledges_nothing_of_an_earlier_connection(self, consumer: BlockingConsumer) -> None:
        message = Message(channel=mock.Mock(), delivery_tag="1")
        consumer.call_soon_ack(message.ack_log_error, mock.Mock(), consumer.connection_errors)
        consumer.finish()
        message.channel.basic_ack.assert_not_called()

    def test_consumer_drops_a_connection_that_cannot_be_closed_twice(
        self, consumer: BlockingConsumer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        consumer.connection = kombu.Connection("memory://")
        monkeypatch.setattr(consumer.connection, "close", mock.Mock(side_effect=AttributeError))  # kombu 5.7 with Redis
        consumer.on_connection_error_after_connected(ConnectionResetError())
        assert consumer.connection is None

    def test_consumer_takes_no_work_while_every_thread_is_held_up(self, consumer: BlockingConsumer) -> None:
        consumer.pool = SimpleNamespace(seconds_exhausted=lambda: 4.0)
        assert consumer.takes_work()
        consumer.pool = SimpleNamespace(seconds_exhausted=lambda: 6.0)
        assert not consumer.takes_work()

    def test_consumer_gives_up_when_the_broker_answers_and_nothing_is_consumed_all_the_same(
        self, consumer: BlockingConsumer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = mock.Mock()
        assert consumer.ensure_connected(broker) is broker
        monkeypatch.setattr("config.run.blocking_worker.REJOIN_WITHIN", 0.0)
        with pytest.raises(WorkerShutdown) as ended:
            consumer.ensure_connected(broker)
        assert ended.value.code == 75

    def test_consumer_waits_for_a_broker_that_is_away_as_long_as_it_takes(
        self, consumer: BlockingConsumer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("config.run.blocking_worker.REJOIN_WITHIN", 0.0)
        broker = mock.Mock()
        broker.ensure_connection.side_effect = lambda note, **_pauses: note(ConnectionRefusedError(), 1.0)
        for _outage in range(3):
            consumer.ensure_connected(broker)


class TestHeard:
    def test_broker_that_said_nothing_for_a_heartbeat_is_not_heard(self) -> None:
        now = time.monotonic()
        assert is_heard(SimpleNamespace(last_heartbeat_received=now - 5), 5)
        assert not is_heard(SimpleNamespace(last_heartbeat_received=now - 7), 5)

    def test_broker_without_heartbeats_counts_as_heard(self) -> None:
        assert is_heard(SimpleNamespace(), 5)
        assert is_heard(SimpleNamespace(last_heartbeat_received=1.0), 0)


@pytest.mark.fault
@pytest.mark.parametrize("kind", [[], ["--payments"], ["--jobs"]], ids=str)
def test_a_worker_stops_by_itself_soon_after_it_was_asked(tmp_path: Path, kind: list[str]) -> None:
    with fresh_database() as database, Processes(folder=tmp_path, DATABASE_URL=database) as site:
        process = site.worker(*kind)
        until(lambda: "ready." in process.last_words(), seconds=30, what="its being ready")
        process.popen.terminate()
        assert process.popen.wait(5) == 0
