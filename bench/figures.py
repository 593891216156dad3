"""Hold what was measured: medians of the runs, the values of limit and usual way, and what must be reached."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Seconds = Mapping[str, float]  # processor seconds by process


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of them do not exceed. Raises: ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Describe a number that a measurement finds.

    The last five fields are bounds that must be reached if they are set.
    """

    name: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    of_limit: float | None = None
    times_limit: float | None = None
    times_usual: float | None = None

    @property
    def must(self) -> str:
        bounds = {
            "≥ {:,g}": self.at_least,
            "≤ {:,g}": self.at_most,
            "≥ {:g} of limit": self.of_limit,
            "≤ {:g} times limit": self.times_limit,
            "≥ {:g} times usual": self.times_usual,
        }
        return ", ".join(words.format(bound) for words, bound in bounds.items() if bound is not None)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Hold one run: its figures by name, and its cost.

    `memory` is in megabytes of a process at the start, in the middle and at the end.
    """

    values: Mapping[str, float]
    cpu: Seconds
    memory: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Measurement:
    """Hold a figure's runs, ours and the two it is compared with. `wrong` lists outcomes that are not right."""

    figure: Figure
    runs: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    usuals: list[float] = field(default_factory=list)
    costs: list[Seconds] = field(default_factory=list)
    costs_of: dict[str, Seconds] = field(default_factory=dict)  # limit and usual: the costs of their last run
    memory: Mapping[str, Sequence[float]] = field(default_factory=dict)  # from the last run
    wrong: list[str] = field(default_factory=list)

    @property
    def value(self) -> float | None:
        return median(self.runs)

    @property
    def limit(self) -> float | None:
        return median(self.limits)

    @property
    def usual(self) -> float | None:
        return median(self.usuals)

    @property
    def of_limit(self) -> float | None:
        return ratio(self.value, self.limit)

    @property
    def times_usual(self) -> float | None:
        return ratio(self.value, self.usual)

    @property
    def cpu(self) -> Seconds:
        """Return the processor seconds of the run whose value is nearest to the median."""
        value = self.value
        if value is None or not self.costs:
            return {}
        return min(zip(self.runs, self.costs, strict=True), key=lambda run: abs(run[0] - value))[1]

    @property
    def verdict(self) -> str:
        if self.wrong or self.value is None:
            return "FAILED"
        return "met" if not (short := list(self.shortfalls())) else f"missed by {max(short):.0%}"

    def shortfalls(self) -> Iterable[float]:
        """Yield for each missed bound the share by which it is missed."""
        for found, least in (
            (self.value, self.figure.at_least),
            (self.of_limit, self.figure.of_limit),
            (self.times_usual, self.figure.times_usual),
        ):
            if least is not None and found is not None and found < least:
                yield 1 - found / least
        if (
            self.figure.times_limit is not None
            and self.of_limit is not None
            and self.of_limit > self.figure.times_limit
        ):
            yield self.of_limit / self.figure.times_limit - 1
        if self.figure.at_most is not None and self.value is not None and self.value > self.figure.at_most:
            yield self.value / self.figure.at_most - 1

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.figure.name,
            "value": self.value,
            "unit": self.figure.unit,
            "limit": self.limit,
            "usual": self.usual,
            "of_limit": self.of_limit,
            "times_usual": self.times_usual,
            "runs": self.runs,
            "cpu": dict(self.cpu),
        }


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def ratio(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


def as_json(measurements: Iterable[Measurement], *, machine: Mapping[str, Any], commit: str) -> str:
    body = {"machine": machine, "commit": commit, "measurements": [found.as_json() for found in measurements]}
    return json.dumps(rounded(body), indent=2, ensure_ascii=False) + "\n"


def rounded(value: Any) -> Any:
    """Round to four digits, which is all that a benchmark knows."""
    match value:
        case float():
            return float(f"{value:.4g}")
        case dict():
            return {name: rounded(item) for name, item in value.items()}
        case list():
            return [rounded(item) for item in value]
        case _:
            return value


def as_table(measurements: Sequence[Measurement]) -> str:
    head = ["measurement", "median", "unit", "limit", "of limit", "usual", "times usual", "must be", ""]
    rows = [head, *(_row(found) for found in measurements)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(found: Measurement) -> list[str]:
    return [
        found.figure.name,
        number(found.value),
        found.figure.unit,
        number(found.limit),
        number(found.of_limit),
        number(found.usual),
        number(found.times_usual),
        found.figure.must,
        found.verdict,
    ]


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def as_costs(measurements: Sequence[Measurement]) -> str:
    """Return processor seconds, one line per way of each measurement. Figures of one measurement share their cost."""
    lines: list[str] = []
    told: list[Seconds] = []
    for found in measurements:
        if found.costs == told:
            continue
        told = found.costs
        ways = {"": found.cpu, " (limit)": found.costs_of.get("limit"), " (usual)": found.costs_of.get("usual")}
        for way, cost in ways.items():
            spent = ", ".join(f"{name} {seconds:.2f}" for name, seconds in (cost or {}).items())
            if spent:
                lines.append(f"{found.figure.name}{way}: {spent}")
    return "\n".join(lines)


def as_memory(measurements: Sequence[Measurement]) -> str:
    """Return one line per measurement whose memory was watched; empty if there is none."""
    lines: list[str] = []
    told: Mapping[str, Sequence[float]] = {}
    for found in measurements:
        if found.memory and found.memory is not told:
            told = found.memory
            taken = (f"{name} {' → '.join(f'{size:.0f}' for size in sizes)}" for name, sizes in told.items())
            lines.append(f"{found.figure.name}: {', '.join(taken)}")
    return "\n".join(lines)
