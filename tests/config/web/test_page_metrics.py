"""Check what django-prometheus counts: page requests, statements, the cache, but no series that strangers choose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import DataError, connection
from django.test import Client
from django.urls import reverse
from prometheus_client import REGISTRY

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[3]
ANSWERS = "django_http_responses_total_by_status_view_method_total"


def counted(name: str, **labels: str) -> float:
    """Return the sum over all series with these labels."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def methods() -> set[str]:
    return {
        sample.labels["method"]
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if "method" in sample.labels
    }


def test_a_page_is_counted_by_its_view() -> None:
    before = counted(ANSWERS, view="sign-in", method="GET", status="200")
    assert Client().get(reverse("sign-in")).status_code == 200
    assert counted(ANSWERS, view="sign-in", method="GET", status="200") == before + 1
    assert counted("django_http_requests_latency_seconds_by_view_method_count", view="sign-in", method="GET") > 0


def test_the_api_is_not_counted_twice() -> None:
    before = counted(ANSWERS), counted("django_http_requests_total_by_view_transport_method_total")
    assert Client().get("/api/v1/sessions").status_code == 200
    assert Client().get("/api/v1/me").status_code == 401
    assert (counted(ANSWERS), counted("django_http_requests_total_by_view_transport_method_total")) == before


def test_an_unknown_method_makes_no_series() -> None:
    assert Client().generic("BREW", "/").status_code == 405
    assert "BREW" not in methods()


@pytest.mark.parametrize("length", ["x", "-1", "٣", "1.5"])
def test_a_length_that_is_no_number_is_no_fault_of_ours(length: str) -> None:
    assert Client().get(reverse("sign-in"), CONTENT_LENGTH=length).status_code < 500


def test_statements_are_counted_and_connections_still_come_from_the_pool() -> None:
    with connection.cursor() as cursor:  # a new connection's settings may be an execution before it
        before = counted("django_db_execute_total", alias="default"), counted("django_db_query_duration_seconds_count")
        cursor.execute("SELECT 1")
        after = counted("django_db_execute_total", alias="default"), counted("django_db_query_duration_seconds_count")
    assert after == (before[0] + 1, before[1] + 1)
    assert connection.pool is not None  # type: ignore[attr-defined] # of PostgreSQL's wrapper
    assert connection.pool.max_size == settings.DB_POOL_SIZE  # type: ignore[attr-defined]


def test_the_cache_counts_what_it_had() -> None:
    before = counted("django_cache_get_hits_total"), counted("django_cache_get_misses_total")
    cache.set("seen", {"before": True}, timeout=5)
    assert cache.get("seen") == {"before": True}
    assert cache.get("never seen") is None
    assert (counted("django_cache_get_hits_total"), counted("django_cache_get_misses_total")) == (
        before[0] + 1,
        before[1] + 1,
    )
    cache.delete("seen")


@pytest.mark.parametrize("document", ["deploy/grafana/dashboards/frontrow.json", "docs/operator.md"])
def test_what_is_shown_of_them_is_counted(document: str) -> None:
    known = {sample.name for metric in REGISTRY.collect() for sample in metric.samples}
    families = {metric.name for metric in REGISTRY.collect()}
    shown = set(re.findall(r"\bdjango_(?:http|db|cache)_\w+", (ROOT / document).read_text()))
    missing = {
        name
        for name in shown
        if not {name, name.removesuffix("_total"), name.removesuffix("_bucket")} & (known | families)
    }
    assert len(shown) > 3
    assert missing == set()


def test_prometheus_is_told_all_of_it() -> None:
    told = Client().get("/metrics").content.decode()
    for name in (
        "django_http_requests_latency_seconds_by_view_method",
        "django_db_execute_total",
        "django_cache_get_total",
    ):
        assert f"# TYPE {name} " in told


def test_a_statement_that_fails_is_counted_by_its_error() -> None:
    before = counted("django_db_errors_total", type="DivisionByZero")
    with pytest.raises(DataError), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    assert counted("django_db_errors_total", type="DivisionByZero") == before + 1


def test_rows_that_go_together_are_counted_one_by_one() -> None:
    before = counted("django_db_execute_many_total")
    with connection.cursor() as cursor:
        cursor.executemany("SELECT %s::int", [(number,) for number in range(3)])
    assert counted("django_db_execute_many_total") == before + 3
