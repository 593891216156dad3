"""Workers, beat and relay report that they do their work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.test import override_settings

from base.breaker import Breaker
from reservations.claims import claims, keys
from reservations.queueing import liveness
from reservations.queueing.liveness import KEPT_MS, Part


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with redis.Redis(port=1, socket_connect_timeout=0.2) as nowhere:
        monkeypatch.setattr(claims, "client", lambda: nowhere)
        monkeypatch.setattr(claims, "breaker", Breaker("redis", errors=(redis.ConnectionError,)))
        yield


def age(word: str, *, seconds: float) -> None:
    """Make a report this old."""
    claims.client().pexpire(keys.key("alive", word), KEPT_MS - int(seconds * 1000))


class TestAges:
    def test_are_none_before_the_first_word(self) -> None:
        assert liveness.ages() == {"worker": None, "payments": None, "jobs": None, "beat": None, "relay": None}
        assert liveness.silent() == ["worker", "payments", "jobs", "beat", "relay"]

    def test_begin_with_each_word(self) -> None:
        liveness.consumes(["holds.0", "payments", "housekeeping", "mail"])
        liveness.worked("beat")
        liveness.worked("relay")
        assert all(found is not None and found < 1 for found in liveness.ages().values())
        assert liveness.silent() == []

    def test_are_those_of_the_oldest_queue_of_a_kind(self) -> None:
        liveness.consumes(["housekeeping", "mail"])
        age("consumes:mail", seconds=30)
        assert liveness.ages()["jobs"] == pytest.approx(30, abs=1)
        assert liveness.queue_ages()["mail"] == pytest.approx(30, abs=1)

    @pytest.mark.parametrize(("part", "seconds"), [("worker", 2), ("beat", 5), ("relay", 5)])
    def test_count_as_silence_beyond_the_limit(self, part: Part, seconds: int) -> None:
        words = {"worker": "consumes:holds.0", "beat": "worked:beat", "relay": "worked:relay"}
        liveness.consumes(["holds.0"])
        liveness.worked("beat")
        liveness.worked("relay")
        age(words[part], seconds=seconds - 0.9)
        assert part not in liveness.silent()
        age(words[part], seconds=seconds + 0.1)
        assert part in liveness.silent()

    @override_settings(SHARDS=2)
    def test_show_a_shard_without_a_worker(self) -> None:
        liveness.consumes(["holds.0"])
        assert "worker" in liveness.silent()
        liveness.consumes(["holds.1"])
        assert "worker" not in liveness.silent()

    @pytest.mark.usefixtures("no_redis")
    def test_are_unknown_without_redis(self) -> None:
        with pytest.raises(claims.NoClaims):
            liveness.silent()
        with pytest.raises(claims.NoClaims):
            liveness.silent(claims.client())


class TestIsAlive:
    def test_follows_the_words(self) -> None:
        assert not liveness.is_alive("worker")
        liveness.forget()
        liveness.consumes(["holds.0"])
        assert liveness.is_alive("worker")
        assert not liveness.is_alive("payments")

    @pytest.mark.usefixtures("no_redis")
    def test_is_false_without_redis(self) -> None:
        assert not liveness.is_alive("worker")


class TestWord:
    def test_is_given_at_most_twice_a_second(self) -> None:
        liveness.worked("beat")
        claims.client().delete(keys.key("alive", "worked:beat"))
        liveness.worked("beat")
        assert liveness.ages()["beat"] is None

    @pytest.mark.usefixtures("no_redis")
    def test_is_no_error_without_redis(self) -> None:
        liveness.worked("beat")
