"""How a process tells Prometheus about itself: its counters, and whether it reaches what it needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from base.examination import Check, Examination, Found
from reservations import checks

Figures = dict[tuple[str, ...], float]  # by the values of a metric's labels


class Looked(Collector):
    """A collector that asks when Prometheus does. It never hangs or fails: what has no answer is left out, and said to be gone."""

    def describe(self) -> Iterable[Metric]:
        """Name nothing at registration: finding the names out would mean asking."""
        return []


class Checks(Looked):
    """Whether this process reaches what it needs."""

    def __init__(self, looked_at: Mapping[str, Check]) -> None:
        self.examination = Examination(looked_at)

    def collect(self) -> Iterable[Metric]:
        found = self.examination.results()
        yield gauge(
            "frontrow_check_ok",
            "1 if this process finds the dependency healthy, 0 if not.",
            ["check"],
            {(name,): found[name].error is None for name in found},
        )
        yield gauge(
            "frontrow_check_seconds",
            "Seconds that the check took.",
            ["check"],
            {(name,): found[name].milliseconds / 1000 for name in found},
        )
        for name in found.keys() & checks.MACHINE.keys():
            yield gauge(
                f"frontrow_{name}_available_bytes",
                f"What is left of the machine's {name}.",
                [],
                _available(found[name]),
            )


def _available(found: Found) -> Figures:
    """What is known of it; a shortage tells how much is left as well."""
    left = found.error.args[0] if found.error and found.error.args else (found.value or {}).get("available_bytes")
    return {(): float(left)} if isinstance(left, int) else {}


def gauge(name: str, says: str, labels: list[str], figures: Mapping[tuple[str, ...], float]) -> Metric:
    metric = Metric(name, says, "gauge")
    for values, figure in figures.items():
        metric.add_sample(name, dict(zip(labels, values, strict=True)), float(figure))
    return metric


def serve(port: int, *collectors: Collector) -> None:
    """Answer Prometheus on a port of its own, a thread for each scrape."""
    REGISTRY.register(Checks(checks.DEPENDENCIES | checks.MACHINE))
    for collector in collectors:
        REGISTRY.register(collector)
    start_http_server(port)


def registry(*collectors: Collector) -> CollectorRegistry:
    """Return what a web process exports: of all its siblings where it has any, and what these collectors tell."""
    found = CollectorRegistry(auto_describe=False)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(found)  # type: ignore[no-untyped-call] # registers itself
    else:
        found.register(Everything())
    for collector in collectors:
        found.register(collector)
    return found


class Everything(Looked):
    """What this process has counted."""

    def collect(self) -> Iterable[Metric]:
        return REGISTRY.collect()
