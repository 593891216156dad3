"""Check that every variable that is read is listed for operators."""

import ast
import itertools
import re
from pathlib import Path

import pytest

from ticketing.payments.gateways import registry

ROOT = Path(__file__).parents[2]
READERS = re.compile(r"env(_\w+)?|os\.environ\.get|os\.getenv")


def variables_read(source: str) -> set[str]:
    """Return the names that are given to the readers of `config/settings.py`, or read from the environment directly."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    return {
        name.value
        for call in calls
        if READERS.fullmatch(ast.unparse(call.func))
        and isinstance(name := call.args[0], ast.Constant)
        and isinstance(name.value, str)
    }


def variables_listed(text: str) -> set[str]:
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, flags=re.MULTILINE))


def variables_in_compose(text: str) -> set[str]:
    return set(re.findall(r"\$\{([A-Z][A-Z0-9_]+)", text))


READ = {name for file in (ROOT / "config").rglob("*.py") for name in variables_read(file.read_text())}
READ |= {setting.name for setting in registry.settings()}
EXAMPLE = variables_listed((ROOT / ".env.example").read_text())
COMPOSE = variables_in_compose((ROOT / "docker-compose.yml").read_text())


def test_the_readers_are_recognised() -> None:
    assert {"DATABASE_URL", "PORT", "ALLOWED_HOSTS", "LIMIT_READ_BUYER"} <= READ


@pytest.mark.parametrize("name", sorted(READ))
def test_a_variable_that_is_read_is_in_the_example(name: str) -> None:
    assert name in EXAMPLE


@pytest.mark.parametrize("name", sorted(READ))
def test_a_variable_that_is_read_is_explained_to_operators(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "docs/operator.md").read_text()


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_a_variable_of_the_compose_file_is_in_the_example(name: str) -> None:
    assert name in EXAMPLE


def test_the_example_names_only_variables_that_are_read() -> None:
    assert READ | COMPOSE >= EXAMPLE


def test_copying_the_example_changes_nothing() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


@pytest.mark.parametrize("name", sorted(READ))
def test_compose_passes_a_variable_on_or_the_example_says_that_it_does_not(name: str) -> None:
    block = (ROOT / ".env.example").read_text().partition(f"#{name}=")[0].splitlines()
    above = itertools.takewhile(lambda line: line.startswith("# "), reversed(block))
    assert (name in COMPOSE) != any("[not compose" in line for line in above)
