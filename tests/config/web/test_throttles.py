"""Check limits of an address and a buyer, with Redis and without."""

from __future__ import annotations

import uuid
from uuid import UUID

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from base.breaker import BreakerOpen
from config.web import cache as shared
from config.web import throttles
from config.web.throttles import Bucket, take
from tests.api import assert_problem, client_of, get, post


def bucket(*, rate: float = 1, burst: int = 3) -> Bucket:
    return Bucket(f"frontrow-test:limit:{uuid.uuid4()}", rate, burst)


@pytest.fixture
def _without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> float:
        raise BreakerOpen

    monkeypatch.setattr(throttles, "_take_shared", fail)


class TestBucket:
    def test_bucket_gives_its_burst_and_then_says_how_long_to_wait(self) -> None:
        one = bucket(rate=2, burst=3)
        assert [take([one]) for _token in range(3)] == [0, 0, 0]
        assert 0 < take([one]) <= 0.5

    def test_bucket_gets_a_token_back_with_time(self) -> None:
        one = bucket(rate=1000, burst=1)
        take([one])
        wait = take([one])
        while take([one]):
            assert wait <= 0.001

    def test_bucket_is_one_for_all_processes(self) -> None:
        one = bucket()
        take([one])
        assert shared.client().pttl(one.key) > 0

    def test_an_empty_bucket_of_two_makes_its_client_wait(self) -> None:
        assert take([bucket(burst=1), bucket(burst=9)]) == 0
        empty = bucket(burst=1)
        take([empty])
        assert take([bucket(burst=9), empty]) > 0

    @pytest.mark.usefixtures("_without_redis")
    def test_bucket_is_the_processes_own_while_redis_is_away(self) -> None:
        one = bucket(burst=2)
        assert [take([one]) for _token in range(2)] == [0, 0]
        assert take([one]) > 0


@pytest.fixture
def limits(settings: LazySettings) -> LazySettings:
    settings.RATE_LIMITS = True
    settings.LIMITS = {
        "read": {"address": (0.01, 3), "buyer": (0.01, 2)},
        "write": {"address": (0.01, 9), "buyer": (0.01, 1)},
        "guest": {"address": (0.01, 2)},
        "credentials": {"address": (0.01, 1)},
        "codes": {"address": (0.01, 3), "buyer": (0.01, 2)},
    }
    return settings


@pytest.mark.django_db
@pytest.mark.usefixtures("limits")
class TestLimits:
    def test_limits_stop_a_buyer(self, ana: UUID) -> None:
        assert [get(client_of(ana), "/reservations").status_code for _call in range(2)] == [200, 200]
        response = get(client_of(ana), "/reservations")
        assert_problem(response, 429, "rate_limited")
        assert int(response["Retry-After"]) > 0

    def test_limits_stop_an_address_whichever_buyer_asks(self) -> None:
        answers = [get(client_of(uuid.uuid4()), "/reservations").status_code for _buyer in range(4)]
        assert answers == [200, 200, 200, 429]

    def test_limits_are_one_for_a_64_of_ipv6(self) -> None:
        answers = [
            APIClient(REMOTE_ADDR=f"2001:db8:1:{net}::{number}").post("/api/v1/auth/guest").status_code
            for net, number in ((1, 1), (1, 2), (1, 3), (2, 1))
        ]
        assert answers == [201, 201, 429, 201]

    def test_limits_are_not_shifted_by_a_header_of_the_client(self) -> None:
        answers = [
            APIClient().post("/api/v1/auth/guest", headers={"x-forwarded-for": f"198.51.100.{number}"}).status_code
            for number in range(3)
        ]
        assert answers == [201, 201, 429]

    def test_limits_know_reading_from_writing(self, ana: UUID) -> None:
        for _call in range(3):
            get(client_of(ana), "/reservations")
        assert_problem(post(client_of(ana), "/reservations", {}), 400, "invalid")
        assert_problem(post(client_of(ana), "/reservations", {}), 429, "rate_limited")

    def test_limits_are_off_for_load_tests(self, ana: UUID, limits: LazySettings) -> None:
        limits.RATE_LIMITS = False
        assert {get(client_of(ana), "/reservations").status_code for _call in range(9)} == {200}
