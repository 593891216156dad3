#!/usr/bin/env python
"""Run a management command: `manage.py up`, `manage.py audit`, `manage.py help`."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from django.core.management import execute_from_command_line


def join_running_site() -> None:
    """Use the services of the `manage.py up` that runs in this clone, unless the environment names others."""
    if "DATABASE_URL" in os.environ or "up" in sys.argv[1:2]:
        return
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        running = json.loads((Path(__file__).parent / ".frontrow" / "run.json").read_text())
        os.kill(running["process"], 0)
        for name, value in running["environment"].items():
            os.environ.setdefault(name, value)


if __name__ == "__main__":
    join_running_site()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    execute_from_command_line(sys.argv)
