"""Measure the live map: how fast, how many sockets, and what happens when all of them reconnect at once."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings

from bench.allocating import holds
from bench.contest import Contest, Event
from bench.figures import Figure, Sample
from bench.processes import ROOT, Process
from bench.stage import Room, Stage
from realtime import wire
from reservations.operations import queued
from sessions_app.queries import compact_map

CHANGES = 500  # changes per run, fifty a second
A_SECOND = 50
WINDOW = 4  # messages on their way to all sockets, when they are sent as fast as they are received


class Crowd:
    """Control a `bench.watchers` process."""

    def __init__(self, live: Process, room: Room, *, web: Process | None = None) -> None:
        path, snapshot = f"/ws/sessions/{room.id}", f"/api/v1/sessions/{room.id}/seats?format=compact"
        where = [str(live.port), path, str(web.port if web else 0), snapshot]
        self._program = subprocess.Popen(
            [sys.executable, "-m", "bench.watchers", *where],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and return the answer. Raises: CrowdFailed."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._program.stdin.write(json.dumps([what, arguments]) + "\n")
            self._program.stdin.flush()
        line = self._program.stdout.readline()
        if not line:
            raise CrowdFailed(what)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._program.kill()
        self._program.wait()
        for pipe in (self._program.stdin, self._program.stdout):
            if pipe:
                pipe.close()


class CrowdFailed(Exception):
    """Report the command at which the crowd's process ended; its output is above."""


@contextmanager
def gathered(
    stage: Stage, live: Process, room: Room, sockets: int, *, web: Process | None = None
) -> Iterator[tuple[Crowd, float]]:
    """Connect the sockets, and yield the crowd and the seconds until all were greeted."""
    crowd = Crowd(live, room, web=web)
    try:
        met = crowd("join", number=sockets)
        stage.expect(met["greeted"] == sockets, f"{sockets - met['greeted']:,} of {sockets:,} sockets were not greeted")
        crowd("forget")
        yield crowd, met["seconds"]
    finally:
        crowd.close()


def change_seats(room: Room, number: int) -> dict[str, float]:
    """Allocate holds evenly, each by itself, and return when each version of the map was about to be committed."""
    requests = holds(room, size=1)[:number]
    began, times = time.monotonic(), {}
    for version, request in enumerate(requests, 1):
        time.sleep(max(0.0, began + version / A_SECOND - time.monotonic()))
        times[str(version)] = time.monotonic()
        queued.allocate([request])
    return times


# --- live


@contextmanager
def live(stage: Stage) -> Iterator[Contest]:
    """Measure fifty changes of seats a second with a thousand watchers."""
    ours, usual = stage.live(), stage.usual_live()
    sockets = stage.sized(1_000)

    def watch(process: Process, changes: int) -> tuple[dict[str, Any], float, dict[str, float]]:
        room = stage.room(1_000)
        with gathered(stage, process, room, sockets) as (crowd, _seconds):
            with stage.meter.measure() as cpu:
                times = change_seats(room, changes)
                found = crowd("listen", version=changes, times=times)
            cpu["generator"] = round(found["cpu"], 2)
        stage.note(found)
        stage.expect(
            found["delivered"] == changes * sockets and not found["gaps"] and not found["closed"],
            f"{found['delivered']:,} of {changes * sockets:,} changes were delivered, {found['gaps']:,} gaps",
        )
        return found, found["delivered"] / (found["ended"] - times["1"]), cpu

    def coalesced() -> Sample:
        found, rate, cpu = watch(ours, stage.sized(CHANGES))
        return Sample(values={"live": rate, "live_p99": found["p99_ms"]}, cpu=cpu)

    def one_by_one() -> Sample:
        """Send a fifth of the changes: the usual way falls behind at once, and these keep it busy long enough."""
        _found, rate, cpu = watch(usual, stage.sized(CHANGES // 5))
        return Sample(values={"live": rate}, cpu=cpu)

    yield Contest(ours=coalesced, usual=one_by_one)


# --- live_raw


@contextmanager
def live_raw(stage: Stage) -> Iterator[Contest]:
    """Measure the same message to a thousand sockets, as often as they can receive it."""
    ours, usual = stage.live(env={"DIFFS_A_SECOND": "0"}), stage.usual_live()
    sockets = stage.sized(1_000)

    def send(process: Process, name: str, number: int) -> tuple[float, float, dict[str, float]]:
        """Return deliveries a second, and microseconds of the server's processor for each."""
        room = stage.room(20)
        with gathered(stage, process, room, sockets) as (crowd, _seconds):
            channel, messages = as_published(room, number)
            with stage.meter.measure() as cpu:
                found = crowd("publish", url=settings.REDIS_URL, channel=channel, messages=messages, window=WINDOW)
        stage.note(found)
        stage.expect(
            found["delivered"] == number * sockets,
            f"{name}: {found['delivered']:,} of {number * sockets:,} messages were delivered",
        )
        return found["delivered"] / found["seconds"], cpu.get(name, 0.0) / found["delivered"] * 1e6, cpu

    def straight() -> Sample:
        rate, cost, cpu = send(ours, "live", stage.sized(400))
        return Sample(values={"live_raw": rate, "live_raw_cpu": cost}, cpu=cpu)

    def by_group() -> Sample:
        rate, _cost, cpu = send(usual, "usual live", stage.sized(60))
        return Sample(values={"live_raw": rate}, cpu=cpu)

    yield Contest(ours=straight, usual=by_group)


def as_published(room: Room, number: int) -> tuple[str, list[str]]:
    """Return the Redis channel of a session, and diffs as `realtime.wire` publishes them, in hexadecimal."""
    layer = get_channel_layer()
    group = wire.session_group(room.id)
    bodies = [
        {"type": "seats", "from": version - 1, "version": version, "changes": {"A1": "h", "B2": "f"}, "available": 18}
        for version in range(1, number + 1)
    ]
    messages = [layer.serialize({"type": "wire.message", "group": group, "body": body}).hex() for body in bodies]
    return f"{settings.CHANNEL_LAYERS['default']['CONFIG']['prefix']}__group__{group}", messages  # type: ignore[index]


# --- live_crowd


@contextmanager
def live_crowd(stage: Stage) -> Iterator[Contest]:
    """Measure five thousand sockets on one process."""
    sockets = stage.sized(5_000)

    def watch() -> Sample:
        process = stage.live()
        changes = stage.sized(150)
        room = stage.room(1_000)
        with gathered(stage, process, stage.room(20), 20):  # the process has done everything once
            before = memory(process)
        with gathered(stage, process, room, sockets) as (crowd, seconds):
            each = (memory(process) - before) / sockets
            with stage.meter.measure() as cpu:
                times = change_seats(room, changes)
                found = crowd("listen", version=changes, times=times)
        stage.note(found)
        stage.expect(not found["behind"], f"{found['behind']:,} sockets never saw the last version")
        stage.expect(not found["closed"], f"{found['closed']:,} sockets were closed")
        late = found["ended"] - times[str(changes)]
        process.stop()
        values = {"live_crowd": late * 1000, "live_crowd_memory": each / 1024, "live_crowd_joined": sockets / seconds}
        return Sample(values=values, cpu=cpu)

    yield Contest(ours=watch)


def memory(process: Process) -> int:
    """Return the resident memory in bytes."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


# --- live_storm


@contextmanager
def live_storm(stage: Stage) -> Iterator[Contest]:
    """Break two thousand connections at once while seats keep changing."""
    process, webs = stage.live(), stage.web(processes=2)
    stage.ready(webs)
    sockets = stage.sized(2_000)

    def break_all() -> Sample:
        room, changes = stage.room(1_000), stage.sized(200)
        with gathered(stage, process, room, sockets, web=webs[0]) as (crowd, _seconds):
            crowd("picture", labels=room.labels, version=0, seats="f" * len(room.labels))
            read = snapshots(webs)
            with stage.meter.measure() as cpu:
                began = time.monotonic()
                crowd("drop")
                change_seats(room, changes)
                truth = compact_map(room.id)
                found = crowd("right", version=truth["version"], seats=truth["seats"], seconds=30)
            read = snapshots(webs) - read
        stage.note(found | {"snapshots": read})
        stage.expect(not found["wrong"], f"{found['wrong']:,} pages are wrong")
        stage.expect(found["fetched"] >= sockets, f"only {found['fetched']:,} pages fetched the seats")
        stage.expect(read <= changes, f"{read:,} snapshots were read for {changes:,} versions")
        return Sample(values={"live_storm": found["at"] - began, "live_storm_reads": read / changes}, cpu=cpu)

    yield Contest(ours=break_all)


def snapshots(webs: Sequence[Process]) -> int:
    """Return how often the web processes asked PostgreSQL for all seats of a session."""
    total = 0.0
    for web in webs:
        with urllib.request.urlopen(f"{web.url}/metrics", timeout=10) as answer:  # noqa: S310 our own process
            found = re.findall(r"^frontrow_snapshots_total ([\d.e+]+)", answer.read().decode(), re.MULTILINE)
        total += sum(map(float, found))
    return int(total)


EVENTS = (
    Event(
        name="live",
        figures=(
            Figure(name="live", unit="changes/s", times_usual=8),
            Figure(name="live_p99", unit="ms, 99 of 100", at_most=150),
        ),
        open=live,
    ),
    Event(
        name="live_raw",
        figures=(
            Figure(name="live_raw", unit="deliveries/s", times_usual=6),
            Figure(name="live_raw_cpu", unit="µs each", at_most=25),
        ),
        open=live_raw,
    ),
    Event(
        name="live_crowd",
        figures=(
            Figure(name="live_crowd", unit="ms", at_most=1_000),
            Figure(name="live_crowd_memory", unit="KB a socket"),
            Figure(name="live_crowd_joined", unit="sockets/s"),
        ),
        open=live_crowd,
    ),
    Event(
        name="live_storm",
        figures=(
            Figure(name="live_storm", unit="s", at_most=10),
            Figure(name="live_storm_reads", unit="reads a version", at_most=1),
        ),
        open=live_storm,
    ),
)
