"""Run payment workers that will be killed: `manage.py worker --payments`, forked here so that Django is set up once.

    python -m tests.faults.workers

It reads lines. `die payment.sold refund.asked` starts a worker for each of these fault points, and reports the signal
of each death when all are dead. `live` starts one that lives until the next line. `rest` starts none. It ends with its
input.
"""

from __future__ import annotations

import os
import signal
import sys

import django


def start(point: str) -> int:
    child = os.fork()
    if child:
        return child
    from django.conf import settings
    from django.core.management import call_command

    settings.FAULT_POINT = point
    sys.stdin.close()
    name = point or "alive"
    call_command("worker", "--payments", "--name", f"{name}-{os.getpid()}@faults", "--threads", "16")
    os._exit(0)


def end(child: int) -> str:
    how = os.waitpid(child, 0)[1]
    return signal.Signals(os.WTERMSIG(how)).name if os.WIFSIGNALED(how) else f"exit {os.WEXITSTATUS(how)}"


def main() -> None:
    django.setup()
    import config.management.commands.worker  # noqa: F401 once, for all that are forked

    alive: list[int] = []
    for line in sys.stdin:
        for child in alive:
            os.kill(child, signal.SIGKILL)
            end(child)
        word, *points = line.split()
        alive = [start("")] if word == "live" else []
        deaths = [end(child) for child in [start(point) for point in points]]
        sys.stdout.write(f"{' '.join(deaths) or word}\n")
        sys.stdout.flush()
    for child in alive:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
