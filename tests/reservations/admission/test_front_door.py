"""A request joins the right queue, with the right number. See Note [One epoch, one queue] in front_door.py."""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

import msgspec
import pytest
from django.db import OperationalError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reservations import queries
from reservations.admission import entries, front_door, sale_facts
from reservations.admission.front_door import EPOCH, FrontDoor
from reservations.claims import claims
from reservations.hold_request import Ask, HoldRequest
from reservations.queueing.queues import QueueDown
from sessions_app.models import Session
from tests.conftest import forget_redis
from tests.factories import SessionFactory, StockFactory

pytestmark = pytest.mark.django_db(transaction=True)


@dataclasses.dataclass
class Road:
    """A queue that a test can cut: after `takes` more requests, if given. `said` lists its messages in order."""

    name: str
    cut: bool = False
    is_down: bool = False
    takes: int = 1_000
    said: list[HoldRequest | str] = dataclasses.field(default_factory=list)

    def open_epoch(self, shards: Collection[int]) -> None:
        if self.cut:
            raise QueueDown
        self.said.append("drain")

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        if self.cut:
            raise QueueDown
        taken, self.takes = requests[: self.takes], self.takes - len(requests[: self.takes])
        self.said.extend(taken)
        if len(taken) < len(requests):
            raise QueueDown(stored=[request.id for request in taken])

    @property
    def requests(self) -> list[HoldRequest]:
        return [said for said in self.said if isinstance(said, HoldRequest)]


@pytest.fixture
def rabbit() -> Road:
    return Road("rabbitmq")


@pytest.fixture
def inbox() -> Road:
    return Road("inbox")


@pytest.fixture
def door(rabbit: Road, inbox: Road) -> FrontDoor:
    return FrontDoor(queue=rabbit, fallback=inbox)


Enter = Callable[..., HoldRequest]


@pytest.fixture
def enter(session: Session) -> Enter:
    """Send a request through the front door; return it as it was accepted."""

    def enter(door: FrontDoor, *seats: str, buyer: uuid.UUID | None = None, **ask: object) -> HoldRequest:
        facts = sale_facts.facts_of(session.pk)
        asked = Ask(session=session.pk, seats=seats, **ask)  # type: ignore[arg-type]
        request = HoldRequest.of(
            asked, reservation=uuid.uuid4(), buyer=buyer or uuid.uuid4(), arrival=0, accepted_at=facts.now()
        )
        return door.submit(request, facts, wait=0).request

    return enter


def epochs_taken() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM reservation_arrival_epoch")
        taken: int = cursor.fetchone()[0]
    return taken


class TestQueue:
    def test_takes_one_epoch_while_it_works(self, door: FrontDoor, rabbit: Road, enter: Enter) -> None:
        first = enter(door, "A1")
        taken = epochs_taken()
        numbers = [enter(door, seat).arrival for seat in ("A2", "A3", "A4")]
        assert numbers == [first.arrival + n for n in (1, 2, 3)]
        assert epochs_taken() == taken
        assert rabbit.said[0] == "drain"
        assert len(rabbit.requests) == 4

    def test_has_numbers_that_stay_exact_for_years(self, door: FrontDoor, enter: Enter) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('reservation_arrival_epoch', 500000000)")
        first, second = enter(door, "A1"), enter(door, "A2")
        assert second.arrival == first.arrival + 1
        assert second.arrival < 2**53

    def test_passes_requests_on_with_numbers_of_a_new_epoch_when_it_fails(
        self, door: FrontDoor, rabbit: Road, inbox: Road, enter: Enter, ana: uuid.UUID
    ) -> None:
        before = enter(door, "A1")
        rabbit.cut = True
        fallen = enter(door, "A2", buyer=ana, key="k")
        assert inbox.requests == [fallen]
        assert fallen.arrival // EPOCH > before.arrival // EPOCH
        assert claims.asked(fallen.id) == fallen
        assert queries.find(fallen.id, buyer=ana)["arrival"] == fallen.arrival
        again = enter(door, "A2", buyer=ana, key="k")
        assert (again.id, again.arrival) == (fallen.id, fallen.arrival)

    def test_is_not_tried_again_after_it_failed_and_the_other_counts_on(
        self, door: FrontDoor, rabbit: Road, inbox: Road, enter: Enter
    ) -> None:
        rabbit.cut = True
        fallen = enter(door, "A1")
        rabbit.is_down = True
        taken = epochs_taken()
        assert [enter(door, seat).arrival for seat in ("A2", "A3")] == [fallen.arrival + 1, fallen.arrival + 2]
        assert epochs_taken() == taken
        assert len(inbox.requests) == 3

    def test_is_told_to_drain_the_inbox_before_a_number_is_given_when_it_is_back(
        self, door: FrontDoor, rabbit: Road, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enter(door, "A1")
        rabbit.cut = True
        fallen = enter(door, "A2")
        rabbit.cut = False
        rabbit.said.clear()
        known_then = []
        admit = claims.admit

        def look_then_admit(applicants: Sequence[claims.Applicant]) -> list[claims.Verdict]:
            known_then.append((list(rabbit.said), applicants[0].epoch > 0))
            return admit(applicants)

        monkeypatch.setattr(claims, "admit", look_then_admit)
        back = enter(door, "A3")
        assert known_then == [([], False), (["drain"], True)]
        assert rabbit.said == ["drain", back]
        assert back.arrival // EPOCH > fallen.arrival // EPOCH

    def test_keeps_the_epoch_while_it_is_not_back(
        self, door: FrontDoor, rabbit: Road, inbox: Road, enter: Enter
    ) -> None:
        rabbit.cut = True
        fallen = enter(door, "A1")
        taken = epochs_taken()
        assert enter(door, "A2").arrival == fallen.arrival + 1  # it was tried: no breaker knew that it is down
        assert epochs_taken() == taken

    def test_keeps_the_requests_of_a_batch_that_it_took(
        self, session: Session, door: FrontDoor, rabbit: Road, inbox: Road, enter: Enter
    ) -> None:
        before = enter(door, "A1")
        facts = sale_facts.facts_of(session.pk)
        batch = [
            entries.Entry(
                claims.Applicant(
                    request=msgspec.structs.replace(
                        before, id=uuid.uuid4(), buyer=uuid.uuid4(), seats=(seat,), arrival=0
                    ),
                    claim_ms=5_000,
                    limits=[claims.Limit(facts.max_per_buyer)],
                )
            )
            for seat in ("A2", "A3", "A4")
        ]
        rabbit.takes = 1
        door.serve(batch)
        kept, *fallen = [entry.answer.result(timeout=0).request for entry in batch]
        assert rabbit.requests == [before, kept]
        assert inbox.requests == fallen
        assert kept.arrival == before.arrival + 1
        assert [request.arrival % EPOCH for request in fallen] == [1, 2]

    def test_refuses_requests_and_frees_their_seats_when_both_fail(
        self, door: FrontDoor, rabbit: Road, inbox: Road, enter: Enter
    ) -> None:
        rabbit.cut = inbox.cut = True
        with pytest.raises(QueueDown):
            enter(door, "A1")
        inbox.cut = False
        assert enter(door, "A1") in inbox.requests

    def test_refuses_and_stays_the_queue_while_postgresql_is_away(
        self, door: FrontDoor, rabbit: Road, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = enter(door, "A1")
        with monkeypatch.context() as patch:
            patch.setattr(front_door, "next_epoch", away)
            rabbit.cut = True
            with pytest.raises(QueueDown):
                enter(door, "A2")
            rabbit.cut = False
            assert enter(door, "A2").arrival // EPOCH == before.arrival // EPOCH

    def test_opens_an_epoch_for_one_session_and_lets_its_neighbours_through(
        self, session: Session, door: FrontDoor, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = enter(door, "A1")
        unheard_of = SessionFactory.create()
        batch = [
            entries.Entry(claims.Applicant(request=request, claim_ms=5_000, limits=[claims.Limit(10)]))
            for request in (
                msgspec.structs.replace(known, id=uuid.uuid4(), session=unheard_of.pk, arrival=0),
                msgspec.structs.replace(known, id=uuid.uuid4(), seats=("A2",), arrival=0),
            )
        ]
        monkeypatch.setattr(front_door, "next_epoch", away)
        door.serve(batch)
        assert isinstance(batch[0].answer.exception(timeout=0), QueueDown)
        assert batch[1].answer.result(timeout=0).request.arrival == known.arrival + 1


def away() -> int:
    raise OperationalError("PostgreSQL is away")


class TestRedis:
    def test_leaves_each_batch_an_epoch_in_the_inbox_while_it_is_away(
        self, door: FrontDoor, rabbit: Road, inbox: Road, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = enter(door, "A1")
        with monkeypatch.context() as patch:
            patch.setattr(claims, "admit", nobody)
            meanwhile = [enter(door, seat) for seat in ("A2", "A3")]
        back = enter(door, "A4")
        assert inbox.requests == meanwhile
        assert rabbit.said == ["drain", before, "drain", back]
        epochs = [request.arrival // EPOCH for request in (before, *meanwhile, back)]
        assert epochs == sorted(set(epochs))

    def test_repeats_no_number_when_it_forgets_during_a_change_of_queue(
        self, door: FrontDoor, rabbit: Road, inbox: Road, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enter(door, "A1")
        rabbit.cut = True
        with monkeypatch.context() as patch:
            patch.setattr(claims, "renumbered", nobody)
            fallen = enter(door, "A2")
        forget_redis()
        assert enter(door, "A3").arrival > fallen.arrival


def nobody(*_arguments: object, **_more: object) -> list[claims.Verdict]:
    raise claims.NoClaims


class TestTwoProcesses:
    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        steps=st.lists(
            st.tuples(st.sampled_from(["ask", "ask", "ask", "cut", "mend", "notice", "forget"]), st.booleans()),
            min_size=4,
            max_size=25,
        )
    )
    def test_never_put_an_epoch_into_two_queues(
        self, session: Session, enter: Enter, steps: list[tuple[str, bool]]
    ) -> None:
        """Each door has its own view of RabbitMQ: cut off, mended, known to be down.

        Each request may come to either door.
        """
        stock = StockFactory.create(session=session, name=str(uuid.uuid4()), capacity=100)
        sale_facts.forget()
        rabbits = [Road("rabbitmq"), Road("rabbitmq")]
        inbox = Road("inbox")
        doors = [FrontDoor(queue=rabbit, fallback=inbox) for rabbit in rabbits]
        accepted = []
        for step, which in steps:
            rabbit = rabbits[which]
            match step:
                case "ask":
                    accepted.append(enter(doors[which], ticket_type=stock.pk, quantity=1))
                case "cut":
                    rabbit.cut = True
                case "mend":
                    rabbit.cut = rabbit.is_down = False
                case "notice":
                    rabbit.is_down = rabbit.cut
                case "forget":
                    forget_redis()
        lines: dict[int, set[str]] = defaultdict(set)
        for queue in (*rabbits, inbox):
            for request in queue.requests:
                lines[request.arrival // EPOCH].add(queue.name)
        assert all(len(names) == 1 for names in lines.values())
        assert all(one.arrival < other.arrival for one, other in itertools.pairwise(accepted))
        assert len(accepted) == sum(len(queue.requests) for queue in (*rabbits, inbox))
