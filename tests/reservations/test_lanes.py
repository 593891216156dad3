"""Lanes of a session's queue share by weight, and each is strictly first come, first served."""

from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from reservations.admission import front_door, sale_facts
from reservations.admission.front_door import FrontDoor
from reservations.allocation import decision
from reservations.claims import claims
from reservations.claims.claims import NoClaims
from reservations.hold_request import Ask, HoldRequest
from reservations.models import InboxRequest, Reservation, Status
from reservations.operations import queued
from reservations.queueing import inbox
from reservations.queueing.queues import InboxQueue, InProcessQueue, QueueDown
from reservations.queueing.turns import Turns, interleave
from reservations.refusals import UnknownLane
from sessions_app.models import Lane, Session, TicketType
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import StockFactory, UserFactory
from tests.reservations.claims.test_pace import allocate_at, let_pass
from tests.reservations.test_holding import request_for

pytestmark = pytest.mark.django_db(transaction=True)

MEMBERS = "Members"


@pytest.fixture
def stock(session: Session) -> TicketType:
    made: TicketType = StockFactory.create(session=session, capacity=1_000)
    return made


@pytest.fixture
def members(session: Session) -> Lane:
    return Lane.objects.create(session=session, name=MEMBERS, weight=3, code="friends-2026")


def crowd(stock: TicketType, lane: str, number: int, *, first: int = 1) -> list[HoldRequest]:
    """Let buyers ask, with arrivals two apart, so that two lanes can come in turn."""
    return [
        HoldRequest.from_json(
            {
                **request_for(
                    stock.session, buyer=uuid.uuid4(), arrival=first + 2 * n, ticket_type=stock.pk, quantity=1
                ).to_json(),
                "lane": lane,
            }
        )
        for n in range(number)
    ]


def store(*requests: HoldRequest) -> None:
    inbox.store(requests, shard_for=lambda _request: 0)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[HoldRequest]:
    """Return requests as they were decided."""
    decided: list[HoldRequest] = []
    decide = decision.decide

    def noted(request: HoldRequest, batch: decision.Batch) -> None:
        decided.append(request)
        decide(request, batch)

    monkeypatch.setattr(decision, "decide", noted)
    return decided


def lanes(decided: list[HoldRequest]) -> str:
    return "".join("m" if request.lane else "." for request in decided)


def is_first_come_in_each(decided: list[HoldRequest]) -> bool:
    in_lanes = [[one.arrival for one in decided if one.lane == lane] for lane in ("", MEMBERS)]
    return all(arrivals == sorted(arrivals) for arrivals in in_lanes)


class TestTurns:
    def test_share_by_weight(self) -> None:
        shared = interleave({"a": ["a"] * 9, "b": ["b"] * 3}, Turns({"a": 3}, ""))
        assert "".join(shared) == "abaaabaaabaa"

    def test_go_to_lanes_with_requests(self) -> None:
        assert "".join(interleave({"a": [], "b": ["b"] * 3}, Turns({"a": 3}, ""))) == "bbb"

    def test_are_the_same_taken_one_by_one(self) -> None:
        noted, taken = "", ""
        for _turn in range(12):
            turns = Turns({"a": 3}, noted)
            taken += (lane := turns.next(["a", "b"]))
            turns.take(lane)
            noted = turns.noted()
        assert taken == "abaaabaaabaa"

    def test_are_not_saved_up_by_a_lane_that_was_empty(self) -> None:
        turns = Turns({"a": 3}, "")
        for _turn in range(100):
            turns.take("b")
        assert "".join(interleave({"a": ["a"] * 6, "b": ["b"] * 2}, Turns({"a": 3}, turns.noted()))) == "aaaabaab"


class TestDraining:
    def test_allocates_a_backlog_by_the_weights(
        self, stock: TicketType, members: Lane, order: list[HoldRequest]
    ) -> None:
        store(*crowd(stock, "", 100), *crowd(stock, MEMBERS, 100, first=2))
        assert queued.drain_inbox(shard=0) == 200
        assert lanes(order) == "m.mm" * 33 + "m" + "." * 67
        assert is_first_come_in_each(order)

    def test_goes_on_where_it_stopped_when_each_call_allocates_one(
        self, session: Session, stock: TicketType, members: Lane, order: list[HoldRequest]
    ) -> None:
        allocate_at(1, session)
        store(*crowd(stock, "", 6), *crowd(stock, MEMBERS, 6, first=2))
        for _call in range(8):
            queued.drain_inbox(shard=0)
            let_pass(session, seconds=1)
        assert lanes(order) == "m.mmm.mm"
        assert is_first_come_in_each(order)

    def test_gives_the_last_places_to_the_lane_with_the_turn(self, stock: TicketType, members: Lane) -> None:
        TicketType.objects.filter(pk=stock.pk).update(available=4, capacity=4)
        store(*crowd(stock, "", 4), *crowd(stock, MEMBERS, 4, first=2))
        queued.drain_inbox(shard=0)
        won = Reservation.objects.filter(status=Status.HELD)
        assert sorted(won.values_list("lane", "arrival")) == [("", 1), (MEMBERS, 2), (MEMBERS, 4), (MEMBERS, 6)]

    def test_is_by_arrival_again_without_lanes(
        self, stock: TicketType, members: Lane, order: list[HoldRequest]
    ) -> None:
        store(*crowd(stock, "", 3), *crowd(stock, MEMBERS, 3, first=2))
        members.delete()
        queued.drain_inbox(shard=0)
        assert [request.arrival for request in order] == [1, 2, 3, 4, 5, 6]

    def test_allocates_requests_from_rabbitmq_by_the_same_way(
        self, stock: TicketType, members: Lane, order: list[HoldRequest]
    ) -> None:
        store(*crowd(stock, "", 2))
        queued.receive(crowd(stock, MEMBERS, 3, first=2))
        assert lanes(order) == "m.mm."
        assert not InboxRequest.objects.exists()


class TestOutage:
    @pytest.mark.parametrize("redis", ["there", "away"])
    @pytest.mark.parametrize("rabbitmq", ["there", "away"])
    def test_changes_no_turn(
        self,
        stock: TicketType,
        members: Lane,
        order: list[HoldRequest],
        monkeypatch: pytest.MonkeyPatch,
        redis: str,
        rabbitmq: str,
    ) -> None:
        """Eight ask in each lane, one after the other, each lane's first ones first; and then a worker comes."""
        brought: list[list[HoldRequest]] = []
        rabbit = InProcessQueue(lambda requests: brought.append(list(requests)))
        rabbit.name = "rabbitmq"
        monkeypatch.setattr(InboxQueue, "ring", lambda *_shard: None)
        if rabbitmq == "away":
            monkeypatch.setattr(rabbit, "publish", lambda _requests: (_ for _ in ()).throw(QueueDown))
        if redis == "away":
            monkeypatch.setattr(claims, "admit", lambda _admit_one: (_ for _ in ()).throw(NoClaims))
        door = FrontDoor(queue=rabbit, fallback=InboxQueue())
        facts = sale_facts.facts_of(stock.session_id)
        for lane in [""] * 8 + [MEMBERS] * 8:
            (asked,) = crowd(stock, lane, 1)
            door.submit(asked, facts, wait=0)
        for message in brought:
            store(*message)
        assert queued.drain_inbox(shard=0) == 16
        assert lanes(order) == "m.mmm.mmm.m....."
        assert is_first_come_in_each(order)


class TestAdmission:
    def test_knows_the_lane_by_its_code(self, session: Session, members: Lane, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana, lane_code="friends-2026")
        assert (held.status, held.lane) == (Status.HELD, MEMBERS)
        assert held.facts()["lane"] == MEMBERS
        assert hold(session, "A2", buyer=ana).lane == ""

    @pytest.mark.parametrize("code", ["friends", "Friends-2026", "é"])
    def test_refuses_an_unknown_code(self, session: Session, members: Lane, ana: uuid.UUID, code: str) -> None:
        with pytest.raises(UnknownLane):
            front_door.admit(Ask(session=session.pk, seats=("A1",), lane_code=code), buyer=ana)

    def test_reads_a_known_code_from_its_copy(self, session: Session, members: Lane) -> None:
        facts = sale_facts.facts_of(session.pk)
        Lane.objects.all().delete()
        assert facts.lane_of("friends-2026") == MEMBERS

    def test_admits_a_request_whose_turn_may_come_first(
        self, session: Session, stock: TicketType, members: Lane, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        TicketType.objects.filter(pk=stock.pk).update(available=1, capacity=1)
        allocate_at(1, session)
        hold(session, "A1", buyer=uuid.uuid4())
        for buyer, code in ((ana, ""), (bruno, "friends-2026")):
            front_door.admit(Ask(session=session.pk, ticket_type=stock.pk, quantity=1, lane_code=code), buyer=buyer)
        let_pass(session, seconds=5)
        queued.drain_inbox(shard=0)
        assert Reservation.objects.get(buyer=bruno).status == Status.HELD


class TestApi:
    def test_takes_the_code_and_tells_the_lane(self, session: Session, members: Lane, ana: uuid.UUID) -> None:
        asked = {"session": str(session.pk), "seats": ["A1"], "lane_code": "friends-2026"}
        answer = post(client_of(ana), "/reservations", asked)
        assert (answer.status_code, answer.json()["lane"]) == (202, MEMBERS)
        assert get(client_of(ana), f"/reservations/{answer.json()['id']}").json()["lane"] == MEMBERS

    @pytest.mark.parametrize("code", ["no", "no "])
    def test_names_the_field_of_an_unknown_code(
        self, session: Session, members: Lane, ana: uuid.UUID, code: str
    ) -> None:
        asked = {"session": str(session.pk), "seats": ["A1"], "lane_code": code}
        problem = assert_problem(post(client_of(ana), "/reservations", asked), 400, "unknown_lane")
        assert [error["field"] for error in problem["errors"]] == ["lane_code"]

    @pytest.mark.parametrize("code", ["friends-2026", " friends-2026"])
    def test_takes_the_code_with_an_order(self, stock: TicketType, members: Lane, ana: uuid.UUID, code: str) -> None:
        asked = {"ticket_type": str(stock.pk), "quantity": 1, "lane_code": code}
        answer = post(client_of(ana), "/orders", asked, idempotency_key="once")
        assert (answer.status_code, answer.json()["lane"]) == (202, MEMBERS)


class TestPage:
    def test_keeps_the_code_of_the_link(self, session: Session, members: Lane) -> None:
        client = Client()
        page = client.get(reverse("session", args=[session.pk]), {"lane": "friends-2026"})
        assert b"Members" in page.content
        assert page.content.count(b'name="lane_code" value="friends-2026"') == 2  # the best seats, and seats by name
        client.post(reverse("hold", args=[session.pk]), {"seats": ["A1"], "lane_code": "friends-2026"})
        assert Reservation.objects.get().lane == MEMBERS

    def test_shows_that_a_code_is_unknown(self, session: Session, members: Lane) -> None:
        page = Client().get(reverse("session", args=[session.pk]), {"lane": "old"})
        assert b"does not exist any more" in page.content
        assert b'lane_code" value' not in page.content


class TestAdmin:
    def test_shows_the_link_of_each_lane(self, session: Session, members: Lane) -> None:
        client = Client()
        client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
        url = reverse("admin:sessions_app_session_change", args=[session.pk])
        assert f"/sessions/{session.pk}?lane=friends-2026" in client.get(url).content.decode()


class TestLane:
    @pytest.mark.parametrize(
        ("row", "constraint"),
        [
            ({"name": MEMBERS, "code": "other"}, "lane_name_once_a_session"),
            ({"name": "Sponsors", "code": "friends-2026"}, "lane_code_once_a_session"),
            ({"name": "Sponsors", "weight": 0}, "lane_weight_is_bounded"),
            ({"name": ""}, "lane_has_a_name_and_a_code"),
        ],
    )
    def test_is_refused_by_the_database(
        self, session: Session, members: Lane, row: dict[str, object], constraint: str
    ) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            Lane.objects.create(session=session, **row)
