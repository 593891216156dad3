#!/usr/bin/env python3
"""Run a management command: `./manage.py up`, `./manage.py audit`, `./manage.py help`.

Whatever `python3` is, the command runs in this clone's own environment, unless another one is active.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
OWN_PYTHON = HERE / ".venv" / "bin" / "python"


def use_own_environment() -> None:
    """Start again with the packages of `make run`. A Python outside of any environment has none, or others."""
    if sys.prefix == sys.base_prefix and OWN_PYTHON.exists():
        os.execv(OWN_PYTHON, [str(OWN_PYTHON), *sys.argv])  # noqa: S606 there is no shell to ask


def join_running_site() -> None:
    """Use the services of the `manage.py up` that runs in this clone, unless the environment names others."""
    if "DATABASE_URL" in os.environ or "up" in sys.argv[1:2]:
        return
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        running = json.loads((HERE / ".frontrow" / "run.json").read_text())
        os.kill(running["process"], 0)
        for name, value in running["environment"].items():
            os.environ.setdefault(name, value)


def main() -> None:
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError as error:
        if error.name != "django":
            raise
        sys.exit(
            "Nothing is installed yet: run `make install` first, or activate the environment that has the packages."
        )
    join_running_site()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    use_own_environment()
    main()
