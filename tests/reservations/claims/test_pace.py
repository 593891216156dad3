"""A session is allocated at a rate: the rest waits in order, and no buyer has to ask again."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from functools import partial

import pytest
from django.db import IntegrityError
from django.utils import timezone
from prometheus_client import REGISTRY

from base.clock import db_now
from reservations.admission.entries import Entry
from reservations.admission.front_door import FrontDoor
from reservations.claims import claims, keys, pace
from reservations.claims.claims import Applicant, Limit, NoClaims
from reservations.hold_request import HoldRequest
from reservations.models import InboxRequest, Reservation, Status
from reservations.operations import holding, messages, queued
from reservations.queueing import inbox
from reservations.queueing.queues import InProcessQueue
from reservations.refusals import Crowded
from sessions_app.models import Session
from tests.api import assert_problem, client_of, post
from tests.conftest import Hold
from tests.factories import SessionFactory
from tests.processes import until
from tests.race.racing import race
from tests.reservations.staff.test_dead_letters import poison_for
from tests.reservations.test_holding import request_for

pytestmark = pytest.mark.django_db(transaction=True)


def allocate_at(rate: int | None, session: Session) -> None:
    Session.objects.filter(pk=session.pk).update(settle_rate=rate)


def let_pass(session: Session, *, seconds: float) -> None:
    """Turn the clock of the rate on, as if this much time had passed since the last allocation."""
    row = Session.objects.get(pk=session.pk)
    if row.settle_full_at:
        Session.objects.filter(pk=session.pk).update(settle_full_at=row.settle_full_at - dt.timedelta(seconds=seconds))


def crowd(session: Session, number: int, *, first: int = 1) -> list[HoldRequest]:
    """Let buyers all want the same seat, one after the other."""
    return [request_for(session, "A1", buyer=uuid.uuid4(), arrival=first + n) for n in range(number)]


def allocated() -> list[int]:
    """Return arrivals in the order in which they were allocated."""
    return list(Reservation.objects.order_by("settled_at", "arrival").values_list("arrival", flat=True))


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of the rates."""
    instant = timezone.now()
    monkeypatch.setattr(pace, "db_now", lambda: instant)
    monkeypatch.setattr(queued, "db_now", lambda: instant)


@pytest.mark.usefixtures("_time_stands_still")
class TestRate:
    def test_allows_one_seconds_worth_after_a_pause_and_the_rest_waits(self, session: Session) -> None:
        allocate_at(3, session)
        queued.receive(crowd(session, 5))
        assert allocated() == [1, 2, 3]
        assert list(InboxRequest.objects.values_list("arrival", flat=True)) == [4, 5]

    def test_goes_on_by_itself_as_time_passes(self, session: Session) -> None:
        allocate_at(3, session)
        queued.receive(crowd(session, 5))
        assert queued.drain_inbox(shard=0) == 0
        let_pass(session, seconds=0.334)
        assert queued.drain_inbox(shard=0) == 1
        let_pass(session, seconds=30)
        assert queued.drain_inbox(shard=0) == 1
        assert allocated() == [1, 2, 3, 4, 5]

    def test_holds_back_no_other_session(self, session: Session) -> None:
        allocate_at(1, session)
        other = SessionFactory.create()
        queued.receive(crowd(session, 3))
        stored = crowd(other, 2, first=10)
        inbox.store(stored, shard_for=lambda _request: 0)
        assert queued.drain_inbox(shard=0) == 2
        queued.receive(crowd(other, 1, first=20))
        assert allocated() == [1, 10, 11, 20]

    def test_lets_no_request_overtake_when_it_is_dropped_during_a_sale(self, session: Session) -> None:
        allocate_at(1, session)
        early, late = crowd(session, 3), crowd(session, 1, first=4)
        queued.receive(early)
        allocate_at(None, session)
        queued.receive(late)
        assert allocated() == [1, 2, 3, 4]
        assert Reservation.objects.get(status=Status.HELD).arrival == 1
        assert not InboxRequest.objects.exists()

    def test_applies_from_the_next_batch_on_when_set_during_a_sale(self, session: Session) -> None:
        requests = crowd(session, 6)
        queued.receive(requests[:3])
        allocate_at(2, session)
        queued.receive(requests[3:])
        assert allocated() == [1, 2, 3, 4, 5]
        assert InboxRequest.objects.get().arrival == 6

    def test_leaves_the_others_of_a_batch_alone(self, session: Session) -> None:
        allocate_at(1, session)
        other = SessionFactory.create()
        queued.receive([*crowd(session, 2), *crowd(other, 2, first=10)])
        assert allocated() == [1, 10, 11]

    def test_costs_nothing_for_a_request_that_comes_again(self, session: Session) -> None:
        allocate_at(2, session)
        requests = crowd(session, 1)
        queued.receive(requests)
        queued.receive(requests)
        queued.receive(crowd(session, 2, first=2))
        assert allocated() == [1, 2]
        assert InboxRequest.objects.get().arrival == 3

    def test_goes_on_after_poison(self, session: Session, ana: uuid.UUID) -> None:
        allocate_at(100, session)
        inbox.store([poison_for(session, buyer=ana)], shard_for=lambda _request: 0)
        queued.receive(crowd(session, 2, first=2))
        queued.drain_inbox(shard=0)
        assert allocated() == [2, 3]

    def test_is_counted_and_shown(self, session: Session) -> None:
        allocate_at(1, session)
        before = counted("frontrow_put_off_total", rate="allocation"), counted("frontrow_parked_total")
        queued.receive(crowd(session, 3))
        after = counted("frontrow_put_off_total", rate="allocation"), counted("frontrow_parked_total")
        assert (after[0] > before[0], after[1] - before[1]) == (True, 3)
        pace.tell_the_rates()
        assert counted("frontrow_rate", session=str(session.pk), rate="allocation") == 1
        assert inbox.sessions_waiting(0) == [str(session.pk)]
        allocate_at(None, session)
        pace.tell_the_rates()
        assert counted("frontrow_rate", session=str(session.pk), rate="allocation") == 0

    @pytest.mark.parametrize(
        ("rate", "constraint"),
        [
            ("settle_rate", "session_settles_at_least_one_a_second"),
            ("admission_rate", "session_lets_in_and_charges_at_least_one_a_second"),
            ("payment_rate", "session_lets_in_and_charges_at_least_one_a_second"),
        ],
    )
    def test_is_at_least_one(self, session: Session, rate: str, constraint: str) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            Session.objects.filter(pk=session.pk).update(**{rate: 0})


class TestWorkersAtOnce:
    RATE = 40

    def test_allocate_no_more_than_the_rate_together_and_in_order(self, session: Session) -> None:
        allocate_at(self.RATE, session)
        inbox.store(crowd(session, 400), shard_for=lambda _request: 0)
        began = db_now()

        def drain() -> None:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                queued.drain_inbox(shard=0)

        assert race([drain] * 4) == [None] * 4
        seconds = (db_now() - began).total_seconds()
        done = allocated()
        assert done == list(range(1, len(done) + 1))
        assert self.RATE * 1.5 < len(done) <= self.RATE * (seconds + 1)

    def test_judge_under_the_lock_what_they_looked_up_before_it(self, session: Session) -> None:
        allocate_at(3, session)
        requests = crowd(session, 5)
        queued.allocate(requests[:2], shard=0)
        with pytest.raises(pace.NotDue):
            queued.allocate(requests, shard=0)
        assert allocated() == [1, 2]


class TestRequestFromRabbitMQ:
    """Requests that RabbitMQ brings."""

    def test_is_stored_before_its_message_is_acknowledged(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        allocate_at(1, session)
        requests = crowd(session, 3)
        with monkeypatch.context() as patch:
            patch.setattr(queued, "drain_inbox", lambda **_shard: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                messages.allocate_message([request.to_json() for request in requests])
        assert InboxRequest.objects.count() == 3
        messages.allocate_message([request.to_json() for request in reversed(requests)])
        assert allocated() == [1]
        assert InboxRequest.objects.count() == 2

    def test_stays_readable_and_releasable(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        allocate_at(1, session)
        hold(session, "A1", buyer=ana)
        with pytest.raises(Reservation.DoesNotExist):
            hold(session, "A2", buyer=bruno)
        waiting = InboxRequest.objects.get()
        holding.release(reservation_id=waiting.pk, buyer=bruno)
        let_pass(session, seconds=5)
        until(lambda: queued.drain_inbox(shard=0), what="its turn")
        assert Reservation.objects.get(pk=waiting.pk).status == Status.CANCELLED


class TestAdmissionRate:
    """Requests that are admitted in a second."""

    @pytest.fixture
    def crowded(self, session: Session) -> Session:
        Session.objects.filter(pk=session.pk).update(admission_rate=3)
        return session

    def entries(self, session: Session, number: int) -> list[Entry]:
        rate = Session.objects.get(pk=session.pk).admission_rate
        requests = [request_for(session, buyer=uuid.uuid4(), best_available=True, quantity=1) for _n in range(number)]
        return [Entry(Applicant(request=one, claim_ms=30_000, limits=[Limit(10)], rate=rate)) for one in requests]

    def door(self) -> FrontDoor:
        return FrontDoor(queue=InProcessQueue(lambda _requests: None), fallback=None)

    def let_in(self, entries: list[Entry]) -> int:
        refusals = [entry.answer.exception(timeout=5) for entry in entries]
        assert {type(refusal) for refusal in refusals} <= {type(None), Crowded}
        return refusals.count(None)

    def fill(self, session: Session, *, seconds: float) -> None:
        """Pretend that this many seconds' worth was admitted in advance."""
        client = claims.client()
        now, _micros = client.time()
        client.hset(keys.key("arrivals", f"{{{session.pk}}}"), "full_at", int((now + seconds) * 1_000_000))

    def test_admits_one_seconds_worth_and_tells_the_rest_when_to_come_again(self, crowded: Session) -> None:
        before = counted("frontrow_put_off_total", rate="admission")
        entries = self.entries(crowded, 10)
        self.door().serve(entries)
        assert self.let_in(entries) == 3
        last = entries[-1].answer.exception()
        assert isinstance(last, Crowded)
        assert 0 < last.retry_after <= 0.334
        assert counted("frontrow_put_off_total", rate="admission") == before + 7

    def test_is_separate_for_each_session(self, crowded: Session, hold: Hold, ana: uuid.UUID) -> None:
        self.fill(crowded, seconds=60)
        with pytest.raises(Crowded):
            hold(crowded, "A1", buyer=ana)
        hold(SessionFactory.create(), "A1", buyer=ana)

    def test_leaves_the_key_of_a_refused_request_usable(self, crowded: Session, ana: uuid.UUID) -> None:
        body = {"session": str(crowded.pk), "seats": ["A1"]}
        self.fill(crowded, seconds=60)
        refused = post(client_of(ana), "/reservations", body, idempotency_key="k")
        assert_problem(refused, 429, "rate_limited")
        assert 55 < int(refused["Retry-After"]) <= 61
        self.fill(crowded, seconds=0)
        assert post(client_of(ana), "/reservations", body, idempotency_key="k").status_code == 202

    def test_counts_a_repeated_key_once(self, crowded: Session, ana: uuid.UUID) -> None:
        body = {"session": str(crowded.pk), "seats": ["A1"]}
        assert post(client_of(ana), "/reservations", body, idempotency_key="k").status_code == 202
        self.fill(crowded, seconds=60)
        assert post(client_of(ana), "/reservations", body, idempotency_key="k").status_code == 202

    def test_is_exact_for_many_processes_at_once(self, crowded: Session) -> None:
        Session.objects.filter(pk=crowded.pk).update(admission_rate=8)
        crowds = [self.entries(crowded, 30) for _process in range(4)]
        doors = [self.door() for _process in crowds]
        began = time.monotonic()
        assert race([partial(door.serve, crowd) for door, crowd in zip(doors, crowds, strict=True)]) == [None] * 4
        assert 8 <= sum(map(self.let_in, crowds)) <= 8 * (1 + time.monotonic() - began)

    def test_is_each_processs_own_without_redis(self, crowded: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(claims, "admit", lambda _admit_one: (_ for _ in ()).throw(NoClaims))
        for door in (self.door(), self.door()):
            entries = self.entries(crowded, 10)
            door.serve(entries)
            assert self.let_in(entries) == 3
