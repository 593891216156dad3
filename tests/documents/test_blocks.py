"""Run every shell block of the documents as printed, in order, against the demo of README's own block.

Blocks that cannot run here run in part, and their programs must know each command and option that they name.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, get_commands, load_command_class

import bench.__main__
from tests.documents.blocks import DOCUMENTS, ROOT, Block, blocks
from tests.documents.clone import Clone, demo, with_services
from tests.processes import fresh_database, shared_environment

PRINTED = "127.0.0.1:8000"  # the demo's address in the documents
NOT_RUN = [block for block in blocks() if block.language == "sh" and not block.is_run and not block.is_substituted]
# Fail at an unset variable, an error answer, a failed part of a pipe, and a missing id.
PRELUDE = """
set -euo pipefail
curl() { command curl --fail-with-body "$@"; }
jq() { command jq "$@" | tee /dev/stderr; } 2>>"$HEARD"
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("documents") / "clone")


@pytest.fixture(scope="module")
def site(clone: Clone) -> Iterator[Clone]:
    """Provide a clone with the demo, which README's block starts "on your own services"."""
    [block] = [block for block in blocks(ROOT / "README.md") if block.is_substituted]
    with fresh_database() as database:
        script = with_services(block.text, shared_environment() | {"DATABASE_URL": database})
        with demo(clone, script):
            yield clone


def script_of(found: list[Block], host: str) -> str:
    """Return the blocks as one script, so that each sees what those before it set; errors name the block."""
    parts = [f"WHERE='{block}'\n{block.text}" for block in found]
    return PRELUDE + "trap 'echo \"$WHERE fails\" >&2' ERR\n" + "\n".join(parts).replace(PRINTED, host)


@pytest.fixture(scope="module")
def printed(site: Clone) -> str:
    """Return the output of the blocks of docs/api.md in order, and the token that they got."""
    found = [block for block in blocks(ROOT / "docs/api.md") if block.is_run]
    script = script_of(found, site.host) + '\necho "TOKEN=$TOKEN"\n'
    return site.run(script, HEARD="heard")


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

    def test_the_program_that_watches_hears_of_what_was_bought(self, printed: str, site: Clone) -> None:
        (watching,) = [block for block in blocks(ROOT / "docs/api.md") if block.language == "python"]
        token = re.search(r"^TOKEN=(\S+)$", printed, re.MULTILINE)
        assert token
        with subprocess.Popen(
            [sys.executable, "-u", "-c", watching.text.replace(PRINTED, site.host)],
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
    def test_a_drawing_is_imported_from_the_shell(self, site: Clone) -> None:
        found = list(blocks(ROOT / "docs/plans.md"))
        (drawing,) = [block for block in found if block.text.startswith("# Sala 3")]
        (site.folder / "sala-nova.txt").write_text(drawing.text)
        site.run(script_of([block for block in found if block.is_run], site.host), HEARD="heard")
        assert (site.folder / "sala-nova.svg").read_text().startswith("<svg")


class TestWhatIsNotRunAsPrinted:
    def test_demo_on_other_services_is_started_alike_in_all_documents(self) -> None:
        """Check that the block of `site` stands for each of them."""
        services = dict.fromkeys(("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL"), "")
        found = [block for block in blocks() if block.is_substituted]
        assert len(found) == 2
        assert {with_services(block.text, services) for block in found} == {
            "export DATABASE_URL=''\nexport REDIS_URL=''\nexport RABBITMQ_URL=''\nmake run"
        }

    def test_few_blocks_are_not_run_and_each_says_why(self) -> None:
        assert len(NOT_RUN) <= 3
        assert all(re.search(r"^sh no-run: \w.{15,}", block.info) for block in NOT_RUN), [
            str(block) for block in NOT_RUN
        ]

    @pytest.mark.parametrize("block", NOT_RUN, ids=str)
    def test_blocks_that_are_not_run_name_what_exists(self, block: Block) -> None:
        for words in block.commands:
            require_known(words)

    @pytest.mark.parametrize("target", ["test", "prove"])
    def test_tests_are_reached(self, clone: Clone, target: str) -> None:
        assert re.match(r"pytest \d", clone.run(f"make {target} 2>&1", ARGS="--version"))

    def test_format_leaves_well_formatted_files_alone(self, clone: Clone) -> None:
        assert "left unchanged" in clone.run("make format")

    def test_only_blocks_with_a_reason_are_left_out(self) -> None:
        run_by_a_test = {ROOT / "docs/api.md", ROOT / "docs/plans.md"}
        assert {block.document for block in blocks() if block.is_run} == run_by_a_test
        languages = {"sh", "ini", "json", "python", "mermaid", ""}
        assert {block.language for block in blocks()} <= languages  # `bash`, `console` and the like would be skipped

    @pytest.mark.parametrize(
        "command",
        [
            "make nothing",
            ".venv/bin/python -m bench nothing",
            ".venv/bin/python manage.py up --nothing",
            ".venv/bin/ruff check --nothing",
            "tools/nothing",
        ],
    )
    def test_what_does_not_exist_is_found(self, command: str) -> None:
        with pytest.raises((AssertionError, SystemExit, subprocess.CalledProcessError, CommandError)):
            require_known(command.split())


def require_known(words: list[str]) -> None:
    """Check that the program of a command exists and knows its options. Of a target of make, check each command."""
    match words:
        case ["make", target]:
            steps = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607
            for step in steps.stdout.splitlines():
                require_known(step.removeprefix("exec ").split())
        case [".venv/bin/python", "-m", "bench", *more]:
            bench.__main__.parser().parse_args(more)
        case [".venv/bin/python", "manage.py", name, *more]:
            parser_of(name).parse_args(more)
        case [program, *more] if "=" not in program:
            assert shutil.which(program) or os.access(ROOT / program, os.X_OK), program
            options = [word for word in more if word.startswith("--")]
            if options:
                subject = list(itertools.takewhile(lambda word: not word.startswith("-"), more))
                asked = [ROOT / program if "/" in program else program, *subject, "--help"]
                known = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
                assert all(re.search(rf"{option}\b", known) for option in options), (words, known)


def parser_of(name: str) -> ArgumentParser:
    """Return the parser of a `manage.py` command."""
    return load_command_class(get_commands()[name], name).create_parser("manage.py", name)


def options_of(parser: ArgumentParser) -> set[str]:
    """Return the options of a command, and of the commands below it."""
    actions = parser._actions  # noqa: SLF001 there is no other way to ask
    below = [one for action in actions if isinstance(action, _SubParsersAction) for one in action.choices.values()]
    return {option for action in actions for option in action.option_strings}.union(*map(options_of, below))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_a_command_is_written_as_it_can_be_run(document: Path) -> None:
    """Check that commands are written with their path, because `manage.py audit` is not on the PATH."""
    text = document.read_text()
    assert re.findall(r"(?<![\w./])(?<!python )manage\.py \w+", text) == []
    for name, more in re.findall(r"manage\.py ([a-z_]+)([^`\n]*)", text):
        assert set(re.findall(r"(?<!\S)\[?(--[\w-]+)", more)) <= options_of(parser_of(name)), (name, more)
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(), target


class TestManage:
    def test_manage_runs_in_the_clones_own_environment_whatever_python_is(self, tmp_path: Path) -> None:
        """Run without an own Python: Debian has no `python`, and its `python3` has none of our packages."""
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
