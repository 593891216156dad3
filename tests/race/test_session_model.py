"""Compare one small session, in any order of events, with a box office so simple that a child could run it.

Hypothesis chooses what happens next: a buyer asks, a batch is allocated (late, twice, shuffled), a payment goes half
its way, time passes, Redis forgets, a process dies before or after a commit. After each step the database agrees with
the plain-Python `BoxOffice`, the audit finds nothing, and a follower of the map sees it as it is.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection
from hypothesis import HealthCheck, Phase
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from base.clock import db_now
from realtime import audit, wire
from reservations import queries
from reservations.admission import front_door, sale_facts
from reservations.admission.front_door import FrontDoor
from reservations.allocation import endings
from reservations.allocation.announcements import Announcements
from reservations.hold_request import Ask, HoldRequest
from reservations.models import InboxRequest, Reservation
from reservations.operations import holding, queued, sweeps
from reservations.queueing import inbox
from reservations.queueing.queues import QueueDown
from reservations.refusals import (
    AlreadyPaid,
    ExtensionLimit,
    IdempotencyMismatch,
    LimitReached,
    NotHeld,
    PaymentInProgress,
    RequestInFlight,
    ReservationExpired,
    SeatsUnavailable,
    SoldOut,
)
from sessions_app.models import Seat, Session, TicketType, shard_of
from sessions_app.queries import seat_map
from tests.conftest import forget_redis
from tests.factories import SessionFactory, StockFactory
from tests.race.racing import ROUNDS
from ticketing.models import Payment
from ticketing.payments import starting, steps
from ticketing.payments.gateways import Attempt, GatewayTimeout, Standing, fake
from ticketing.upkeep.auditing import CHECKS

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]

SEATS = ("A1", "A2", "A3", "A4")
STOCK = 3
EXTENSIONS = 2
LIMIT = 4  # places per buyer
OF_TIME = {"events_unpublished", "hold_past_its_end", "accepted_and_forgotten", "sale_not_paid", "sandbox_differs"}
SHUFFLED = {"overtaken"}  # this machine allocates out of order on purpose
SOUND = [check for check in CHECKS if check.name not in OF_TIME | SHUFFLED]


class Killed(BaseException):
    """A kill -9 seen from inside: no code handles it."""


# --- The expected state


@dataclasses.dataclass
class Order:
    """The outcome of a request, as the box office remembers it."""

    request: HoldRequest
    status: str
    reason: str = ""
    seats: frozenset[str] = frozenset()
    places: int = 0
    over: bool = False  # its time is up, swept or not
    extensions: int = 0

    @property
    def stands(self) -> bool:
        """Tell whether it is in the books."""
        return self.status in {"held", "paying", "confirmed"}

    @property
    def counts(self) -> bool:
        """Tell whether it is in the way of others: a hold that ran out isn't, swept or not."""
        return self.stands and not (self.status == "held" and self.over)

    def end(self) -> None:
        """Tell whether it was given up, or is too late for that."""
        self.status, self.reason = ("expired", "expired") if self.over else ("cancelled", "released")


@dataclasses.dataclass
class BoxOffice:
    """The owner of each place, kept by one clerk who serves one request after the other."""

    orders: dict[uuid.UUID, Order] = dataclasses.field(default_factory=dict)
    given_up: set[uuid.UUID] = dataclasses.field(default_factory=set)  # while they were in the queue

    def standing(self) -> list[Order]:
        return [order for order in self.orders.values() if order.stands]

    def counting(self) -> list[Order]:
        return [order for order in self.orders.values() if order.counts]

    def allocate(self, requests: Iterable[HoldRequest], chosen: Callable[[uuid.UUID], Iterable[str]]) -> None:
        """Serve a request; `chosen` are the best available seats that it got, of which only freedom matters here."""
        for request in sorted(requests, key=lambda request: request.arrival):
            if request.id not in self.orders:
                self.orders[request.id] = self._decide(request, chosen)
                self.given_up.discard(request.id)

    def _decide(self, request: HoldRequest, chosen: Callable[[uuid.UUID], Iterable[str]]) -> Order:
        if request.key and any(
            (order.request.buyer, order.request.key) == (request.buyer, request.key) and order.status != "rejected"
            for order in self.orders.values()
        ):
            return Order(request, "rejected", "duplicate")
        if request.id in self.given_up:
            return Order(request, "cancelled", "released")
        counting = self.counting()
        free, left = free_seats(counting), stock_left(counting)
        if places_of(request.buyer, counting) + request.places > LIMIT:
            return Order(request, "rejected", "limit_reached")
        seats = frozenset(request.seats)
        if request.best_available:
            left = len(free)
            seats = frozenset(chosen(request.id) if request.places <= left else ())
            assert len(seats) in {0, request.places}
        if not seats <= free:
            return Order(request, "rejected", "seats_unavailable")
        if not request.seats and request.places > left:
            return Order(request, "rejected", "sold_out")
        return Order(request, "held", seats=seats, places=request.places)

    def sweep(self, noticed: Collection[uuid.UUID] | None = None) -> None:
        """End the holds that ran out; with `noticed`, only those that a request came across."""
        for name, order in self.orders.items():
            if order.stands and not order.counts and (noticed is None or name in noticed):
                order.end()


def free_seats(orders: Iterable[Order]) -> set[str]:
    return set(SEATS).difference(*(order.seats for order in orders))


def stock_left(orders: Iterable[Order]) -> int:
    return STOCK - sum(order.places for order in orders if order.request.ticket_type is not None)


def places_of(buyer: uuid.UUID, orders: Iterable[Order]) -> int:
    return sum(order.places for order in orders if order.request.buyer == buyer)


# --- The parts of the machine


class Lines:
    """RabbitMQ, as a list that forgets nothing, and PostgreSQL's real inbox."""

    def __init__(self) -> None:
        self.delivered: list[HoldRequest] = []
        self.stored: list[HoldRequest] = []
        self.fate = ""


@dataclasses.dataclass
class Rabbit:
    lines: Lines
    name: str = "rabbitmq"
    is_down: bool = False

    def open_epoch(self, shards: Collection[int]) -> None:
        if self.lines.fate == "cut off":
            raise QueueDown

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        if self.lines.fate == "killed before it is published":
            raise RuntimeError("the nearest that a thread of ours can come to dying")
        if self.lines.fate == "cut off":
            raise QueueDown
        self.lines.delivered.extend(requests)
        if self.lines.fate == "taken without a word":
            raise QueueDown


@dataclasses.dataclass
class Inbox:
    lines: Lines
    name: str = "inbox"
    is_down: bool = False

    def open_epoch(self, shards: Collection[int]) -> None:
        """Do nothing."""

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        inbox.store(requests, shard_for=lambda request: shard_of(request.session, settings.SHARDS))
        self.lines.stored.extend(requests)


class Follower:
    """A browser with the map: a snapshot and the diffs since, and a new snapshot where a diff is missing."""

    def __init__(self, session: uuid.UUID) -> None:
        self.session = session
        self.fetch()

    def fetch(self) -> None:
        snapshot = seat_map(self.session)
        self.version = snapshot["version"]
        self.seats = {seat["label"]: seat["status"] for seat in snapshot["seats"]}

    def hear(self, *, session: uuid.UUID, start: int, version: int, changes: dict[str, str], available: int) -> None:
        if session != self.session or version <= self.version:
            return
        if start > self.version:
            self.fetch()
            return
        self.version = version
        self.seats |= changes


BUYERS = [uuid.UUID(int=n) for n in (1, 2, 3)]
buyers = st.sampled_from(BUYERS)
which = st.integers(min_value=0, max_value=10_000)  # an index, modulo the number of choices
wishes = st.one_of(
    st.sets(st.sampled_from(SEATS), min_size=1, max_size=2).map(lambda seats: {"seats": tuple(sorted(seats))}),
    st.integers(1, 2).map(lambda quantity: {"stock": True, "quantity": quantity}),
    st.integers(1, 3).map(lambda quantity: {"best_available": True, "quantity": quantity}),
)
keys = st.sampled_from(["", "k", "l"])
roads = st.sampled_from(["", "", "", "cut off", "taken without a word", "killed before it is published"])
fates = st.sampled_from(["", "", "", "killed before the commit", "killed after the commit"])


@contextmanager
def dying(fate: str) -> Iterator[None]:
    match fate:
        case "killed before the commit":
            with patch.object(Announcements, "record", side_effect=Killed):
                yield
        case "killed after the commit":
            with patch.object(Announcements, "send", side_effect=Killed):
                yield
        case _:
            yield


class OneSession(RuleBasedStateMachine):
    lines: ClassVar[Lines]
    door: ClassVar[FrontDoor]
    follower: ClassVar[Follower]

    def __init__(self) -> None:
        super().__init__()
        forget_redis()
        sale_facts.forget()
        flush = connection.ops.sql_flush(no_style(), connection.introspection.django_table_names(only_existing=True))
        connection.ops.execute_sql_flush(flush)
        self.session = SessionFactory.create(
            seats=(1, len(SEATS)), max_per_buyer=LIMIT, hold_seconds=600, max_hold_seconds=600 * (1 + EXTENSIONS)
        )
        self.stock = StockFactory.create(session=self.session, capacity=STOCK)
        self.lines.__init__()  # type: ignore[misc]
        OneSession.follower = Follower(self.session.pk)
        self.office = BoxOffice()
        self.asked: dict[uuid.UUID, HoldRequest] = {}
        self.payments: dict[uuid.UUID, tuple[str, str]] = {}  # status and token of each attempt
        self.paid_for: dict[uuid.UUID, uuid.UUID] = {}
        self.ghosts: set[tuple[uuid.UUID, str]] = set()  # keys of requests whose process died
        self.last_arrival = 0
        self.map_version = 0
        self.told_all = True  # Redis and followers heard of every commit since Redis forgot
        self.redis_forgot = False

    # Events

    @initialize(crowd=st.lists(st.tuples(buyers, wishes), min_size=1, max_size=4))
    def the_sale_opens(self, crowd: list[tuple[uuid.UUID, dict[str, Any]]]) -> None:
        for buyer, wish in crowd:
            self.ask(buyer, wish, "", "")
        self.allocate_all("")

    @rule(buyer=buyers, wish=wishes, road=st.sampled_from(["", "cut off", "taken without a word"]))
    def hold(self, buyer: uuid.UUID, wish: dict[str, Any], road: str) -> None:
        self.ask(buyer, wish, "", road)
        if road:
            self.drain("")
        else:
            self.allocate_all("")

    @rule(buyer=buyers, wish=wishes, key=keys, road=roads)
    def ask(self, buyer: uuid.UUID, wish: dict[str, Any], key: str, road: str) -> None:
        more = {name: value for name, value in wish.items() if name != "stock"}
        if "stock" in wish:
            more["ticket_type"] = self.stock.pk
        self._admit_one(Ask(session=self.session.pk, key=key, **more), buyer, road)

    @precondition(lambda self: any(request.key for request in self.asked.values()))
    @rule(picked=which, road=roads, forgotten=st.booleans())
    def ask_the_same_again(self, picked: int, road: str, forgotten: bool) -> None:
        if forgotten:
            self.redis_forgets()
        keyed = [request for request in self.asked.values() if request.key]
        first = keyed[picked % len(keyed)]
        kept = set(Ask.__struct_fields__) & set(HoldRequest.__struct_fields__)  # all but the name of its lane
        again = {name: getattr(first, name) for name in kept}
        self._admit_one(Ask(**again), first.buyer, road)

    def _admit_one(self, asked: Ask, buyer: uuid.UUID, road: str) -> None:
        sale_facts.forget()
        self.lines.fate = road
        try:
            admission = front_door.admit(asked, buyer=buyer)
        except (
            SeatsUnavailable,
            SoldOut,
            LimitReached,
            IdempotencyMismatch,
            RequestInFlight,
            QueueDown,
        ) as refusal:
            self._refused(asked, buyer, refusal)
            return
        request = admission.request
        if admission.replayed:
            first = self.asked[request.id]
            assert (first.buyer, first.key, first.fingerprint) == (buyer, asked.key, asked.fingerprint())
            return
        assert request.id not in self.asked
        assert request.arrival > self.last_arrival
        self.last_arrival = request.arrival
        self.asked[request.id] = request

    def _refused(self, asked: Ask, buyer: uuid.UUID, refusal: Exception) -> None:
        """Redis may be wrong only after a process died without a word."""
        in_queue = [request for request in self.asked.values() if request.id not in self.office.orders]
        standing = self.office.standing()
        others = {seat for request in in_queue for seat in request.seats}
        match refusal:
            case QueueDown():
                assert self.lines.fate == "killed before it is published"
                self.told_all = False
                self.ghosts.add((buyer, asked.key))
            case SeatsUnavailable():
                taken = set(SEATS) - free_seats(standing)
                assert not self.told_all or set(refusal.conflicts) <= taken | others
            case SoldOut():
                queued = sum(request.places for request in in_queue if request.ticket_type)
                assert not self.told_all or stock_left(standing) - queued < asked.places
            case LimitReached():
                queued = sum(request.places for request in in_queue if request.buyer == buyer)
                assert not self.told_all or places_of(buyer, standing) + queued + asked.places > LIMIT
            case RequestInFlight():
                assert (buyer, asked.key) in self.ghosts
            case _:
                used = {
                    request.fingerprint for request in self.asked.values() if request.key and request.buyer == buyer
                }
                assert used - {asked.fingerprint()} or (buyer, asked.key) in self.ghosts

    @precondition(lambda self: self.lines.delivered)
    @rule(picked=st.lists(which, min_size=1, max_size=6), fate=fates)
    def allocate_some_in_any_order(self, picked: list[int], fate: str) -> None:
        self._allocate([self.lines.delivered[n % len(self.lines.delivered)] for n in picked], fate)

    @precondition(lambda self: self.lines.delivered)
    @rule(fate=fates)
    def allocate_all(self, fate: str) -> None:
        self._allocate(list(self.lines.delivered), fate)

    def _allocate(self, batch: list[HoldRequest], fate: str) -> None:
        """Bring requests while others wait in the inbox: all are allocated from there, in order of arrival."""
        waiting = self._waiting_in_the_inbox()
        if waiting:
            self.lines.stored.extend(request for request in batch if request.id not in self.office.orders)
        if self._done(lambda: queued.receive(batch), fate) and batch:
            parked = waiting if any(request.id not in self.office.orders for request in batch) else []
            self._allocated([*parked, *batch])

    def _waiting_in_the_inbox(self) -> list[HoldRequest]:
        return [request for request in self.lines.stored if request.id not in self.office.orders]

    @precondition(lambda self: self.lines.stored)
    @rule(fate=fates)
    def drain(self, fate: str) -> None:
        waiting = self._waiting_in_the_inbox()
        if self._done(lambda: queued.drain_inbox(shard=shard_of(self.session.pk, settings.SHARDS)), fate) and waiting:
            self._allocated(waiting)

    @precondition(lambda self: self.asked)
    @rule(picked=which, fate=fates)
    def release(self, picked: int, fate: str) -> None:
        request = self._pick(picked)
        order = self.office.orders.get(request.id)
        release = partial(holding.release, reservation_id=request.id, buyer=request.buyer)
        if order is None:
            if self._unless_forgotten(release, fate):
                self.office.given_up.add(request.id)
        elif order.status in {"paying", "confirmed"}:
            with pytest.raises(PaymentInProgress if order.status == "paying" else AlreadyPaid):
                release()
        elif self._done(release, fate) and order.status == "held":
            order.end()

    @precondition(lambda self: self.asked)
    @rule(picked=which, fate=fates)
    def extend(self, picked: int, fate: str) -> None:
        request = self._pick(picked)
        order = self.office.orders.get(request.id)
        extend = partial(holding.extend, reservation_id=request.id, buyer=request.buyer)
        if order and order.status == "held" and not order.over and order.extensions == EXTENSIONS:
            with pytest.raises(ExtensionLimit):
                extend()
        elif self._may_go_on(order, extend) and self._done(extend, fate):
            assert order
            order.extensions += 1

    @precondition(lambda self: self.asked)
    @rule(picked=which, token=st.sampled_from(["ok", "ok", "declined", "timeout"]), fate=fates)
    def start_payment(self, picked: int, token: str, fate: str) -> None:
        request = self._pick(picked)
        order = self.office.orders.get(request.id)
        start = partial(
            starting.start_payment, reservation_id=request.id, buyer=request.buyer, method="fake", token=token
        )
        if self._may_go_on(order, start) and self._done(start, fate):
            assert order
            order.status = "paying"
            attempt = Payment.objects.get(reservation=request.id, status="started").pk
            self.payments[attempt], self.paid_for[attempt] = ("started", token), request.id

    @precondition(lambda self: self.payments)
    @rule(picked=which, fate=st.one_of(fates, st.just("no answer to the capture")))
    def finish_payment(self, picked: int, fate: str) -> None:
        attempt = list(self.payments)[picked % len(self.payments)]
        captures = fake.capture if fate != "no answer to the capture" else no_answer
        with patch.object(fake, "capture", captures):
            killed = not self._survives(lambda: steps.finish_payment(payment_id=attempt), fate)
        done = 0 if killed and fate == "killed before the commit" else 1 if killed else 2
        for _step in range(done):
            if self.payments[attempt][0] == "authorised" and fate == "no answer to the capture":
                break
            self._step(attempt)

    def _step(self, attempt: uuid.UUID) -> None:
        status, token = self.payments[attempt]
        order = self.office.orders[self.paid_for[attempt]]
        match status, token:
            case "started", "ok":
                order.status, status = "confirmed", "authorised"
            case "started", _:
                order.status = "held"
                if order.over:
                    order.end()
                status = "declined" if token == "declined" else "failed"
            case "authorised", _:
                status = "captured"
        self.payments[attempt] = (status, token)

    @precondition(lambda self: self.office.orders)
    @rule(picked=which)
    def time_passes_for_one(self, picked: int) -> None:
        order = list(self.office.orders.values())[picked % len(self.office.orders)]
        if order.status not in {"held", "paying"}:
            return
        past = db_now() - dt.timedelta(milliseconds=1)
        Reservation.objects.filter(pk=order.request.id).update(expires_at=past)
        if order.status == "held":
            Seat.objects.filter(reservation_id=order.request.id).update(held_until=past)
        order.over = True

    @precondition(lambda self: any(order.over for order in self.office.orders.values()))
    @rule(fate=fates)
    def sweep(self, fate: str) -> None:
        if self._done(sweeps.expire_holds, fate):
            self.office.sweep()

    @rule()
    def redis_forgets(self) -> None:
        forget_redis()
        self.told_all, self.redis_forgot = True, True
        self.ghosts.clear()

    # Steps of the events

    def _allocated(self, batch: Iterable[HoldRequest]) -> None:
        self.office.allocate(unique(batch), self._seats_chosen)
        self.office.sweep(noticed=set(Reservation.objects.filter(status="expired").values_list("pk", flat=True)))

    def _pick(self, picked: int) -> HoldRequest:
        return list(self.asked.values())[picked % len(self.asked)]

    def _seats_chosen(self, reservation: uuid.UUID) -> list[str]:
        return Reservation.objects.get(pk=reservation).seats

    def _survives(self, work: Callable[[], object], fate: str) -> bool:
        try:
            with dying(fate):
                work()
        except Killed:
            self.told_all = self.told_all and fate == "killed before the commit"
            return False
        return True

    def _done(self, work: Callable[[], object], fate: str) -> bool:
        """Return whether it was committed."""
        return self._survives(work, fate) or fate == "killed after the commit"

    def _unless_forgotten(self, work: Callable[[], object], fate: str) -> bool:
        """Once Redis forgot, only the queue knows its requests."""
        try:
            return self._done(work, fate)
        except queries.NotYetKnown:
            assert self.redis_forgot
            return False

    def _may_go_on(self, order: Order | None, work: Callable[[], object]) -> bool:
        """Tell whether the hold is there; if not, the work is refused for the right reason."""
        refusal: tuple[type[Exception], ...]
        if order is None:
            refusal = (NotHeld, queries.NotYetKnown) if self.redis_forgot else (NotHeld,)
        elif order.status == "held" and not order.over:
            return True
        else:
            refusal = (
                {
                    "held": ReservationExpired,
                    "expired": ReservationExpired,
                    "paying": PaymentInProgress,
                    "confirmed": AlreadyPaid,
                }.get(order.status, NotHeld),
            )
        with pytest.raises(refusal):
            work()
        return False

    # Invariants

    @invariant()
    def the_database_says_what_the_box_office_says(self) -> None:
        there = {
            row.pk: (row.status, row.reason, row.extensions, frozenset(row.seats))
            for row in Reservation.objects.filter(session=self.session)
        }
        assert there == {
            name: (order.status, order.reason, order.extensions, order.seats or frozenset(order.request.seats))
            for name, order in self.office.orders.items()
        }
        owners = dict(Seat.objects.of(self.session.pk).values_list("label", "reservation_id"))
        expected: dict[str, uuid.UUID | None] = dict.fromkeys(SEATS)
        for name, order in self.office.orders.items():
            if order.stands:
                expected |= dict.fromkeys(order.seats, name)
        assert owners == expected
        assert TicketType.objects.get(pk=self.stock.pk).available == stock_left(self.office.standing())
        assert dict(Payment.objects.values_list("pk", "status")) == {
            attempt: status for attempt, (status, _token) in self.payments.items()
        }

    @invariant()
    def the_inbox_holds_what_is_not_allocated(self) -> None:
        assert set(InboxRequest.objects.values_list("pk", flat=True)) == {
            request.id for request in self.lines.stored
        } - set(self.office.orders)

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        assert list(audit.run(SOUND)) == []

    @invariant()
    def a_follower_sees_the_map(self) -> None:
        version = Session.objects.values_list("map_version", flat=True).get(pk=self.session.pk)
        assert version >= self.map_version
        self.map_version = version
        if self.follower.version != version:
            assert not self.told_all or self.redis_forgot  # else every diff came
            return
        letters = dict(Seat.objects.of(self.session.pk).values_list("label", "status"))
        over = {seat for order in self.office.orders.values() if order.over for seat in order.seats}
        assert {label: self.follower.seats[label] for label in SEATS if label not in over} == {
            label: letters[label] for label in SEATS if label not in over
        }

    def teardown(self) -> None:
        """Let the session end: each accepted request has an outcome, each started payment an end."""
        self.drain("")
        self.allocate_all("")
        for n in range(len(self.payments)):
            self.finish_payment(n, "")
        self.sweep("")
        assert self.office.orders.keys() == self.asked.keys()
        assert {status for status, _token in self.payments.values()} <= {"captured", "declined", "failed"}
        self.the_database_says_what_the_box_office_says()
        self.the_audit_finds_nothing()


def unique(requests: Iterable[HoldRequest]) -> list[HoldRequest]:
    """Keep the last entry of each request, as allocation does."""
    return list({request.id: request for request in requests}.values())


def no_answer(attempt: Attempt) -> Standing:
    raise GatewayTimeout(str(attempt.id))


@pytest.fixture(autouse=True)
def _one_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "DEADLINE_SECONDS", 0)
    OneSession.lines = Lines()
    OneSession.door = FrontDoor(queue=Rabbit(OneSession.lines), fallback=Inbox(OneSession.lines))
    monkeypatch.setattr(front_door, "door", lambda: OneSession.door)
    monkeypatch.setattr(wire, "send_diff", lambda **diff: OneSession.follower.hear(**diff))


def run(*, examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        OneSession,
        settings=how(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            database=None,
            derandomize=ROUNDS <= 20,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_session_agrees_with_a_plain_list_after_any_events() -> None:
    run(examples=ROUNDS)


def test_model_finds_stock_that_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the model notices."""
    monkeypatch.setattr(endings, "_give_stock_back", lambda *_ended: None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run(examples=10 * ROUNDS, phases=[Phase.generate])
