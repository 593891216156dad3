"""Every shell block of the documents runs as it is printed, in the order in which it stands there, against the demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents.blocks import DOCUMENTS, ROOT, Block, blocks
from tests.processes import Processes, fresh_database

PRINTED = "127.0.0.1:8000"  # where the documents reach the demo
NOT_RUN = [block for block in blocks() if block.language == "sh" and not block.is_run]
# What fails, fails: a variable that isn't set, an answer that is an error, a part of a pipe, an id that isn't there.
PRELUDE = """
set -euo pipefail
curl() { command curl --fail-with-body "$@"; }
jq() { command jq "$@" | tee /dev/stderr; } 2>>"$HEARD"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, str]]:
    """The demo, and its host with the port."""
    folder = tmp_path_factory.mktemp("documents")
    with (
        fresh_database() as database,
        Processes(folder=folder, DATABASE_URL=database, FRONTROW_ENV="demo") as started,
    ):
        started.manage("seed", "--profile", "demo")
        web = started.both()
        started.worker()
        started.worker("--payments")
        started.wait_until_ready(web)
        yield started, web.url.removeprefix("http://")


def script_of(found: list[Block], host: str) -> str:
    """Return the blocks as one script, so that each sees what those before it set; errors name the block."""
    parts = [f"WHERE='{block}'\n{block.text}" for block in found]
    return PRELUDE + "trap 'echo \"$WHERE fails\" >&2' ERR\n" + "\n".join(parts).replace(PRINTED, host)


def run(script: str, *, folder: Path, environment: dict[str, str]) -> str:
    """Return what it prints; the test fails if the script does."""
    ended = subprocess.run(
        ["bash", "-c", script],  # noqa: S607
        cwd=folder,
        env=environment | {"HEARD": str(folder / "heard")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-3_000:]
    return ended.stdout


@pytest.fixture(scope="module")
def printed(site: tuple[Processes, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the blocks of docs/api.md print, one after the other; at last the token that they got."""
    started, host = site
    found = [block for block in blocks(ROOT / "docs/api.md") if block.is_run]
    script = script_of(found, host) + '\necho "TOKEN=$TOKEN"\n'
    return run(script, folder=tmp_path_factory.mktemp("api"), environment=started.environment)


class TestApi:
    def test_every_block_does_what_it_says(self, printed: str) -> None:
        assert '"status": "held"' in printed
        assert '"status": "paid"' in printed
        assert '"status": "COMPLETED"' in printed
        assert '"voucher": "BEMVINDO"' in printed
        assert '"extensions_left": 18' in printed
        assert "\n204\n" in printed
        assert '"status": "partly_refunded"' in printed
        assert '"gate": "Door 2"' in printed.replace('"gate":"Door 2"', '"gate": "Door 2"')
        assert '"pools": [' in printed

    def test_the_program_that_watches_hears_of_what_was_bought(self, printed: str, site: tuple[Processes, str]) -> None:
        (watching,) = [block for block in blocks(ROOT / "docs/api.md") if block.language == "python"]
        token = re.search(r"^TOKEN=(\S+)$", printed, re.MULTILINE)
        assert token
        with subprocess.Popen(
            [sys.executable, "-u", "-c", watching.text.replace(PRINTED, site[1])],
            env=os.environ | {"TOKEN": token[1]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as program:
            assert program.stdout
            heard = program.stdout.readline()
            program.kill()
        assert '"type":"order:update"' in heard or '"type":"reservation:update"' in heard, heard


class TestPlans:
    def test_a_drawing_is_imported_from_the_shell(self, site: tuple[Processes, str], tmp_path: Path) -> None:
        started, host = site
        found = list(blocks(ROOT / "docs/plans.md"))
        (drawing,) = [block for block in found if block.text.startswith("# Sala 3")]
        (tmp_path / "sala-nova.txt").write_text(drawing.text)
        (tmp_path / "manage.py").symlink_to(ROOT / "manage.py")
        script = script_of([block for block in found if block.is_run], host)
        run(script, folder=tmp_path, environment=started.environment)
        assert (tmp_path / "sala-nova.svg").read_text().startswith("<svg")


class TestWhatIsNotRun:
    def test_is_little_and_says_why(self) -> None:
        assert len(NOT_RUN) <= 5
        assert all(re.search(r"^sh no-run: \w.{15,}", block.info) for block in NOT_RUN), [
            str(block) for block in NOT_RUN
        ]

    @pytest.mark.parametrize("block", NOT_RUN, ids=str)
    def test_names_what_exists(self, block: Block) -> None:
        subprocess.run(["bash", "-n", "-c", block.text], check=True)  # noqa: S607
        targets = re.findall(r"^make (\w[\w-]*)", block.text, re.MULTILINE)
        programs = re.findall(r"^(\S+) -m bench", block.text, re.MULTILINE)
        assert targets or programs
        for target in targets:
            subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)  # noqa: S607
        assert set(programs) <= {".venv/bin/python"}

    def test_is_all_that_is_left_out(self) -> None:
        run_by_a_test = {ROOT / "docs/api.md", ROOT / "docs/plans.md"}
        assert {block.document for block in blocks() if block.is_run} == run_by_a_test
        languages = {"sh", "ini", "json", "python", "mermaid", ""}
        assert {
            block.language for block in blocks()
        } <= languages  # `bash`, `console` and the like would be passed over


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_a_command_is_written_as_it_can_be_run(document: Path) -> None:
    """`manage.py audit` isn't on anybody's PATH."""
    assert re.findall(r"(?<![\w./])(?<!python )manage\.py \w+", document.read_text()) == []


class TestManage:
    def test_runs_in_the_clones_own_environment_whatever_python_is(self, tmp_path: Path) -> None:
        """On Debian there is no `python`, and `python3` has none of our packages."""
        (tmp_path / "python3").symlink_to("/usr/bin/python3")
        ended = subprocess.run(
            [ROOT / "manage.py", "version"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith("5.2.")
