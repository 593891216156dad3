"""Test web, queue, worker and database as real processes. Each test ends with the audit."""

from __future__ import annotations

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest
import redis

from reservations.admission.front_door import EPOCH
from tests.api_client import Answer, ApiClient
from tests.faults.conftest import Site
from tests.processes import until
from tests.race.racing import ROUNDS, race

pytestmark = pytest.mark.fault

FINAL = {"held", "rejected", "expired", "cancelled", "confirmed"}


@pytest.fixture(autouse=True)
def _sound(site: Site) -> Iterator[None]:
    yield
    until(lambda: not site.findings(), seconds=60, what="the audit finding nothing")


def statuses(answers: list[Answer | Exception]) -> Counter[int]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return Counter(answer.status for answer in answers if isinstance(answer, Answer))


def allocated(buyer: ApiClient, answer: Answer) -> bool:
    return buyer.status(answer.body["id"]) in FINAL


class TestCinema:
    @pytest.mark.race
    def test_cinema_sells_the_last_two_seats_to_two_of_ten_buyers(self, site: Site) -> None:
        buyers = site.guests(10)
        for _round in range(ROUNDS):
            session = site.owner.new_session(rows=1, seats_per_row=2)
            answers = race([partial(buyer.hold, session, f"A{1 + n % 2}", wait=10) for n, buyer in enumerate(buyers)])
            assert statuses(answers) == {201: 2, 409: 8}
            for answer in answers:
                if isinstance(answer, Answer) and answer.status == 409:
                    assert answer.body["code"] == "seats_unavailable"
                    assert answer.body["conflicts"][0]["seat"] in {"A1", "A2"}

    @pytest.mark.race
    def test_cinema_knows_no_deadlock_between_buyers_who_ask_crosswise(self, site: Site) -> None:
        buyers = site.guests(50)
        for _round in range(ROUNDS):
            session = site.owner.new_session(rows=1, seats_per_row=3)
            ways = [("A1", "A3"), ("A3", "A1")]
            answers = race([partial(buyer.hold, session, *ways[n % 2], wait=10) for n, buyer in enumerate(buyers)])
            assert statuses(answers) == {201: 1, 409: 49}

    def test_cinema_shows_the_free_seat_on_the_map_again_and_sells_it_when_a_hold_ran_out(self, site: Site) -> None:
        ana, bruno = site.guests(2)
        session = site.owner.new_session(hold_seconds=2)
        held = ana.hold(session, "A1", wait=10)
        assert held.status == 201
        assert bruno.hold(session, "A1").status == 409
        until(lambda: bruno.hold(session, "A1", wait=10).status == 201, seconds=6, what="the seat coming free")
        late = ana.pay(held.body["id"])
        assert (late.status, late.body["code"]) == (410, "reservation_expired")
        assert ana.call("GET", "/sales").body["results"] == []

    def test_cinema_takes_a_payment_to_a_ticket(self, site: Site) -> None:
        (ana,) = site.guests(1)
        session = site.owner.new_session()
        held = ana.hold(session, "A1", "A2", wait=10)
        declined = ana.pay(held.body["id"], token="declined")
        assert (declined.status, declined.body["code"]) == (402, "payment_declined")
        paid = ana.pay(held.body["id"])
        assert paid.status == 200
        assert {ticket["seat"] for ticket in paid.body["sale"]["tickets"]} == {"A1", "A2"}
        assert ana.pay(held.body["id"]).body["code"] == "already_paid"


class TestPaying:
    @pytest.mark.race
    def test_payment_sent_fifty_times_at_once_takes_the_money_once(self, site: Site) -> None:
        ana, *_others = site.guests(2)
        doors = [ApiClient(web.port or 0, ana.token) for web in site.webs]
        for payment_key in ("", "evening"):
            held = ana.hold(site.owner.new_session(), "A1", wait=10).body["id"]
            key = {"Idempotency_Key": payment_key} if payment_key else {}
            body = {"payment": {"method": "fake", "token": "ok"}}
            ask = [
                partial(doors[n % 2].call, "POST", f"/reservations/{held}/pay", body, Prefer="wait=10", **key)
                for n in range(50)
            ]
            answers = race(ask)
            assert set(statuses(answers)) <= {200, 202, 409}
            refused = {answer.body["code"] for answer in answers if isinstance(answer, Answer) and answer.status == 409}
            assert refused <= {"payment_in_progress", "already_paid", "request_in_flight"}
            until(partial(is_confirmed, ana, held), what="the sale")
            assert charges_of(site, held) == [("captured", 2500)]
            if not payment_key:
                assert statuses(answers)[200] + statuses(answers)[202] == 1


def is_confirmed(buyer: ApiClient, reservation: str) -> bool:
    return buyer.status(reservation) == "confirmed"


def charges_of(site: Site, reservation: str) -> list[tuple[str, int]]:
    """Return the gateway's own record of its attempts."""
    query = """
        SELECT charge.status, charge.amount FROM ticketing_sandboxcharge AS charge
        JOIN ticketing_payment AS payment ON payment.id = charge.attempt WHERE payment.reservation_id = %s
    """
    with psycopg.connect(site.database) as connection:
        return connection.execute(query, [reservation]).fetchall()


class TestRush:
    """Run a small version of `python -m bench burst stampede`."""

    def test_rush_of_four_for_each_seat_gives_it_to_the_first_and_allocates_every_202(self, site: Site) -> None:
        buyers = site.guests(32)
        session = site.owner.new_session(rows=8, seats_per_row=8)
        seats = [f"{row}{number}" for row in "ABCDEFGH" for number in range(1, 9)]
        wanted = [seats[37 * number % len(seats)] for number in range(4 * len(seats))]

        def ask(which: int) -> list[Answer]:
            return [buyers[which].hold(session, seat) for seat in wanted[which :: len(buyers)]]

        answers: list[Answer] = []
        for some in race([partial(ask, which) for which in range(len(buyers))]):
            assert isinstance(some, list), some
            answers += some
        assert statuses([*answers]) == {202: len(seats), 409: 3 * len(seats)}
        accepted = [answer.body for answer in answers if answer.status == 202]
        assert sorted(body["seats"][0] for body in accepted) == sorted(seats)
        assert len({body["arrival"] for body in accepted}) == len(accepted)

        def states() -> Counter[str]:
            query = "SELECT status, count(*) FROM reservations_reservation WHERE session_id = %s GROUP BY 1"
            with psycopg.connect(site.database) as connection:
                return Counter(dict(connection.execute(query, [session]).fetchall()))

        until(lambda: states() == {"held": len(seats)}, seconds=8, what="every 202 being allocated")

    def test_rush_of_all_for_the_same_seats_has_one_winner_a_seat(self, site: Site) -> None:
        buyers = site.guests(48)
        session = site.owner.new_session(rows=1, seats_per_row=4)
        answers = race([partial(buyer.hold, session, f"A{1 + n % 4}") for n, buyer in enumerate(buyers)])
        assert statuses(answers) == {202: 4, 409: 44}
        for answer in answers:
            if isinstance(answer, Answer) and answer.status == 409:
                assert [conflict["reason"] for conflict in answer.body["conflicts"]] == ["held"]


class TestKey:
    def test_key_sent_fifty_times_at_once_makes_one_reservation(self, site: Site) -> None:
        (ana,) = site.guests(1)
        doors = [ApiClient(web.port or 0, ana.token) for web in site.webs]
        session = site.owner.new_session()
        key = uuid.uuid4().hex
        answers = race([partial(doors[n % 2].hold, session, "A1", key=key) for n in range(50)])
        assert set(statuses(answers)) <= {202, 409}
        accepted = [answer.body for answer in answers if isinstance(answer, Answer) and answer.status == 202]
        assert accepted
        assert all(body == accepted[0] for body in accepted)
        refused = {answer.body["code"] for answer in answers if isinstance(answer, Answer) and answer.status == 409}
        assert refused <= {"request_in_flight"}
        again = doors[1].hold(session, "A1", key=key)
        assert (again.body, again.headers["idempotent-replayed"]) == (accepted[0], "true")
        until(lambda: allocated(ana, again), what="it being allocated")
        assert len(ana.call("GET", "/reservations").body["results"]) == 1


class TestWorkers:
    def test_workers_alone_allocate_and_may_rest_while_requests_are_accepted(self, site: Site) -> None:
        buyers = site.guests(12)
        session = site.owner.new_session()
        for worker in site.workers:
            worker.pause()
        try:
            answers = [buyer.hold(session, f"A{1 + n % 4}") for n, buyer in enumerate(buyers)]
            accepted = [(buyer, answer) for buyer, answer in zip(buyers, answers, strict=True) if answer.status == 202]
            assert len(accepted) == 4
            if site.wire:  # with the inbox as the queue, the relay drains what no worker does
                time.sleep(1)
                assert [buyer.status(answer.body["id"]) for buyer, answer in accepted] == ["queued"] * 4
        finally:
            for worker in site.workers:
                worker.resume()
        until(
            lambda: all(allocated(buyer, answer) for buyer, answer in accepted), seconds=60, what="all being allocated"
        )
        assert [buyer.status(answer.body["id"]) for buyer, answer in accepted] == ["held"] * 4

    def test_workers_killed_lose_nothing(self, site: Site) -> None:
        buyers = site.guests(8)
        session = site.owner.new_session()
        accepted = []
        for n, buyer in enumerate(buyers):
            accepted.append((buyer, buyer.hold(session, f"{'AB'[n % 2]}{1 + n // 2}")))
            if n == 3:
                for worker in site.workers:
                    worker.kill()
        assert {answer.status for _buyer, answer in accepted} == {202}
        site.workers[:] = [site.processes.worker(), site.processes.worker()]
        until(
            lambda: all(allocated(buyer, answer) for buyer, answer in accepted), seconds=90, what="all being allocated"
        )
        assert {buyer.status(answer.body["id"]) for buyer, answer in accepted} == {"held"}

    def test_workers_killed_while_a_batch_waits_for_a_lock_allocate_all_of_it_or_nothing_and_once(
        self, site: Site
    ) -> None:
        buyers = site.guests(8)
        session = site.owner.new_session()
        with psycopg.connect(site.database) as blocker:
            blocker.execute("SELECT FROM sessions_app_session WHERE id = %s FOR NO KEY UPDATE", [session])
            answers = race([partial(buyer.hold, session, f"A{1 + n % 4}") for n, buyer in enumerate(buyers)])
            assert statuses(answers) == {202: 4, 409: 4}
            until(lambda: site.waiting_for_locks(), seconds=60, what="a batch waiting for the lock")
            for worker in site.workers:
                worker.kill()
            blocker.rollback()
        accepted = [
            (buyer, answer)
            for buyer, answer in zip(buyers, answers, strict=True)
            if isinstance(answer, Answer) and answer.status == 202
        ]
        site.workers[:] = [site.processes.worker(), site.processes.worker()]
        until(
            lambda: all(allocated(buyer, answer) for buyer, answer in accepted), seconds=90, what="all being allocated"
        )
        assert {buyer.status(answer.body["id"]) for buyer, answer in accepted} == {"held"}


@pytest.mark.parametrize("site", [pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True)
class TestBroker:
    def test_broker_cut_off_makes_the_inbox_the_queue_and_loses_nothing(self, site: Site) -> None:
        assert site.wire
        buyers = site.guests(8)
        session = site.owner.new_session()
        accepted = [(buyer, buyer.hold(session, f"A{n + 1}")) for n, buyer in enumerate(buyers[:2])]
        for cut, row in ((site.wire.down, "B"), (site.wire.hole, "C")):
            cut()
            try:
                accepted += [(buyer, buyer.hold(session, f"{row}{n + 1}")) for n, buyer in enumerate(buyers[2:5])]
            finally:
                site.wire.up()
        assert {answer.status for _buyer, answer in accepted} == {202}
        until(
            lambda: all(allocated(buyer, answer) for buyer, answer in accepted), seconds=90, what="all being allocated"
        )
        assert {buyer.status(answer.body["id"]) for buyer, answer in accepted} == {"held"}

    def test_broker_blocked_by_an_alarm_holds_up_neither_the_sale_nor_what_it_took_without_a_word(
        self, site: Site
    ) -> None:
        """Emulate the alarm by a wire that keeps its bytes: a real one would stop every publisher on this machine."""
        assert site.wire
        buyers = site.guests(4)
        session = site.owner.new_session()
        assert [buyer.hold(session, f"D{n + 1}", wait=10).status for n, buyer in enumerate(buyers[:2])] == [201, 201]
        site.wire.freeze()
        try:
            accepted = [(buyer, buyer.hold(session, f"A{n + 1}")) for n, buyer in enumerate(buyers[:2])]
            assert {answer.status for _buyer, answer in accepted} == {202}
            until(lambda: all(allocated(*each) for each in accepted), seconds=60, what="all being allocated")
        finally:
            site.wire.up()
        assert {buyer.status(answer.body["id"]) for buyer, answer in accepted} == {"held"}
        accepted = [(buyer, buyer.hold(session, f"B{n + 1}")) for n, buyer in enumerate(buyers[2:4])]
        until(lambda: all(allocated(*each) for each in accepted), seconds=90, what="the sale going on")
        assert {buyer.status(answer.body["id"]) for buyer, answer in accepted} == {"held"}

    def test_broker_that_is_back_allocates_what_stands_in_the_inbox_before_what_comes_now(self, site: Site) -> None:
        assert site.wire
        ana, bruno, carla = site.guests(6)[
            ::2
        ]  # at one web process: the other's connection broke too, and it would notice first now
        session = site.owner.new_session(rows=10, seats_per_row=10, max_per_buyer=100)
        at_rest = [site.relay, *site.workers]
        for process in at_rest:
            process.pause()
        try:
            site.wire.down()
            early = ana.hold(session, "A1")
            site.wire.up()
            seats = (f"{row}{number}" for row in "BCDEFGHIJ" for number in range(1, 11))
            until(
                lambda: epoch(carla.hold(session, next(seats))) > epoch(early),
                seconds=30,
                every=0.5,
                what="RabbitMQ being used again",
            )
            forget_claim(site, session, "A1")
            late = bruno.hold(session, "A1")
            assert epoch(late) > epoch(early)
            for worker in site.workers:
                worker.resume()
            until(lambda: allocated(ana, early) and allocated(bruno, late), seconds=90, what="both being allocated")
        finally:
            for process in at_rest:
                process.resume()
        assert (ana.status(early.body["id"]), bruno.status(late.body["id"])) == ("held", "rejected")


def epoch(answer: Answer) -> int:
    assert answer.status == 202, answer
    return int(answer.body["arrival"] // EPOCH)


def forget_claim(site: Site, session: str, seat: str) -> None:
    prefix = site.processes.environment["KEY_PREFIX"]
    with redis.Redis.from_url(site.processes.environment["REDIS_URL"]) as client:
        assert client.delete(f"{prefix}:claim:{{{session}}}:{seat}") == 1


class TestRedis:
    def test_redis_away_in_the_middle_of_a_sale_lets_it_go_on_and_sells_no_seat_twice(self, site: Site) -> None:
        seats = [f"{row}{number}" for row in "ABCD" for number in range(1, 5)]
        buyers = site.guests(2 * len(seats))
        session = site.owner.new_session(hold_seconds=120)
        answers: list[tuple[ApiClient, Answer]] = []

        def buy(buyer: ApiClient, seat: str) -> None:
            answers.append((buyer, buyer.hold(session, seat)))

        def some_buy(turn: int) -> None:
            for n in range(turn, len(buyers), 4):
                buy(buyers[n], seats[n % len(seats)])

        def cut_and_mend() -> None:
            until(lambda: len(answers) >= 5, seconds=60, what="some having asked")
            site.redis_wire.down()
            until(lambda: len(answers) >= 20, seconds=60, what="more having asked")
            site.redis_wire.up()

        try:
            runners: list[Callable[[], None]] = [cut_and_mend, *(partial(some_buy, turn) for turn in range(4))]
            assert race(runners) == [None] * len(runners)
        finally:
            site.redis_wire.up()
        assert {answer.status for _buyer, answer in answers} <= {202, 409}
        accepted = [(buyer, answer) for buyer, answer in answers if answer.status == 202]
        until(lambda: all(allocated(*each) for each in accepted), seconds=90, what="all being allocated")
        held = [answer.body["seats"] for buyer, answer in accepted if buyer.status(answer.body["id"]) == "held"]
        assert sorted(held) == sorted([seat] for seat in seats)

    def test_redis_away_leaves_the_decision_to_postgresql(self, site: Site) -> None:
        buyers = site.guests(6)
        session = site.owner.new_session()
        first = buyers[0].hold(session, "A1", wait=10)
        site.redis_wire.down()
        try:
            accepted = [(buyer, buyer.hold(session, f"A{n}")) for n, buyer in enumerate(buyers[1:4], start=1)]
            assert {answer.status for _buyer, answer in accepted} == {202}
            until(
                lambda: all(allocated(buyer, answer) for buyer, answer in accepted),
                seconds=90,
                what="all being allocated",
            )
        finally:
            site.redis_wire.up()
        states = [buyer.status(answer.body["id"]) for buyer, answer in accepted]
        assert states == ["rejected", "held", "held"]  # A1 was taken before
        later = site.owner.new_session(rows=1, seats_per_row=100, max_per_buyer=100)
        seats = iter(range(1, 101))  # a new one each time: a request without Redis is allocated a moment later
        until(
            lambda: buyers[5].hold(later, f"A{next(seats)}", wait=10).status == 201,
            seconds=20,
            every=0.25,
            what="Redis being used again",
        )
        assert all(answer.body["arrival"] > first.body["arrival"] for _buyer, answer in accepted)

    def test_redis_that_forgot_everything_sells_no_seat_twice_and_repeats_no_arrival(self, site: Site) -> None:
        ana, bruno = site.guests(2)
        session = site.owner.new_session()
        held = ana.hold(session, "A1", wait=10)
        with redis.Redis.from_url(site.processes.environment["REDIS_URL"]) as client:
            for name in client.scan_iter(f"{site.processes.environment['KEY_PREFIX']}:*"):
                client.delete(name)
        lost, won = bruno.hold(session, "A1"), bruno.hold(session, "A2")
        assert (lost.status, won.status) == (202, 202)
        assert held.body["arrival"] < lost.body["arrival"] < won.body["arrival"]
        until(lambda: allocated(bruno, lost) and allocated(bruno, won), seconds=60, what="both being allocated")
        assert bruno.call("GET", f"/reservations/{lost.body['id']}").body["conflicts"] == [
            {"seat": "A1", "reason": "held"}
        ]
        assert bruno.status(won.body["id"]) == "held"


class TestWeb:
    def test_web_killed_gives_the_same_answer_to_the_same_key_afterwards(self, site: Site) -> None:
        (ana,) = site.guests(1)
        session = site.owner.new_session()
        first = ana.hold(session, "A1", key="evening")
        web = next(web for web in site.webs if web.port == ana.port)
        web.kill()
        site.webs[site.webs.index(web)] = again = site.processes.web(port=web.port)
        site.processes.wait_until_ready(again)
        replay = ana.hold(session, "A1", key="evening")
        assert (replay.status, replay.body) == (first.status, first.body)


class TestOrderOfArrival:
    """Check that the first request is served first, though workers die with messages."""

    PLACES = 10

    @pytest.mark.parametrize("in_turns", [False, True], ids=["plain", "by_way_of_the_inbox"])
    def test_order_of_arrival_decides_who_wins_whatever_dies(self, site: Site, in_turns: bool) -> None:
        buyers = [
            ApiClient(site.webs[0].port or 0).guest() for _buyer in range(16)
        ]  # at one web process, which publishes in order
        session = site.owner.new_session(rows=2, seats_per_row=5, hold_seconds=300)
        if in_turns:
            set_rate(site, session, 1_000)
        with psycopg.connect(site.database) as blocker:
            blocker.execute("SELECT FROM sessions_app_session WHERE id = %s FOR NO KEY UPDATE", [session])
            early = race([partial(ask_for_the_best, buyer, session) for buyer in buyers[:8]])
            until(lambda: site.waiting_for_locks(), seconds=60, what="a batch waiting for the lock")
            for worker in site.workers:
                worker.kill()
            blocker.rollback()
        late = race([partial(ask_for_the_best, buyer, session) for buyer in buyers[8:]])
        site.workers[:] = [site.processes.worker(), site.processes.worker()]
        assert statuses([*early, *late]) == {202: len(buyers)}
        asked = {
            answer.body["id"]: (buyer, answer)
            for buyer, answer in zip(buyers, [*early, *late], strict=True)
            if isinstance(answer, Answer)
        }
        until(lambda: all(allocated(*each) for each in asked.values()), seconds=90, what="all being allocated")
        in_epochs: dict[int, list[str]] = defaultdict(list)  # no order is promised across epochs; usually there is one
        for buyer, answer in sorted(asked.values(), key=lambda each: int(each[1].body["arrival"])):
            in_epochs[epoch(answer)].append(buyer.status(answer.body["id"]))
        assert [status for statuses_ in in_epochs.values() for status in statuses_].count("held") == self.PLACES
        for outcomes in in_epochs.values():
            assert outcomes == sorted(outcomes), "somebody was overtaken"  # held before rejected


def ask_for_the_best(buyer: ApiClient, session: str) -> Answer:
    return buyer.hold(session, best_available={"quantity": 1})


def set_rate(site: Site, session: str, rate: int) -> None:
    with psycopg.connect(site.database) as connection:
        connection.execute("UPDATE sessions_app_session SET settle_rate = %s WHERE id = %s", [rate, session])
