"""Export a process's counters to Prometheus, and whether it reaches its dependencies."""

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
    """A collector that looks when Prometheus asks. It never hangs or fails: it leaves out figures without an answer."""

    def describe(self) -> Iterable[Metric]:
        """Name nothing at registration: finding the names out would mean asking."""
        return []


class Checks(Looked):
    """Report whether this process reaches its dependencies."""

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
    """Return the bytes that are left, if known; a shortage carries them as well."""
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
    """Return the registry of a web process: the figures of all its siblings, if any, and of these collectors."""
    found = CollectorRegistry(auto_describe=False)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(found)  # type: ignore[no-untyped-call] # registers itself
    else:
        found.register(Everything())
    for collector in collectors:
        found.register(collector)
    return found


class Everything(Looked):
    """Export everything that this process has counted."""

    def collect(self) -> Iterable[Metric]:
        return REGISTRY.collect()
