"""Keep a handful of programs running, and stop them together.

`manage.py up` uses it. A child that crashes is started again, with a longer pause each time. No child survives its
supervisor: Linux tells the children when it dies. Each child leaves one log.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from config.run.preflight import Account, StartupProblem

Say = Callable[[str], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before a program starts again; the pause doubles at each death
STEADY = 30.0  # seconds after which a program counts as healthy again
KEPT_LOG = 10 * 2**20  # bytes; a larger log of an earlier run is not kept
PULSE_LOST = 60.0  # seconds without a sign from a program with a pulse file
FULL = 4 * 2**20  # bytes free on a disk at which nothing works any more
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Program:
    """Describe a program to run.

    `stop` is the signal that asks it to end, `hold` are descriptors that it inherits, and `pulse` is a file that it
    keeps writing.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    stop: signal.Signals = signal.SIGTERM
    account: Account | None = None
    hold: tuple[int, ...] = ()
    folder: Path = Path("/")
    pulse: Path | None = None


def die_with_parent(stop: signal.Signals) -> Callable[[], None] | None:
    """Return a function for the child that makes the kernel send it `stop` when its parent is gone (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here, because the child may no longer read the library
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(stop), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def follow_parent(stop: signal.Signals) -> None:
    """Make the kernel send this process `stop` when its parent is gone (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(stop), 0, 0, 0)


def launch(program: Program) -> subprocess.Popen[bytes]:
    account = program.account
    with program.log.open("ab") as log:
        return subprocess.Popen(
            program.argv,
            env=dict(program.env),
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops everything in order
            pass_fds=program.hold,
            preexec_fn=die_with_parent(program.stop),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


@dataclass
class Child:
    """Run one program; the process is missing while the program is down."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    again_at: float = field(default=0.0)
    beat: tuple[int, float] = (0, 0.0)  # when the pulse was last written, and when this was seen

    @property
    def name(self) -> str:
        return self.program.name

    def start(self) -> None:
        self.process = launch(self.program)
        self.started = time.monotonic()

    def died(self) -> int | None:
        """Return the exit code once if the process ended by itself, and set the time of its next start."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        end_group(self.process.pid)
        self.process = None
        if time.monotonic() - self.started > STEADY:
            self.deaths = 0
        self.again_at = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.deaths)
        self.deaths += 1
        return code

    def hangs(self) -> bool:
        """Tell whether the process runs but its pulse has stopped. Time in which the machine slept does not count."""
        if self.process is None or self.program.pulse is None:
            return False
        try:
            written = self.program.pulse.stat().st_mtime_ns
        except FileNotFoundError:
            written = 0
        if written != self.beat[0]:
            self.beat = written, time.monotonic()
        return time.monotonic() - max(self.beat[1], self.started) > PULSE_LOST

    def end(self) -> None:
        """Kill the process and its children."""
        if self.process is not None:
            end_group(self.process.pid)
            self.process.wait()

    def due(self) -> bool:
        return self.process is None and time.monotonic() >= self.again_at

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.program.stop)

    def gone_by(self, deadline: float) -> bool:
        """Wait until `deadline`, then kill the whole process group. Return True if a kill was not needed."""
        if self.process is None:
            return True
        try:
            self.process.wait(timeout=max(0.01, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            end_group(self.process.pid)
            self.process.wait()
            return False
        return True

    def last_words(self, lines: int = 8) -> str:
        with self.program.log.open(errors="replace") as log:
            return "".join(f"    {line}" for line in deque(log, maxlen=lines))


class StopRequestedError(Exception):
    """Report Ctrl-C, `kill`, or a closed terminal."""


class Supervisor:
    """Run children in the order in which they were added, and stop them in groups, the last group first."""

    def __init__(self, *, say: Say) -> None:
        self.say = say
        self.groups: list[list[Child]] = []
        self.asked_to_stop = 0
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)

    @property
    def children(self) -> list[Child]:
        return [child for group in self.groups for child in group]

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Turn SIGINT, SIGTERM and SIGHUP into requests to stop, which `pause` raises, while the block runs."""
        with ExitStack() as undo:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                undo.callback(signal.signal, number, signal.signal(number, self._note))
            undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False))
            yield

    def close(self) -> None:
        for end in self._wake:
            os.close(end)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked_to_stop += 1

    def pause(self, seconds: float) -> None:
        """Sleep until the time is over or a signal comes. Raises: StopRequestedError."""
        if not self.asked_to_stop and select.select([self._wake[0]], [], [], seconds)[0]:
            os.read(self._wake[0], 512)
        if self.asked_to_stop:
            raise StopRequestedError

    def start(self, programs: Sequence[Program], *, join: bool = False) -> list[Child]:
        """Start programs as a group that will be stopped together. With `join`, add them to the group before."""
        children = [Child(program) for program in programs]
        if join:
            self.groups[-1].extend(children)
        else:
            self.groups.append(children)
        for child in children:
            keep_the_last_log(child.program.log)
            child.start()
        return children

    def finish(self, program: Program) -> None:
        """Run a program that ends by itself. Raises: StopRequestedError, or StartupProblem if it failed."""
        [child] = self.start([program])
        while (code := child.died()) is None:
            self.look_after(except_for=child)
            self.pause(0.02)
        self.groups.pop()
        if code:
            raise StartupProblem(f"{child.name} failed:\n{child.last_words()}", f"See {program.log}")

    def until(self, ready: Callable[[], bool], *, what: str, seconds: float, deaths: int = 1) -> None:
        """Look after the children until `ready()` is true.

        Raises: StopRequestedError, or StartupProblem if one died `deaths` times or the time is over.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            self.look_after(quiet=True)
            for child in self.children:
                if child.deaths >= deaths:
                    raise StartupProblem(
                        f"{child.name} does not start:\n{child.last_words()}", f"See {child.program.log}"
                    )
            if time.monotonic() > deadline:
                raise StartupProblem(f"{what} is not ready after {seconds:.0f} s.", "See the logs, then try again.")
            self.pause(0.1)

    def look_after(self, *, quiet: bool = False, except_for: Child | None = None) -> None:
        """Restart dead children after their pauses, and stop those that hang."""
        for child in self.children:
            if child is except_for:
                continue
            if child.hangs():
                self.say(f"{child.name} no longer answers, so it is stopped.")
                child.end()
            code = child.died()
            if code is not None and not quiet:
                pause = max(0.0, child.again_at - time.monotonic())
                self.say(
                    f"{child.name} ended ({reason(code)}) and starts again in {pause:.1f} s. "
                    f"Its log: {child.program.log}"
                )
                if shutil.disk_usage(child.program.log.parent).free < FULL:
                    self.say(
                        f"The disk of {child.program.log.parent} is full. Free some space, and it goes on by itself."
                    )
            if child.due():
                child.start()

    def run(self) -> None:
        """Look after the children until a request to stop comes. Raises: StopRequestedError."""
        while True:
            self.look_after()
            self.pause(0.25)

    def stop(self, *, grace: float) -> None:
        """Ask each group to stop, the last group first, and kill children that need longer than `grace` seconds."""
        asked = self.asked_to_stop
        for group in reversed(self.groups):
            for child in group:
                child.ask_to_stop()
            deadline = time.monotonic() + grace
            while any(child.process and child.process.poll() is None for child in group):
                if time.monotonic() > deadline or self.asked_to_stop > max(1, asked):
                    break
                time.sleep(0.02)
            for child in group:
                if not child.gone_by(time.monotonic()):
                    self.say(f"{child.name} did not stop in time and was killed.")
        self.groups.clear()


def keep_the_last_log(log: Path) -> None:
    """Begin an empty log, and keep that of the previous run beside it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size <= KEPT_LOG:
        log.replace(log.with_suffix(".before.log"))
    log.write_bytes(b"")


def end_group(leader: int) -> None:
    """Kill the rest of a child's process group: a server's workers outlive their killed master."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
