"""Passwords are hashed in turns. See Note [Hashing in turns] in `ticketing/people/hashing.py`."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.test import Client
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from tests.api import assert_problem, post
from ticketing.people import hashing
from ticketing.people.hashing import HashingBusy, TurnsHasher


@pytest.fixture
def _in_turns(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is set outside of tests, with a quick hash."""
    settings.PASSWORD_HASHERS = ["ticketing.people.hashing.TurnsHasher"]
    monkeypatch.setattr(TurnsHasher, "iterations", 10)


@pytest.fixture
def _busy(_in_turns: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "waiting", threading.BoundedSemaphore(1))
    hashing.waiting.acquire()


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


@pytest.mark.usefixtures("_in_turns")
def test_a_few_wait_and_the_next_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", lambda *_arguments: str(over.wait(10)))
    with ThreadPoolExecutor(hashing.WAITING) as threads:
        waiting = [threads.submit(TurnsHasher().encode, "secret", "salt") for _one in range(hashing.WAITING)]
        while hashing.waiting.acquire(blocking=False):
            hashing.waiting.release()
            over.wait(0.01)
        with pytest.raises(HashingBusy):
            TurnsHasher().encode("secret", "salt")
        over.set()
        assert {one.result(timeout=10) for one in waiting} == {"True"}
    assert TurnsHasher().encode("secret", "salt") == "True"


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
