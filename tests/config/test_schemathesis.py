"""Test the API against its own schema with thousands of generated requests to real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.processes import Processes, fresh_database
from ticketing.demo import PASSWORD

HERE = Path(__file__).parent
EXAMPLES = "10"  # examples per operation, besides those that cover every constraint of the schema
SECONDS = 240  # more than a busy machine needs (about 30 when quiet)
PHASES = "examples,coverage,fuzzing"


def staff_token(site: str) -> str:
    """Return a token of the demo's box office, which may use the whole API."""
    asked = urllib.request.Request(  # noqa: S310 our own process
        f"{site}/api/v1/auth/token",
        data=json.dumps({"username": "boxoffice", "password": PASSWORD}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 likewise
        token: str = json.load(answer)["access"]
    return token


def test_every_answer_is_what_the_schema_says(tmp_path: Path) -> None:
    with (
        fresh_database() as database,
        Processes(folder=tmp_path, DATABASE_URL=database, RATE_LIMITS="off", FRONTROW_ENV="demo") as site,
    ):
        site.manage("seed", "--profile", "demo")
        web = site.both()
        site.worker()
        site.worker("--payments")
        site.wait_until_ready(web)
        tried = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                *("--config-file", str(HERE / "schemathesis.toml")),
                *("run", f"{web.url}/api/schema"),
                *("--header", f"Authorization: Bearer {staff_token(web.url)}"),
                *("--phases", PHASES),
                *("--max-examples", EXAMPLES),
                *("--checks", "all"),
                "--continue-on-failure",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert tried.returncode == 0, tried.stdout[-20_000:]
