"""Check `manage.py relay`: each duty, alone and when another one fails."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from django.conf import settings as site
from django.core.management import call_command
from django.db import OperationalError

from realtime import events, relay
from realtime.leadership import Leadership
from realtime.models import Event
from reservations.models import InboxRequest, Reservation, Status
from reservations.queueing import inbox, liveness, queues, watchdog
from reservations.queueing.letters import OutOfReach
from sessions_app.models import Session
from tests import services
from tests.conftest import Hold
from tests.processes import until
from tests.reservations.test_holding import request_for, run_out
from ticketing.management.commands import relay as command
from ticketing.management.commands.relay import Duty
from ticketing.models import Payment, PaymentStatus, Sale
from ticketing.payments import starting, sweeping

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def everything() -> Iterator[kombu.Queue]:
    """Bind a queue that gets every event."""
    with relay.connect(site.CELERY_BROKER_URL) as broker:
        queue = kombu.Queue(f"{site.KEY_PREFIX}.all", relay.exchange(), routing_key="#")(broker.default_channel)
        queue.declare()
        queue.purge()
        yield queue
        queue.delete()


class TestOnce:
    def test_relay_publishes_what_waits(self, everything: kombu.Queue) -> None:
        event = events.record(event="reservation.held", session=None, facts={})

        call_command("relay", "--once")

        assert everything.get(no_ack=True).payload["id"] == str(event.id)

    def test_relay_publishes_more_than_a_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relay, "BATCH", 2)
        monkeypatch.setattr(relay.publish_batch, "__kwdefaults__", {"limit": 2})
        events.record_many([events.NewEvent(event="reservation.held", session=None, facts={})] * 5)

        call_command("relay", "--once")

        assert not Event.objects.filter(published_at__isnull=True).exists()

    def test_active_relay_gives_its_word(self) -> None:
        liveness.forget()
        assert liveness.ages()["relay"] is None

        call_command("relay", "--once")

        assert "relay" not in liveness.silent()

    def test_relay_that_stands_by_gives_no_word(self) -> None:
        liveness.forget()
        active = Leadership()
        assert active.renew()

        call_command("relay", "--once")
        active.give_up()

        assert "relay" in liveness.silent()

    def test_relay_leaves_publishing_to_the_active_relay(self) -> None:
        active = Leadership()
        assert active.renew()
        event = events.record(event="reservation.held", session=None, facts={})

        call_command("relay", "--once")

        assert Event.objects.filter(pk=event.pk, published_at__isnull=True).exists()
        active.give_up()

    def test_relay_allocates_the_inbox(self, session: Session, ana: uuid.UUID) -> None:
        request = request_for(session, "A1", buyer=ana)
        inbox.store([request], shard_for=lambda _request: 0)

        call_command("relay", "--once")

        assert Reservation.objects.get(pk=request.id).status == Status.HELD
        assert not InboxRequest.objects.exists()

    @pytest.mark.rabbitmq
    def test_relay_sweeps_what_rabbitmq_gave_up_into_the_inbox(
        self, session: Session, ana: uuid.UUID, settings: Any
    ) -> None:
        settings.RABBITMQ_URL = services.current().rabbitmq_url
        courier, request = queues.Courier(settings.RABBITMQ_URL), request_for(session, "A1", buyer=ana)
        courier.send("reservations.tasks.settle", queues.given_up(), requests=[request.to_json()])
        courier.close()

        call_command("relay", "--once")
        call_command("relay", "--once")  # it handled the inbox before

        assert Reservation.objects.get(pk=request.id).status == Status.HELD

    def test_relay_leaves_holds_to_beat_for_a_while(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        run_out(held)

        call_command("relay", "--once")

        held.refresh_from_db()
        assert held.status == Status.HELD

    def test_relay_ends_holds_when_beat_is_silent(
        self, session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "BEAT_IS_SILENT", 0)
        held = hold(session, "A1", buyer=ana)
        run_out(held)

        call_command("relay", "--once")

        held.refresh_from_db()
        assert held.status == Status.EXPIRED

    def test_relay_brings_open_payments_to_their_end(
        self, session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        payment = starting.start_payment(reservation_id=held.pk, buyer=ana, method="fake", token="ok")
        monkeypatch.setattr(sweeping, "SWEEP_AFTER", type(sweeping.SWEEP_AFTER)())

        call_command("relay", "--once")

        assert Payment.objects.get(pk=payment.pk).status == PaymentStatus.CAPTURED
        assert Sale.objects.filter(reservation=held).exists()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.msg["event"]  # type: ignore[index] # structlog puts its event here
        for record in caplog.records
        if record.name == command.__name__
    ]


class TestDuty:
    @pytest.mark.parametrize(
        "error", [OperationalError("gone"), relay.NotPublished("gone"), OutOfReach("gone"), LookupError("a bug")]
    )
    def test_a_failure_ends_nothing(self, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
        errors = [error, error]

        def do() -> bool:
            if errors:
                raise errors.pop()
            return True

        duty = Duty("publish", do, every=0)

        assert [duty.perform() for _round in range(3)] == [False, False, True]
        assert logged(caplog)[0] in {"relay.failing", "relay.failed"}
        assert logged(caplog)[-1] == "relay.recovered"

    def test_an_outage_is_logged_when_it_begins(self, caplog: pytest.LogCaptureFixture) -> None:
        def do() -> bool:
            raise relay.NotPublished

        duty = Duty("publish", do, every=0)
        for _round in range(3):
            duty.perform()

        assert logged(caplog) == ["relay.failing"]

    def test_hanging_duty_stops_no_other(self) -> None:
        stop, hangs = threading.Event(), threading.Event()
        rounds: list[float] = []

        def count() -> bool:
            rounds.append(time.monotonic())
            return False

        slow = Duty("slow", lambda: hangs.wait(10), every=0)
        quick = Duty("quick", count, every=0.001)
        threads = [threading.Thread(target=duty.perform_until, args=[stop]) for duty in (slow, quick)]
        for thread in threads:
            thread.start()

        until(lambda: len(rounds) > 3, what="the quick one's rounds")
        stop.set()
        hangs.set()
        for thread in threads:
            thread.join()


class TestLookAfter:
    @pytest.fixture
    def ended(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        ended: list[str] = []
        monkeypatch.setattr(watchdog, "end_hanging", lambda *, seconds, what: ended.append(what))
        return ended

    def test_watch_leaves_a_relay_alone_whose_duties_have_their_rounds(self, ended: list[str]) -> None:
        duty = Duty("publish", lambda: False, every=0)
        command.look_after([duty], [threading.current_thread()])
        assert ended == []

    def test_watch_ends_a_relay_with_a_duty_that_hangs(self, ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "LONGEST_ROUND", 0.05)
        hangs = threading.Event()
        duty = Duty("inbox", lambda: hangs.wait(10), every=0)
        thread = threading.Thread(target=duty.perform)
        thread.start()

        def look() -> bool:
            command.look_after([duty], [thread])
            return bool(ended)

        until(look, seconds=10, what="its end")
        hangs.set()
        thread.join()
        assert ended[0] == "inbox"

    def test_watch_ends_a_relay_with_a_duty_whose_thread_is_gone(self, ended: list[str]) -> None:
        command.look_after([Duty("expire", lambda: False, every=0)], [threading.Thread()])
        assert ended == ["expire"]
