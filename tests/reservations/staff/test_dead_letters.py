"""Requests that can't be allocated are found, kept for a person, put back and ended, by RabbitMQ or the inbox."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from typing import Any

import kombu
import msgspec
import pytest
from celery.exceptions import Reject
from django.core.management import CommandError, call_command
from django.db import OperationalError
from prometheus_client import REGISTRY

from realtime import relay, wire
from realtime.models import Event
from reservations import tasks
from reservations.allocation import batch
from reservations.claims import claims, keys
from reservations.hold_request import HoldRequest
from reservations.models import CancelMark, InboxRequest, Reservation, Status
from reservations.operations import messages, queued
from reservations.queueing import inbox, letters, queues
from reservations.queueing.queues import QueueDown
from reservations.staff import dead_letters
from sessions_app.models import Seat, Session, TicketType
from tests import services
from tests.processes import free_port, until
from tests.reservations.test_holding import request_for
from tests.support.terminal import answer

QUEUE = {"inbox": "inbox", "rabbitmq": "holds"}  # by the queue

pytestmark = pytest.mark.django_db(transaction=True)


class RabbitMQ:
    """A real RabbitMQ, with the queue and the queues behind it, empty."""

    def __init__(self, url: str) -> None:
        self.connection = relay.connect(url)
        channel = self.connection.default_channel
        self.line, self.dead, self.given_up = (
            queue(channel) for queue in (queues.holds_queue(0), queues.dead_letters(), queues.given_up())
        )
        for queue in self.queues:
            queue.declare()
            queue.purge()

    @property
    def queues(self) -> list[kombu.Queue]:
        return [self.line, self.dead, self.given_up]

    def letters(self) -> list[kombu.Message]:
        """Take out and return the dead letters."""
        taken = []
        while message := self.dead.get(no_ack=True):
            taken.append(message)
        return taken

    def lie_in(self, queue: kombu.Queue) -> int:
        counted: int = queue.queue_declare(passive=True).message_count
        return counted

    def give_up(self, *requests: HoldRequest, task: str = messages.TASK, **arguments: Any) -> None:
        """Let RabbitMQ give the messages up, as when a worker dies with one again and again."""
        before = self.lie_in(self.given_up)
        said = arguments or {"requests": [request.to_json() for request in requests]}
        queues.courier().send(task, queues.holds_queue(0), **said)
        with kombu.Consumer(
            self.connection.channel(), [self.line], on_message=kombu.Message.requeue, auto_declare=False
        ):
            until(lambda: self.lies_given_up(before + 1), what="RabbitMQ giving it up")

    def lies_given_up(self, number: int) -> bool:
        with suppress(TimeoutError):
            self.connection.drain_events(timeout=0.1)
        return self.lie_in(self.given_up) == number

    def close(self) -> None:
        for queue in self.queues:
            queue.delete()
        self.connection.release()


@pytest.fixture
def rabbitmq(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RabbitMQ]:
    settings.RABBITMQ_URL = services.current().rabbitmq_url
    courier = queues.Courier(settings.RABBITMQ_URL)
    monkeypatch.setattr(queues, "courier", lambda: courier)
    rabbitmq = RabbitMQ(settings.RABBITMQ_URL)
    yield rabbitmq
    rabbitmq.close()
    courier.close()


@pytest.fixture
def no_rabbitmq(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure RabbitMQ, and let it be away."""
    settings.RABBITMQ_URL = f"amqp://127.0.0.1:{free_port()}//"
    courier = queues.Courier(settings.RABBITMQ_URL)
    monkeypatch.setattr(queues, "courier", lambda: courier)


@pytest.fixture(params=["inbox", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def road(request: pytest.FixtureRequest) -> str:
    """Return the queue in which the poison lies that `fail` makes."""
    if request.param == "rabbitmq":
        request.getfixturevalue("rabbitmq")
    return str(request.param)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect the messages that buyers get, with the buyers."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(wire, "send_personal", lambda buyer, message: messages.append({"buyer": buyer, **message}))
    return messages


def poison_for(session: Session, *, buyer: uuid.UUID, **more: Any) -> HoldRequest:
    """Return a request that breaks a constraint of the table."""
    return request_for(session, buyer=buyer, quantity=-5, **more)


def stand_in_the_inbox(*requests: HoldRequest) -> None:
    inbox.store(requests, shard_for=lambda _request: 0)


def fail(road: str, *requests: HoldRequest) -> None:
    """Allocate the requests, as far as that goes."""
    if road == "rabbitmq":
        tasks.allocate(requests=[request.to_json() for request in requests])
    else:
        stand_in_the_inbox(*requests)
        queued.drain_inbox(shard=0)


def waiting() -> list[letters.DeadLetter]:
    with dead_letters.pile() as pile:
        assert not pile.missing
        return pile.letters


def command(*words: str) -> str:
    out = StringIO()
    call_command("dead_letters", *words, stdout=out)
    return out.getvalue()


@pytest.mark.rabbitmq
class TestAllocation:
    def test_writes_a_letter_for_each_poison_and_allocates_its_neighbours(
        self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        good = [request_for(session, f"A{n}", buyer=ana, arrival=n) for n in (1, 2, 3)]
        poison = [poison_for(session, buyer=bruno, arrival=n) for n in (4, 5)]
        said = [request.to_json() for request in (good[0], poison[0], *good[1:], poison[1])]
        tasks.allocate(requests=[*said, {"id": "nobody's"}])

        assert set(Reservation.objects.values_list("pk", flat=True)) == {request.id for request in good}
        found = rabbitmq.letters()
        assert [letter.payload[1]["requests"] for letter in found] == [
            [poison[0].to_json()],
            [poison[1].to_json()],
            [{"id": "nobody's"}],
        ]
        assert "reservation_asks_for_something" in found[0].headers[letters.REASON]
        assert found[0].headers[letters.TRIES] == queued.ATTEMPTS
        assert found[0].headers[letters.SINCE]
        assert found[0].properties["delivery_mode"] == 2
        assert "cannot be read" in found[2].headers[letters.REASON]

    def test_writes_no_letter_without_poison(self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID) -> None:
        tasks.allocate(requests=[request_for(session, "A1", buyer=ana).to_json()])
        assert rabbitmq.letters() == []


class TestMissingRabbitMQ:
    @pytest.mark.usefixtures("no_rabbitmq")
    def test_lets_a_poison_message_come_again_without_a_letter(
        self, session: Session, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        good, poison = request_for(session, "A1", buyer=ana), poison_for(session, buyer=bruno, arrival=2)
        with pytest.raises(Reject) as rejected:
            tasks.allocate(requests=[poison.to_json(), good.to_json()])
        assert rejected.value.requeue is True
        assert Reservation.objects.get().pk == good.id

    def test_leaves_the_message_of_a_failed_task_to_the_sweep(self) -> None:
        assert tasks.allocate.acks_late
        assert not tasks.allocate.acks_on_failure

    @pytest.mark.usefixtures("no_rabbitmq")
    def test_leaves_the_inbox_to_list_and_names_the_rest(self, session: Session, ana: uuid.UUID) -> None:
        poison = poison_for(session, buyer=ana)
        fail("inbox", poison)
        out = StringIO()
        with pytest.raises(CommandError, match="The broker cannot be reached"):
            call_command("dead_letters", "list", stdout=out)
        assert str(poison.id) in out.getvalue()

    @pytest.mark.usefixtures("no_rabbitmq")
    def test_leaves_letters_of_the_inbox_usable(self, session: Session, ana: uuid.UUID) -> None:
        poison = poison_for(session, buyer=ana)
        fail("inbox", poison)
        command("discard", str(poison.id), "--yes")
        assert Reservation.objects.get().reason == "failed"


class TestList:
    def test_names_failed_requests_and_reasons(
        self, road: str, session: Session, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        poison = poison_for(session, buyer=ana, arrival=2)
        fail(road, request_for(session, "A1", buyer=bruno), poison)
        waiting()  # looking takes nothing away
        (letter,) = waiting()
        assert (letter.name, letter.queue, letter.request) == (str(poison.id), QUEUE[road], poison)
        assert letter.tries >= queued.ATTEMPTS
        listed = command("list")
        assert f"{poison.id}  {QUEUE[road]:12}  {letter.tries} tries" in listed
        assert "reservation_asks_for_something" in listed
        assert "1 dead letters." in listed

    def test_is_empty_without_failures(self, road: str, session: Session, ana: uuid.UUID) -> None:
        fail(road, request_for(session, "A1", buyer=ana))
        assert command("list") == "0 dead letters.\n"

    @pytest.mark.rabbitmq
    def test_is_bounded_and_counts_the_rest(
        self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letters, "MOST", 2)
        fail("rabbitmq", *(poison_for(session, buyer=ana, arrival=n) for n in (1, 2, 3)))
        with pytest.raises(CommandError, match="1 more"):
            command("list")
        until(lambda: rabbitmq.lie_in(rabbitmq.dead) == 3, what="all being back")

    def test_shows_all_facts_of_one_letter(self, road: str, session: Session, ana: uuid.UUID) -> None:
        poison = poison_for(session, buyer=ana)
        fail(road, poison)
        shown = json.loads(command("show", str(poison.id)))
        assert shown["request"] == poison.to_json()
        assert shown["queue"] == QUEUE[road]

    def test_refuses_an_unknown_id(self, road: str) -> None:
        with pytest.raises(CommandError, match="There is no dead letter with the name"):
            command("show", str(uuid.uuid4()))


class TestRetry:
    def test_puts_a_request_back_into_the_queue_where_it_is_allocated(
        self, road: str, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = request_for(session, "A1", buyer=ana)
        with monkeypatch.context() as broken:
            broken.setattr(queued, "FIRST_PAUSE", 0)
            broken.setattr(batch, "allocate_batch", lambda _requests, **_where: 1 / 0)
            fail(road, request)
        assert "back in the queue" in command("retry", str(request.id))
        assert waiting() == []
        queued.drain_inbox(shard=0)
        assert Reservation.objects.get(pk=request.id).status == Status.HELD
        assert not InboxRequest.objects.exists()

    def test_lets_a_request_fail_again_but_not_for_ever(self, road: str, session: Session, ana: uuid.UUID) -> None:
        poison = poison_for(session, buyer=ana)
        fail(road, poison)
        command("retry", "--all")
        queued.drain_inbox(shard=0)
        (letter,) = waiting()
        assert (letter.name, letter.queue) == (str(poison.id), "inbox")
        assert queued.drain_inbox(shard=0) == 0

    def test_takes_all_letters_however_many(
        self, road: str, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letters, "MOST", 2)
        poison = [poison_for(session, buyer=ana, arrival=n) for n in range(1, 6)]
        fail(road, *poison)
        command("retry", "--all")
        assert waiting() == []
        assert InboxRequest.objects.filter(attempts=0).count() == 5

    def test_changes_nothing_for_a_request_allocated_meanwhile(
        self, road: str, session: Session, ana: uuid.UUID
    ) -> None:
        poison = poison_for(session, buyer=ana)
        fail(road, poison)
        queued.refuse(poison, reason="failed")
        told = Event.objects.count()
        if road == "rabbitmq":
            command("retry", str(poison.id))
            queued.drain_inbox(shard=0)
        assert waiting() == []
        assert Event.objects.count() == told
        assert not InboxRequest.objects.exists()

    def test_requires_ids_or_all(self) -> None:
        for words in ((), ("--all", str(uuid.uuid4()))):
            with pytest.raises(CommandError, match="Name some dead letters, or give --all"):
                command("retry", *words)


class TestDiscard:
    def test_rejects_the_request_and_tells_its_buyer(
        self, road: str, session: Session, ana: uuid.UUID, told: list[dict[str, Any]]
    ) -> None:
        poison = poison_for(session, buyer=ana)
        fail(road, poison)
        assert f"{poison.id}  rejected failed" in command("discard", str(poison.id), "--yes")
        row = Reservation.objects.get(pk=poison.id)
        assert (row.status, row.reason, row.buyer, row.session_id) == (Status.REJECTED, "failed", ana, session.pk)
        assert [(message["buyer"], message["status"], message["reason"]) for message in told] == [
            (ana, "rejected", "failed")
        ]
        assert Event.objects.get(name="reservation.rejected").facts["reservation"] == str(poison.id)
        assert waiting() == []
        assert not InboxRequest.objects.exists()

    def test_stores_the_storable_parts_and_gives_claims_back(
        self, road: str, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = request_for(session, "A1", buyer=ana, arrival=7)
        claims.client().set(keys.claim_key(session.pk, "A1"), str(request.id))
        with monkeypatch.context() as broken:
            broken.setattr(queued, "FIRST_PAUSE", 0)
            broken.setattr(batch, "allocate_batch", lambda _requests, **_where: 1 / 0)
            fail(road, request)
        command("discard", "--all", "--yes")
        row = Reservation.objects.get(pk=request.id)
        assert (row.seats, row.arrival, row.quantity) == (["A1"], 7, 1)
        assert claims.client().get(keys.claim_key(session.pk, "A1")) is None

    def test_obeys_a_buyer_who_gave_the_request_up(self, road: str, session: Session, ana: uuid.UUID) -> None:
        poison = poison_for(session, buyer=ana)
        fail(road, poison)
        CancelMark.objects.create(pk=poison.id, buyer=ana)
        command("discard", str(poison.id), "--yes")
        assert Reservation.objects.get().status == Status.CANCELLED
        assert not CancelMark.objects.exists()

    def test_leaves_a_request_allocated_meanwhile(
        self, road: str, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = request_for(session, "A1", buyer=ana)
        with monkeypatch.context() as broken:
            broken.setattr(queued, "FIRST_PAUSE", 0)
            broken.setattr(batch, "allocate_batch", lambda _requests, **_where: 1 / 0)
            fail(road, request)
        with dead_letters.pile() as pile:
            queued.allocate([request])
            ended = dead_letters.discard(pile.letters[0])
        assert ended
        assert ended.status == Status.HELD
        assert claims.client().get(keys.claim_key(session.pk, "A1")) == str(request.id)

    def test_tells_the_buyer_though_the_session_is_gone(
        self, road: str, session: Session, ana: uuid.UUID, told: list[dict[str, Any]]
    ) -> None:
        request = request_for(session, "A1", buyer=ana)
        for rows in (Seat, TicketType, Session):
            rows.objects.all().delete()
        fail(road, request)
        assert "discarded; it said:" in command("discard", str(request.id), "--yes")
        assert [(message["buyer"], message["status"]) for message in told] == [(ana, "rejected")]
        assert waiting() == []

    def test_prints_an_unreadable_letter(self, road: str, session: Session, ana: uuid.UUID) -> None:
        unreadable = {"id": str(uuid.uuid4()), "session": "none"}
        if road == "rabbitmq":
            tasks.allocate(requests=[unreadable])
        else:
            InboxRequest.objects.create(pk=unreadable["id"], shard=0, arrival=1, buyer=ana, request=unreadable)
            queued.drain_inbox(shard=0)
        (letter,) = waiting()
        with pytest.raises(CommandError, match="Discard them"):
            command("retry", "--all")
        assert json.dumps(unreadable) in command("discard", letter.name, "--yes")
        assert waiting() == []

    def test_asks_first_also_about_all_letters(
        self, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail("inbox", *(poison_for(session, buyer=ana, arrival=n) for n in (1, 2)))
        answer(monkeypatch, "no")
        with pytest.raises(CommandError, match="Nothing was done"):
            command("discard", "--all")
        assert not Reservation.objects.exists()
        answer(monkeypatch, "yes")
        assert "2 buyers whose requests are rejected" in command("discard", "--all")
        assert Reservation.objects.filter(reason="failed").count() == 2


@pytest.mark.rabbitmq
class TestSweep:
    def test_puts_innocent_neighbours_into_the_inbox_where_they_are_allocated(
        self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        good = [request_for(session, f"A{n}", buyer=ana, arrival=n) for n in (1, 2)]
        poison = poison_for(session, buyer=bruno, arrival=3)
        rabbitmq.give_up(*good, poison)

        assert dead_letters.sweep() == 1
        rows = InboxRequest.objects.order_by("arrival")
        assert [(row.pk, row.attempts) for row in rows] == [(request.id, 0) for request in (*good, poison)]
        assert "delivery_limit" in rows[0].error
        assert dead_letters.sweep() == 0

        queued.drain_inbox(shard=0)
        assert set(Reservation.objects.values_list("pk", flat=True)) == {request.id for request in good}
        assert [letter.name for letter in waiting()] == [str(poison.id)]

    def test_tries_a_request_that_takes_its_process_down_five_times_and_its_neighbours_once(
        self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deadly, good = (request_for(session, f"A{n}", buyer=ana, arrival=n) for n in (1, 2))
        rabbitmq.give_up(deadly, good)
        dead_letters.sweep()
        allocate_batch, tried = batch.allocate_batch, []

        def die(requests: list[HoldRequest], **where: Any) -> Any:
            tried.append([request.id for request in requests])
            if deadly in requests:
                raise SystemExit
            return allocate_batch(requests, **where)

        monkeypatch.setattr(batch, "allocate_batch", die)
        for _life in range(5):
            with pytest.raises(SystemExit):
                queued.drain_inbox(shard=0)
        queued.drain_inbox(shard=0)
        assert tried == [[deadly.id]] * 5 + [[good.id]]
        assert [letter.name for letter in waiting()] == [str(deadly.id)]

    def test_leaves_letters_to_a_person(self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID) -> None:
        fail("rabbitmq", poison_for(session, buyer=ana))
        assert dead_letters.sweep() == 0
        assert rabbitmq.lie_in(rabbitmq.dead) == 1

    def test_leaves_poison_poison(self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID) -> None:
        poison = poison_for(session, buyer=ana)
        fail("inbox", poison)
        rabbitmq.give_up(poison)
        assert dead_letters.sweep() == 1
        assert queued.drain_inbox(shard=0) == 0
        assert InboxRequest.objects.get().attempts >= inbox.MAX_ATTEMPTS

    def test_forgets_doorbells(self, rabbitmq: RabbitMQ) -> None:
        rabbitmq.give_up(task=dead_letters.DRAIN, shard=0)
        assert dead_letters.sweep() == 1
        assert not InboxRequest.objects.exists()
        assert waiting() == []

    def test_makes_letters_of_requests_that_it_cannot_read_or_store(
        self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID
    ) -> None:
        good = request_for(session, "A1", buyer=ana)
        unstorable = [
            request_for(session, "A\0", buyer=ana, arrival=2),
            msgspec.structs.replace(request_for(session, "A3", buyer=ana), arrival=2**64),
        ]
        rabbitmq.give_up(good, *unstorable)
        rabbitmq.give_up(task="somebody.elses", words="\ud800")
        assert dead_letters.sweep() == 2
        assert InboxRequest.objects.get().pk == good.id
        assert [letter.request for letter in waiting()] == [*unstorable, None]
        with pytest.raises(CommandError, match="3 dead letters cannot be tried again"):
            command("retry", "--all")
        command("discard", "--all", "--yes")
        told = Reservation.objects.filter(pk__in=[request.id for request in unstorable])
        assert [row.status for row in told] == [Status.REJECTED] * 2

    def test_loses_nothing_while_postgresql_is_away(
        self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rabbitmq.give_up(request_for(session, "A1", buyer=ana))
        with monkeypatch.context() as away:
            away.setattr(
                InboxRequest.objects, "bulk_create", lambda *_rows, **_how: (_ for _ in ()).throw(OperationalError)
            )
            for _round in range(queues.DELIVERY_LIMIT + 5):
                with pytest.raises(OperationalError):
                    dead_letters.sweep()
        until(lambda: dead_letters.sweep() == 1, what="it being swept after all")
        assert InboxRequest.objects.count() == 1

    def test_tries_suspects_alone_and_does_not_count_an_outage(
        self, rabbitmq: RabbitMQ, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rabbitmq.give_up(request_for(session, "A1", buyer=ana))
        dead_letters.sweep()
        with monkeypatch.context() as away:
            away.setattr(queued, "FIRST_PAUSE", 0)
            away.setattr(batch, "allocate_batch", lambda _requests, **_where: (_ for _ in ()).throw(OperationalError))
            for _round in range(inbox.MAX_ATTEMPTS + 1):
                with pytest.raises(OperationalError):
                    queued.drain_inbox(shard=0)
        queued.drain_inbox(shard=0)
        assert Reservation.objects.get().status == Status.HELD


class TestCount:
    def test_is_shown_as_a_metric(self, road: str, session: Session, ana: uuid.UUID) -> None:
        fail(road, poison_for(session, buyer=ana))
        dead_letters.count_waiting()
        assert REGISTRY.get_sample_value("frontrow_dead_letters_waiting", {"queue": QUEUE[road]}) == 1

    @pytest.mark.usefixtures("no_rabbitmq")
    def test_fails_clearly_when_rabbitmq_is_away(self) -> None:
        with pytest.raises(letters.OutOfReach):
            dead_letters.count_waiting()
        with pytest.raises(letters.OutOfReach):
            dead_letters.sweep()
        with pytest.raises(QueueDown):
            messages.allocate_message([{}])
