import pytest

from reservations import breaker as module
from reservations.breaker import Breaker, BreakerOpen


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("test", errors=(OSError,), cool_seconds=1)


def fail(breaker: Breaker) -> None:
    with pytest.raises(OSError, match="gone"), breaker:
        raise OSError("gone")


class TestBreaker:
    def test_spares_the_next_callers_the_timeout(self, breaker: Breaker) -> None:
        fail(breaker)
        with pytest.raises(BreakerOpen), breaker:
            pass

    def test_lets_one_caller_try_again_after_a_pause(self, breaker: Breaker, clock: Clock) -> None:
        fail(breaker)
        clock.now += 1
        with breaker, pytest.raises(BreakerOpen), breaker:
            pass
        with breaker:
            pass
        assert not breaker.is_open

    def test_doubles_the_pause_while_it_keeps_failing(self, breaker: Breaker, clock: Clock) -> None:
        fail(breaker)
        clock.now += 1
        fail(breaker)
        clock.now += 1.5
        with pytest.raises(BreakerOpen), breaker:
            pass

    def test_minds_only_its_own_errors(self, breaker: Breaker) -> None:
        with pytest.raises(ValueError, match="mine"), breaker:
            raise ValueError("mine")
        with breaker:
            pass
