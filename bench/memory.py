"""Watch how much of the machine's memory processes use during a measurement."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import redis

from bench.cpu import PROC, Meter, everything

PAGE = os.sysconf("SC_PAGESIZE")
EVERY = 1.0  # seconds
Megabytes = dict[str, float]


def taken(meter: Meter) -> Megabytes:
    """Return the resident memory of each watched process with its children, and of Redis.

    Of PostgreSQL count only unshared memory.
    """
    stats = everything()
    pids: dict[int, list[int]] = {}
    for stat in stats:
        pids.setdefault(stat.session, []).append(stat.pid)
    found = {
        f"{name} {number}" if len(leaders) > 1 else name: sum(map(resident, pids.get(leader, [])))
        for name, leaders in meter.watched.items()
        for number, leader in enumerate(leaders, 1)
    }
    if backends := meter.backends(stats):
        found["postgresql"] = sum(resident(pid) - shared(pid) for pid in backends)
    with redis.Redis.from_url(meter.services.redis_url) as client:
        found["redis"] = int(client.info("memory")["used_memory_rss"]) / 2**20
    return found


def resident(pid: int) -> float:
    return of_statm(pid, 1)


def shared(pid: int) -> float:
    return of_statm(pid, 2)


def of_statm(pid: int, column: int) -> float:
    """Return a column of /proc/PID/statm in megabytes; 0 if the process ended in the meantime."""
    with contextlib.suppress(OSError):
        return int((PROC / str(pid) / "statm").read_text().split()[column]) * PAGE / 2**20
    return 0.0


@dataclass
class Watched:
    """Hold samples at equal distances; the first from before, the last from after."""

    samples: list[Megabytes] = field(default_factory=list)

    def course(self) -> dict[str, list[float]]:
        """Return the memory at the start, in the middle and at the end, of processes that lived all the time."""
        first, middle, last = self.samples[0], self.samples[len(self.samples) // 2], self.samples[-1]
        return {name: [first[name], middle[name], last[name]] for name in first if name in middle and name in last}


@contextlib.contextmanager
def watched(meter: Meter) -> Iterator[Watched]:
    found, over = Watched([taken(meter)]), threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            found.samples.append(taken(meter))

    thread = threading.Thread(target=watch, name="memory")
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
    found.samples.append(taken(meter))
