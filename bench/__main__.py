"""Measure, and print medians and ratios: `python -m bench [names…]`. The exit code is 1 if an outcome was wrong."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import django
from tqdm import tqdm

from bench import machine, services
from bench.figures import Measurement, as_costs, as_json, as_memory, as_table

if TYPE_CHECKING:
    from bench.contest import Contest, Event  # imports that need Django to be set up
    from bench.stage import Stage

NAMES = (
    "front_door",
    "allocate",
    "burst",
    "stampede",
    "same_key",
    "latency",
    "lone",
    "outcomes",
    "best_available",
    "expire",
    "live",
    "live_raw",
    "live_crowd",
    "live_storm",
    "map",
    "crowd",
    "page_list",
    "page_16",
    "page_2400",
    "page_10000",
    "api_list",
    "api_session",
    "orders",
    "orders_told",
    "orders_faults",
    "orders_large",
    "pay",
    "pay_slow",
)
LARGE = ("orders_large",)  # measured only if named, once each time
USUAL = tuple(name for name in NAMES if name not in LARGE)
WAYS = ("ours", "limit", "usual")


def main(arguments: Sequence[str]) -> int:
    asked = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, stop)
    results = Results()
    try:
        measure(asked.names or USUAL, results, runs=asked.runs, quick=asked.quick, logs=asked.logs)
    except services.NoService as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    finally:  # also report what was measured before an interruption
        if asked.json and results.machine:
            asked.json.write_text(as_json(results.measured, machine=results.machine, commit=machine.commit()))
        if results.measured:
            report(results.measured, quick=asked.quick)
    return 1 if any(found.wrong for found in results.measured) else 0


def stop(number: int, _frame: object) -> NoReturn:
    """End everything that was started. A second signal does not interrupt that."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


@dataclass
class Results:
    measured: list[Measurement] = field(default_factory=list)
    machine: Mapping[str, object] = field(default_factory=dict)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench", description="What Frontrow does a second; see bench/README.md."
    )
    made.add_argument(
        "names",
        nargs="*",
        type=known,
        metavar="name",
        help=f"{', '.join(NAMES)}; unless named, all but {', '.join(LARGE)}",
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    made.add_argument("--runs", type=int, default=3, help="of each way, in turn (default 3)")
    made.add_argument("--quick", action="store_true", help="tiny loads: shows that it works, its figures say nothing")
    made.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what the processes said there")
    return made


def known(name: str) -> str:
    """Check a name, because `choices` would refuse an empty list."""
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(NAMES)}")
    return name


def measure(names: Sequence[str], results: Results, *, runs: int, quick: bool, logs: Path | None) -> None:
    """Run the measurements. Raises: services.NoService."""
    with contextlib.ExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="frontrow-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        bar = stack.enter_context(tqdm(unit="step", dynamic_ncols=True))
        bar.set_description("preparing")
        found = stack.enter_context(services.borrowed(folder))
        results.machine = machine.described(found.versions)
        set_up_django(found)
        from bench.stage import open_stage

        chosen = events(names)
        bar.reset(total=sum(1 + runs_of(event, runs) for event in chosen))
        for event in chosen:
            bar.set_description(event.name)
            measured = [Measurement(figure=figure) for figure in event.figures]
            results.measured += measured
            with (
                told_as_wrong(measured),
                open_stage(found, event.name, folder=folder / event.name, quick=quick) as stage,
            ):
                take(event, stage, measured, runs=runs_of(event, runs), bar=bar)


@contextlib.contextmanager
def told_as_wrong(measured: Sequence[Measurement]) -> Iterator[None]:
    """Note an error as a wrong outcome, so that the other measurements still run."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 see above
        for found in measured:
            found.wrong = [*found.wrong, f"{type(error).__name__}: {error}"]


def set_up_django(found: services.Services) -> None:
    """Set Django up, so that this process makes sessions, tokens and messages with Frontrow's own code."""
    for name in services.OF_THE_SHELL:
        os.environ.pop(name, None)
    os.environ.update(found.environment(found.template_url), DJANGO_SETTINGS_MODULE="config.settings")
    django.setup()


def events(names: Sequence[str]) -> list[Event]:
    """Return the events in the order of NAMES, each once.

    `live` also selects all whose names begin with it, except LARGE.
    """
    from bench import allocating, at_the_door, crowd, enduring, live, ordering, pages, paying, waiting
    from bench import map as seat_map

    modules = (at_the_door, allocating, waiting, live, seat_map, crowd, pages, paying, ordering, enduring)
    known = {event.name: event for module in modules for event in module.EVENTS}
    chosen = {name for name in USUAL if name.partition("_")[0] in names} | set(names)
    return [known[name] for name in NAMES if name in chosen]


def runs_of(event: Event, asked: int) -> int:
    return 1 if event.name in LARGE else asked


def take(event: Event, stage: Stage, measured: Sequence[Measurement], *, runs: int, bar: tqdm) -> None:
    """Take every figure of one measurement. An error counts for all of them."""
    for found in measured:
        found.wrong = stage.wrong
    try:
        with event.open(stage) as contest:
            bar.update()
            for run in range(1, runs + 1):
                take_turns(event, contest, measured, bar=bar, run=f"{run} of {runs}")
                bar.update()
    except Exception:
        stage.wrong.append(stage.last_words())
        raise


def take_turns(event: Event, contest: Contest, measured: Sequence[Measurement], *, bar: tqdm, run: str) -> None:
    for way in WAYS:
        if (runs_it := getattr(contest, way)) is None:
            continue
        bar.set_description(f"{event.name}: {way}, {run}")
        sample = runs_it()
        for found in measured:
            if way == "ours":
                found.runs.append(sample.values[found.figure.name])
                found.costs.append(sample.cpu)
                found.memory = sample.memory
            elif found is measured[0]:
                (found.limits if way == "limit" else found.usuals).append(sample.values[found.figure.name])
                found.costs_of[way] = sample.cpu


def report(measured: Sequence[Measurement], *, quick: bool) -> None:
    words = [
        "",
        as_table(measured),
        "",
        "Processor seconds of each process, of the run nearest the median:",
        as_costs(measured),
    ]
    if memory := as_memory(measured):
        words += ["", "Megabytes of each process, at the start, in the middle and at the end:", memory]
    if quick:
        words.append("\nThese were tiny loads (--quick): they show that everything works, and nothing else.")
    words += failures(measured)
    sys.stdout.write("\n".join(words) + "\n")


def failures(measured: Sequence[Measurement]) -> Iterator[str]:
    """Yield each error, once per measurement."""
    told: set[str] = set()
    for found in measured:
        yield from (f"FAILED {found.figure.name}: {wrong}" for wrong in dict.fromkeys(found.wrong) if wrong not in told)
        told.update(found.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
