"""Count processor seconds of the started processes, and of the servers that they use if this machine shows them."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psycopg
import redis

from bench.processes import Process
from bench.services import Services

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")
Seconds = dict[str, float]


@dataclass(frozen=True, slots=True)
class Stat:
    """Hold one line of /proc/PID/stat. `seconds` counts the process and the children that it has reaped."""

    pid: int
    name: str
    parent: int
    session: int
    seconds: float


def parse(line: str) -> Stat:
    """Parse a line. A name may hold spaces and parentheses, so the last one closes it."""
    pid, rest = line.split(" (", 1)
    name, rest = rest.rsplit(") ", 1)
    fields = rest.split()
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return Stat(int(pid), name, int(fields[1]), int(fields[3]), ticks / TICK)


def everything() -> list[Stat]:
    """Return every process that this user can see."""
    found = []
    for file in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended in the meantime
            found.append(parse(file.read_text()))
    return found


def of_group(leader: int, stats: list[Stat]) -> float:
    """Return the seconds of a process that was started in a session of its own, with its children."""
    return sum(stat.seconds for stat in stats if stat.session == leader)


def of_tree(root: int, stats: list[Stat]) -> float:
    """Return the seconds of a process and its children (PostgreSQL's are sessions of their own)."""
    return sum(stat.seconds for stat in stats if root in (stat.pid, stat.parent))


@dataclass
class Meter:
    """Read the clocks of processes by their names, which several may share, and of the three servers."""

    services: Services
    watched: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _of_the_dead: Seconds = field(default_factory=lambda: defaultdict(float))

    def watch(self, name: str, process: Process) -> None:
        self.watched[name].append(process.popen.pid)

    def bury(self, process: Process) -> None:
        """Keep the seconds of a process; call this right before it is killed."""
        for name, leaders in self.watched.items():
            if process.popen.pid in leaders:
                leaders.remove(process.popen.pid)
                self._of_the_dead[name] += of_group(process.popen.pid, everything())

    def bury_postgresql(self) -> None:
        """Keep the seconds of PostgreSQL before it is killed, with all its processes."""
        self._of_the_dead["postgresql"] += self._postgresql(everything()) or 0.0
        self.__dict__.pop("_postmaster", None)

    def spent_by(self, process: Process) -> float:
        return of_group(process.popen.pid, everything())

    def read(self) -> Seconds:
        stats = everything()
        seconds = {
            name: sum(of_group(leader, stats) for leader in leaders) + self._of_the_dead.get(name, 0.0)
            for name, leaders in self.watched.items()
            if leaders
        }
        servers: Mapping[str, Callable[[list[Stat]], float | None]] = {
            "postgresql": self._postgresql,
            "redis": self._redis,
            "rabbitmq": self._rabbitmq,
        }
        for name, clock in servers.items():
            if (found := clock(stats)) is not None:
                seconds[name] = found + self._of_the_dead.get(name, 0.0)
        return seconds

    @contextlib.contextmanager
    def measure(self) -> Iterator[Seconds]:
        """Fill the result when the block ends: the seconds spent in it, by process."""
        spent: Seconds = {}
        before = self.read()
        yield spent
        after = self.read()
        used = {name: round(after[name] - before[name], 2) for name in after if name in before}
        spent.update({name: seconds for name, seconds in used.items() if seconds > 0})

    @cached_property
    def _postmaster(self) -> int | None:
        """Return the parent of our backend; None if it runs on another machine or in another container."""
        with psycopg.connect(self.services.home) as connection, contextlib.suppress(OSError):
            backend = parse((PROC / str(connection.info.backend_pid) / "stat").read_text())
            return backend.parent if backend.name == "postgres" else None
        return None

    def backends(self, stats: list[Stat]) -> list[int]:
        """Return PostgreSQL's processes; none if they cannot be seen."""
        return [stat.pid for stat in stats if self._postmaster in (stat.pid, stat.parent)] if self._postmaster else []

    def _postgresql(self, stats: list[Stat]) -> float | None:
        return of_tree(self._postmaster, stats) if self._postmaster else None

    def _redis(self, _stats: list[Stat]) -> float | None:
        with redis.Redis.from_url(self.services.redis_url) as client:
            told = client.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

    @staticmethod
    def _rabbitmq(stats: list[Stat]) -> float | None:
        """Return the seconds of all Erlang servers here. `rabbitmqctl` is one too, but it ends soon."""
        servers = [stat.seconds for stat in stats if stat.name == "beam.smp"]
        return sum(servers) if servers else None
