"""Run JavaScript that needs no browser in the Node.js of Playwright."""

from __future__ import annotations

import subprocess
from pathlib import Path

import playwright

NODE = Path(playwright.__file__).parent / "driver" / "node"


def run_tests(file: Path) -> str:
    """Run a file of `node:test`, and return its report. Raises: AssertionError, with the report."""
    ended = subprocess.run(
        [NODE, "--test", "--test-reporter=tap", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
