"""One rule of token buckets, in Python and in Lua."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.rates import token_bucket
from base.rates.token_bucket import LUA, MICROSECONDS, Buckets, cost_of, left, take
from reservations.claims import claims
from reservations.claims.pace import Gate

TODAY = 1_790_000_000_000_000  # microseconds, as clocks have them
AS_NUMBERS = f"""{LUA}
local full_at, wait = take_tokens(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
return {{string.format('%.0f', full_at), string.format('%.0f', wait)}}
"""
MOMENTS = st.integers(TODAY - 10 * MICROSECONDS, TODAY + 10 * MICROSECONDS)


class TestTake:
    @settings(max_examples=200, deadline=None)
    @given(full_at=MOMENTS | st.just(0), now=MOMENTS, cost=st.integers(1, 10**9), capacity=st.integers(0, 10**10))
    def test_is_the_same_in_lua(self, full_at: int, now: int, cost: int, capacity: int) -> None:
        said = claims.client().eval(AS_NUMBERS, 0, full_at, now, cost, capacity)
        assert tuple(map(int, said)) == take(full_at, now, cost=cost, capacity=capacity)

    def test_in_lua_begins_full(self) -> None:
        nothing = AS_NUMBERS.replace("ARGV[1]", "redis.call('GET', KEYS[1])")
        said = claims.client().eval(nothing, 1, f"frontrow:no-such-bucket:{uuid.uuid4()}", "", TODAY, 5, 10)
        assert tuple(map(int, said)) == take(0, TODAY, cost=5, capacity=10) == (TODAY + 5, 0)

    def test_a_full_bucket_gives_its_capacity_and_then_one_after_the_other(self) -> None:
        full_at, waits = 0, []
        for _token in range(4):
            after, wait = take(full_at, TODAY, cost=10, capacity=30)
            full_at = full_at if wait else after
            waits.append(wait)
        assert waits == [0, 0, 0, 10]
        assert take(full_at, TODAY + 9, cost=10, capacity=30).wait == 1
        assert take(full_at, TODAY + 10, cost=10, capacity=30).wait == 0

    @given(rate=st.integers(1, 100_000), taken=st.integers(0, 3_000), later=st.integers(0, 2 * MICROSECONDS))
    def test_as_many_are_left_as_can_be_taken(self, rate: int, taken: int, later: int) -> None:
        full_at, now = TODAY + cost_of(taken, rate=rate), TODAY + later
        most = left(full_at, now, rate=rate, capacity=MICROSECONDS)
        waits = [take(full_at, now, cost=cost_of(n, rate=rate), capacity=MICROSECONDS).wait for n in (most, most + 1)]
        assert most == 0 or waits[0] == 0
        assert waits[1] > 0


class TestBuckets:
    @pytest.mark.parametrize("cost", [1, 1_000_000_000])
    def test_have_an_end_whether_or_not_they_are_full_again(self, cost: int) -> None:
        buckets = Buckets(most=100)
        for number in range(1_000):
            assert not buckets.take(number, TODAY + number * 10, cost=cost, capacity=5 * cost)
        assert len(buckets._full_at) <= 100  # noqa: SLF001

    def test_forget_no_empty_one_while_there_are_full_ones(self) -> None:
        buckets = Buckets(most=10)
        buckets.take("empty", TODAY, cost=MICROSECONDS, capacity=MICROSECONDS)
        for number in range(100):
            buckets.take(number, TODAY + number * 10, cost=1, capacity=1)
        assert buckets.take("empty", TODAY + 1_000, cost=MICROSECONDS, capacity=MICROSECONDS) > 0

    def test_of_the_gate_let_in_the_rate_and_no_more(self) -> None:
        gate, session = Gate(), uuid.uuid4()
        passed = [gate.lets_in(session, 5, now=100 + tenth / 10) for tenth in range(30)]
        assert sum(passed) in range(19, 21)  # five at once, and five a second
        assert gate.lets_in(session, None, now=100.0)
        assert gate.lets_in(uuid.uuid4(), 5, now=100.0)


def test_scripts_that_take_tokens_have_no_rule_of_their_own() -> None:
    for script in (token_bucket.LUA, claims.script("admit").script):
        assert script.count("local function take_tokens") == 1
