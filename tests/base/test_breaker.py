import threading

import pytest

from base import breaker as module
from base.breaker import Breaker, BreakerOpen
from tests.processes import until


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
    def test_breaker_spares_the_next_callers_the_timeout(self, breaker: Breaker) -> None:
        fail(breaker)
        with pytest.raises(BreakerOpen), breaker:
            pass

    def test_breaker_lets_one_caller_try_again_after_a_pause(self, breaker: Breaker, clock: Clock) -> None:
        fail(breaker)
        clock.now += 1
        with breaker, pytest.raises(BreakerOpen), breaker:
            pass
        with breaker:
            pass
        assert not breaker.is_open

    def test_breaker_doubles_the_pause_while_it_keeps_failing(self, breaker: Breaker, clock: Clock) -> None:
        fail(breaker)
        clock.now += 1
        fail(breaker)
        clock.now += 1.5
        with pytest.raises(BreakerOpen), breaker:
            pass

    def test_breaker_minds_only_its_own_errors(self, breaker: Breaker) -> None:
        with pytest.raises(ValueError, match="mine"), breaker:
            raise ValueError("mine")
        with breaker:
            pass


class Dependency:
    """Count its callers by thread; `away` makes it fail."""

    def __init__(self) -> None:
        self.away = True
        self.touched: list[str] = []

    def touch(self) -> None:
        self.touched.append(threading.current_thread().name)
        if self.away:
            raise OSError("gone")


class TestProber:
    @pytest.fixture
    def dependency(self) -> Dependency:
        return Dependency()

    @pytest.fixture
    def probed(self, dependency: Dependency) -> Breaker:
        return Breaker("test", errors=(OSError,), probe=dependency.touch)

    def test_only_the_prober_calls_the_dependency_until_it_is_back(
        self, dependency: Dependency, probed: Breaker
    ) -> None:
        with pytest.raises(OSError, match="gone"), probed:
            dependency.touch()
        until(lambda: len(dependency.touched) >= 3, what="two probes")
        with pytest.raises(BreakerOpen), probed:
            dependency.touch()
        assert probed.is_open
        dependency.away = False
        until(lambda: not probed.is_open, what="the breaker closing")
        assert set(dependency.touched[1:]) == {"probe-test"}
        with probed:
            dependency.touch()

    def test_prober_is_sent_again_when_it_fails_again(self, dependency: Dependency, probed: Breaker) -> None:
        for _time in range(2):
            dependency.away = True
            with pytest.raises(OSError, match="gone"), probed:
                dependency.touch()
            dependency.away = False
            until(lambda: not probed.is_open, what="the breaker closing")

    def test_only_the_prober_closes_it_even_if_an_earlier_call_succeeds(
        self, dependency: Dependency, probed: Breaker
    ) -> None:
        with probed, pytest.raises(OSError, match="gone"), probed:
            dependency.touch()
        assert probed.is_open

    def test_prober_that_is_mistaken_tries_again(self, dependency: Dependency) -> None:
        mistakes = [ValueError("a fault of ours")]

        def probe() -> None:
            if mistakes:
                raise mistakes.pop()

        probed = Breaker("test", errors=(OSError,), probe=probe)
        with pytest.raises(OSError, match="gone"), probed:
            dependency.touch()
        until(lambda: not probed.is_open, what="the breaker closing")

    def test_prober_of_a_forked_process_is_its_own(self, dependency: Dependency, probed: Breaker) -> None:
        with pytest.raises(OSError, match="gone"), probed:
            dependency.touch()
        probed._prober = threading.Thread()  # noqa: SLF001 as a child finds its parent's: not alive
        dependency.away = False
        until(lambda: not probed.is_open, what="the breaker closing")
