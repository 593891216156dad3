"""Check programs that die, refuse to die, or lose their supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.run.preflight import StartupProblem
from config.run.supervisor import Program, StopRequestedError, Supervisor
from tests.processes import until

ROOT = Path(__file__).resolve().parents[3]
SLEEPS = "import time; print('awake', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('awake', flush=True); time.sleep(60)"


def python(name: str, code: str, folder: Path) -> Program:
    return Program(name=name, argv=[sys.executable, "-c", code], env=os.environ, log=folder / f"{name}.log")


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/stat").read_text().split(") ")[1].startswith("Z")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(say=said.append)
    with supervisor.signals():
        yield supervisor
        supervisor.stop(grace=0)
    supervisor.close()


class TestSupervisor:
    def test_supervisor_starts_programs_and_stops_them_when_asked(self, supervisor: Supervisor, tmp_path: Path) -> None:
        [child] = supervisor.start([python("sleeper", SLEEPS, tmp_path)])
        supervisor.until(lambda: "awake" in child.last_words(), what="sleeper", seconds=10)
        process = child.process
        supervisor.stop(grace=5)
        assert process is not None
        assert process.returncode == -signal.SIGTERM

    def test_supervisor_ends_what_does_not_stop_in_time_and_says_so(
        self, supervisor: Supervisor, said: list[str], tmp_path: Path
    ) -> None:
        [child] = supervisor.start([python("deaf", DEAF, tmp_path)])
        supervisor.until(lambda: "awake" in child.last_words(), what="deaf", seconds=10)
        supervisor.stop(grace=0.2)
        assert said == ["deaf did not stop in time and was killed."]

    def test_supervisor_starts_the_dead_again_later_each_time(
        self, supervisor: Supervisor, said: list[str], tmp_path: Path
    ) -> None:
        [child] = supervisor.start([python("mortal", "raise SystemExit(3)", tmp_path)])
        pauses = []
        deadline = time.monotonic() + 20
        while len(said) < 3 and time.monotonic() < deadline:
            before = len(said)
            supervisor.look_after()
            if len(said) > before:
                pauses.append(child.again_at - time.monotonic())
            time.sleep(0.01)
        assert said[0].startswith("mortal ended (exit code 3) and starts again in 0.5 s")
        assert pauses == pytest.approx([0.5, 1.0, 2.0], abs=0.1)

    def test_supervisor_says_which_signal_ended_a_program(
        self, supervisor: Supervisor, said: list[str], tmp_path: Path
    ) -> None:
        [child] = supervisor.start([python("victim", SLEEPS, tmp_path)])
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        supervisor.look_after()
        assert "SIGKILL" in said[0]

    def test_supervisor_keeps_the_log_of_the_run_before(self, supervisor: Supervisor, tmp_path: Path) -> None:
        (tmp_path / "once.log").write_text("what happened yesterday")
        supervisor.finish(python("once", "print('today')", tmp_path))
        assert (tmp_path / "once.log").read_text() == "today\n"
        assert (tmp_path / "once.before.log").read_text() == "what happened yesterday"

    def test_supervisor_tells_the_last_words_of_a_command_that_failed(
        self, supervisor: Supervisor, tmp_path: Path
    ) -> None:
        with pytest.raises(StartupProblem, match="no such table"):
            supervisor.finish(python("migrate", "raise SystemExit('no such table')", tmp_path))

    def test_supervisor_gives_up_on_what_never_starts(self, supervisor: Supervisor, tmp_path: Path) -> None:
        supervisor.start([python("broken", "import nothing_like_it", tmp_path)])
        with pytest.raises(StartupProblem, match=r"(?s)broken does not start.*nothing_like_it"):
            supervisor.until(lambda: False, what="broken", seconds=10)

    def test_supervisor_gives_up_when_the_time_is_over(self, supervisor: Supervisor) -> None:
        with pytest.raises(StartupProblem, match="not ready"):
            supervisor.until(lambda: False, what="nothing", seconds=0.1)

    def test_supervisor_ends_what_gives_no_sign_any_more_and_starts_it_again(
        self, supervisor: Supervisor, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("config.run.supervisor.PULSE_LOST", 1.0)
        pulse = tmp_path / "pulse"
        code = f"import time; from pathlib import Path\nwhile True: Path({str(pulse)!r}).write_text('at work'); time.sleep(0.05)"
        [child] = supervisor.start([replace(python("worker", code, tmp_path), pulse=pulse)])
        until(pulse.exists, seconds=10, what="its pulse")
        supervisor.look_after()
        assert child.process is not None
        stopped = child.process
        stopped.send_signal(signal.SIGSTOP)

        def look() -> bool:
            supervisor.look_after()
            return child.process is not None and child.process.pid != stopped.pid

        until(look, seconds=10, what="another process")
        assert said[0] == "worker no longer answers, so it is stopped."
        assert stopped.returncode == -signal.SIGKILL
        pulse.unlink()
        until(pulse.exists, seconds=10, what="its pulse again")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_is_a_request_to_stop(self, supervisor: Supervisor, number: signal.Signals) -> None:
        os.kill(os.getpid(), number)
        with pytest.raises(StopRequestedError):
            supervisor.run()


SUPERVISED = """
import os, sys, time
from pathlib import Path
from config.run.supervisor import Program, Supervisor
supervisor = Supervisor(say=print)
[child] = supervisor.start([Program(name="child", argv=[sys.executable, "-c", {code!r}], env=os.environ, log=Path({log!r}))])
print(child.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    code = SUPERVISED.format(code=SLEEPS, log=str(tmp_path / "child.log"))
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        supervisor.kill()
    until(lambda: gone(child), seconds=5, what="the child's end")
