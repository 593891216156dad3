"""Check that passwords are hashed in turns. See Note [Hashing in turns] in `ticketing/people/hashing.py`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.db import connection
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from base import addresses
from tests.api import assert_problem, post
from tests.factories import UserFactory
from tests.processes import until
from ticketing.models import User
from ticketing.people import hashing
from ticketing.people.hashing import HashingBusy, TurnsHasher

real_encode = PBKDF2PasswordHasher.encode


@pytest.fixture
def _in_turns(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the hasher of production, with a quick hash."""
    settings.PASSWORD_HASHERS = ["ticketing.people.hashing.TurnsHasher"]
    monkeypatch.setattr(TurnsHasher, "iterations", 10)


@pytest.fixture
def _busy(_in_turns: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "WAITING", 0)


def test_a_hash_is_djangos_own() -> None:
    assert TurnsHasher().encode("secret", "salt", 10) == PBKDF2PasswordHasher().encode("secret", "salt", 10)


@pytest.mark.usefixtures("_in_turns")
def test_a_password_is_known_again() -> None:
    assert check_password("secret", make_password("secret"))
    assert not check_password("another", make_password("secret"))


@pytest.mark.usefixtures("_in_turns")
def test_the_hashing_thread_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def encode(*_arguments: object) -> str:
        seen.append((threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        return "hash"

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", encode)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert TurnsHasher().encode("secret", "salt") == "hash"
    assert seen == [("hashing_0", min(19, own + hashing.NICENESS))]


@pytest.fixture
def slow(_in_turns: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """Hash as slowly as the test says."""
    made = Slow()
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", lambda *words: made.encode(*words))
    yield made
    made.go_on()


class Slow:
    def __init__(self) -> None:
        self.hashed: list[str] = []
        self._may_end = threading.Semaphore(0)

    def encode(self, _hasher: object, password: str, salt: str, _iterations: object = None) -> str:
        """Wait for the test, which tells by the password whose turn it is."""
        self.hashed.append(password)
        self._may_end.acquire(timeout=20)
        return real_encode(PBKDF2PasswordHasher(), password, salt, 10)

    def end_one(self) -> None:
        self._may_end.release()

    def go_on(self) -> None:
        self._may_end.release(1_000)


def sign_in(address: str, password: str = "secret") -> str:
    """Hash as a request from this address does."""
    with addresses.answering(RequestFactory().post("/sign-in", REMOTE_ADDR=address)):
        return TurnsHasher().encode(password, "salt")


def wait_until_waiting(number: int) -> None:
    until(lambda: len(hashing.queue) == number, seconds=10, what=f"{number} waiting")


def test_a_few_wait_and_the_next_is_sent_away(slow: Slow) -> None:
    with ThreadPoolExecutor(hashing.WAITING) as threads:
        waiting = [threads.submit(sign_in, f"192.0.2.{number}") for number in range(hashing.WAITING)]
        wait_until_waiting(hashing.WAITING)
        with pytest.raises(HashingBusy):
            sign_in("192.0.2.200")
        slow.go_on()
        assert [check_password("secret", one.result(timeout=10)) for one in waiting] == [True] * hashing.WAITING
    assert sign_in("192.0.2.200")
    assert len(hashing.queue) == 0


def test_an_address_fills_its_share_of_the_places_and_no_other(slow: Slow) -> None:
    with ThreadPoolExecutor(hashing.WAITING) as threads:
        flood = [threads.submit(sign_in, "192.0.2.3") for _one in range(hashing.OF_AN_ADDRESS)]
        wait_until_waiting(hashing.OF_AN_ADDRESS)
        for _one in range(20):
            with pytest.raises(HashingBusy):
                sign_in("192.0.2.3")
        ana = threads.submit(sign_in, "192.0.2.1", "ana's")
        wait_until_waiting(hashing.OF_AN_ADDRESS + 1)
        slow.go_on()
        assert check_password("ana's", ana.result(timeout=10))
        assert all(one.result(timeout=10) for one in flood)


def test_a_flood_from_one_address_costs_the_others_one_hash(slow: Slow) -> None:
    with ThreadPoolExecutor(hashing.WAITING) as threads:
        flood = [threads.submit(sign_in, "2001:db8::1:1", "flood") for _one in range(hashing.OF_AN_ADDRESS)]
        wait_until_waiting(hashing.OF_AN_ADDRESS)
        until(lambda: slow.hashed == ["flood"], seconds=10, what="the flood having begun")
        staff = threads.submit(sign_in, "2001:db8:0:1::1", "staff's")
        wait_until_waiting(hashing.OF_AN_ADDRESS + 1)
        slow.end_one()
        until(lambda: len(slow.hashed) == 2, seconds=10, what="the next turn")
        slow.end_one()
        assert staff.result(timeout=10)
        slow.go_on()
    assert slow.hashed == ["flood", "staff's", *["flood"] * (len(flood) - 1)]


@pytest.mark.usefixtures("_in_turns")
def test_a_turn_that_does_not_come_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, over = threading.Event(), threading.Event()

    def encode(*_arguments: object) -> str:
        begun.set()
        return str(over.wait(10))

    monkeypatch.setattr(hashing, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", encode)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(TurnsHasher().encode, "secret", "salt")
        assert begun.wait(10)
        with pytest.raises(HashingBusy):
            TurnsHasher().encode("secret", "salt")
        over.set()
        assert first.result(timeout=10) == "True"


@pytest.mark.usefixtures("_in_turns")
def test_a_hash_whose_turn_came_ends_however_busy_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*_arguments: object) -> str:
        threading.Event().wait(0.3)
        return "hash"

    monkeypatch.setattr(hashing, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", encode)
    assert TurnsHasher().encode("secret", "salt") == "hash"
    monkeypatch.undo()
    assert TurnsHasher().encode("secret", "salt", 10)


@pytest.mark.django_db
@pytest.mark.usefixtures("_busy")
def test_an_answer_says_that_many_sign_in() -> None:
    refused = post(APIClient(), "/auth/token", {"username": "nobody", "password": "secret"})
    assert_problem(refused, 503, "unavailable")
    assert refused["Retry-After"] == "1"
    page = Client(raise_request_exception=False).post("/sign-in", {"username": "nobody", "password": "secret"})
    assert (page.status_code, page["Retry-After"]) == (503, "1")


@pytest.fixture
def gate(_in_turns: None, transactional_db: None) -> User:
    made: User = UserFactory.create(username="gate", is_staff=True, password="frontrow-demo")
    return made


def guess() -> int:
    try:
        said = {"username": "nobody", "password": "secret"}
        return int(post(APIClient(REMOTE_ADDR="192.0.2.3"), "/auth/token", said).status_code)
    finally:
        connection.close()


def sign_in_to_the_admin() -> int:
    try:
        said = {"username": "gate", "password": "frontrow-demo"}
        return int(Client(REMOTE_ADDR="192.0.2.1").post("/admin/login/?next=/admin/", said).status_code)
    finally:
        connection.close()


@pytest.mark.usefixtures("gate")
def test_staff_signs_in_while_one_address_guesses(slow: Slow) -> None:
    with ThreadPoolExecutor(12) as threads:
        guesses = [threads.submit(guess) for _one in range(11)]
        sent_away = 11 - hashing.OF_AN_ADDRESS
        until(lambda: sum(one.done() for one in guesses) == sent_away, seconds=20, what="the share being full")
        assert {one.result() for one in guesses if one.done()} == {503}
        staff = threads.submit(sign_in_to_the_admin)
        wait_until_waiting(hashing.OF_AN_ADDRESS + 1)
        slow.go_on()
        assert staff.result(timeout=20) == 302
