"""Measure whole visits, from the page to the ticket: the figure that counts. The other measurements explain it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from bench.contest import Contest, Event
from bench.figures import Figure, Sample, percentile
from bench.processes import ROOT, Process
from bench.stage import Stage

VISITORS = 2_000
AT_ONCE = 300  # visits in progress; the others wait at the door of the generator
SEATS = 2_400


def visits(stage: Stage, webs: list[Process], live: Process, *, visitors: int, seats: int, rate: float = 0) -> Sample:
    """Let a crowd visit a new session. `rate`: arrivals a second; 0: all at once."""
    room = stage.room(seats)
    name = uuid.uuid4().hex[:8]
    plan, report = stage.folder / f"{name}.visits.json", stage.folder / f"{name}.visited.json"
    plan.write_text(
        json.dumps(
            {
                "ports": [web.port for web in webs],
                "live": live.port,
                "session": str(room.id),
                "visitors": visitors,
                "rate": rate,
                "at_once": AT_ONCE,
            }
        )
    )
    with stage.meter.measure() as cpu:
        subprocess.run([sys.executable, "-m", "bench.visits", str(plan), str(report)], cwd=ROOT, check=True)
    told: dict[str, Any] = json.loads(report.read_text())
    cpu["generator"] = round(told["cpu"], 2)
    judge(stage, told["ends"], visitors=visitors)
    steps = {
        step: (percentile(times, 50) * 1000, percentile(times, 95) * 1000) for step, times in told["steps"].items()
    }
    stage.note({"visits": visitors, "seconds": told["seconds"], "ends": told["ends"], "steps": steps, "cpu": dict(cpu)})
    for step, (half, most) in sorted(steps.items()):
        sys.stderr.write(f"\n{step:8} {len(told['steps'][step]):7,} times, p50 {half:6.1f} ms, p95 {most:6.1f} ms")
    sys.stderr.write(f"\n{told['ends']}\n")
    spent = sum(seconds for process, seconds in cpu.items() if process != "generator")
    return Sample(
        values={
            "crowd": visitors / told["seconds"],
            "crowd_held": steps.get("held", (0.0, 0.0))[1],
            "crowd_cpu": 1000 * spent / visitors,
        },
        cpu=cpu,
    )


def judge(stage: Stage, ends: dict[str, int], *, visitors: int) -> None:
    """Check that every visit came to an end that a visitor understands."""
    failed = {end: number for end, number in ends.items() if end.startswith("failed")}
    stage.expect(not failed, f"visits failed: {failed}")
    stage.expect(sum(ends.values()) == visitors, f"{sum(ends.values()):,} of {visitors:,} visits ended")


def crowd(*, rate: float) -> Callable[[Stage], AbstractContextManager[Contest]]:
    @contextmanager
    def opened(stage: Stage) -> Iterator[Contest]:
        webs, live = stage.whole(), stage.live()
        visits(stage, webs, live, visitors=40, seats=100)  # warm-up

        def ours() -> Sample:
            return visits(stage, webs, live, visitors=stage.sized(VISITORS), seats=SEATS, rate=rate)

        yield Contest(ours=ours)

    return opened


EVENTS = (
    Event(
        name="crowd",
        figures=(
            Figure(name="crowd", unit="visits/s"),
            Figure(name="crowd_held", unit="ms to held, p95"),
            Figure(name="crowd_cpu", unit="ms of the processors a visit"),
        ),
        open=crowd(rate=0),
    ),
)
