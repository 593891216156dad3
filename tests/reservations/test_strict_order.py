"""The winners are the first by arrival, whatever happens to the messages between admission and allocation."""

from __future__ import annotations

import random
import uuid

import pytest

from reservations.allocation import batch
from reservations.hold_request import HoldRequest
from reservations.models import InboxRequest, Reservation, Status
from reservations.operations import messages, queued
from sessions_app.models import Lane, Session, TicketType
from tests.factories import StockFactory
from tests.reservations.claims.test_pace import allocate_at, let_pass
from tests.reservations.test_holding import request_for

pytestmark = pytest.mark.django_db(transaction=True)

PLACES, CROWD, MESSAGE = 20, 60, 10


@pytest.fixture
def stock(session: Session) -> TicketType:
    made: TicketType = StockFactory.create(session=session, capacity=PLACES)
    return made


def crowd(stock: TicketType) -> list[HoldRequest]:
    return [
        request_for(stock.session, buyer=uuid.uuid4(), arrival=n, ticket_type=stock.pk, quantity=1)
        for n in range(1, CROWD + 1)
    ]


def deliveries(requests: list[HoldRequest], chance: random.Random) -> list[list[HoldRequest]]:
    """Return messages in their order, each shuffled inside; some come again, also after later ones."""
    messages = [requests[start : start + MESSAGE] for start in range(0, len(requests), MESSAGE)]
    delivered = []
    for number, message in enumerate(messages):
        chance.shuffle(message)
        delivered.append(message)
        delivered += [messages[chance.randint(0, number)] for _again in range(chance.randint(0, 2))]
    return delivered


def bring(message: list[HoldRequest]) -> None:
    messages.allocate_message([request.to_json() for request in message])


def allocate_the_rest(session: Session) -> None:
    while InboxRequest.objects.exists():
        let_pass(session, seconds=1)
        queued.drain_inbox(shard=0)


def winners() -> list[int]:
    assert Reservation.objects.count() == CROWD
    return sorted(Reservation.objects.filter(status=Status.HELD).values_list("arrival", flat=True))


@pytest.mark.parametrize("way", ["plain", "at_a_rate", "in_lanes", "at_a_rate_for_a_while"])
@pytest.mark.parametrize("seed", [1, 2])
class TestWinners:
    @pytest.fixture(autouse=True)
    def _set(self, way: str, session: Session) -> None:
        if way.startswith("at_a_rate"):
            allocate_at(7, session)
        if way == "in_lanes":
            Lane.objects.create(session=session, name="Members", weight=5)

    def test_are_the_first_by_arrival(self, session: Session, stock: TicketType, way: str, seed: int) -> None:
        for number, message in enumerate(deliveries(crowd(stock), random.Random(seed))):  # noqa: S311 not a secret
            bring(message)
            if way == "at_a_rate_for_a_while" and number == 4:
                allocate_at(None, session)
        allocate_the_rest(session)
        assert winners() == list(range(1, PLACES + 1))

    def test_are_the_same_when_each_message_loses_its_worker_once(
        self, session: Session, stock: TicketType, way: str, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 not a secret
        allocate_batch = batch.allocate_batch
        for message in deliveries(crowd(stock), chance):
            let_pass(session, seconds=1)  # so that the worker has something to die with at any rate
            with monkeypatch.context() as patch:
                dies_after = chance.choice([True, False])

                def die(requests: list[HoldRequest], dies_after: bool = dies_after, **where: bool) -> None:
                    if dies_after:
                        allocate_batch(requests, **where)  # written, and rolled back with its connection
                    raise SystemExit

                patch.setattr(batch, "allocate_batch", die)
                with pytest.raises(SystemExit):
                    bring(message)
            bring(message)
        allocate_the_rest(session)
        assert winners() == list(range(1, PLACES + 1))
