"""Check that documents keep their size, and point at what exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
RECORDS = sorted(ROOT.glob("docs/adr/*.md"))
SCREEN_AND_A_HALF = 90  # lines


def relative_links(text: str) -> list[str]:
    """Return the targets of links and images, without code blocks, web addresses and anchors."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    missing = [link for link in relative_links(document.read_text()) if not (document.parent / link).exists()]
    assert missing == []


def modules_named(text: str) -> list[tuple[str, str]]:
    """Return the paths of our Python modules in `…`, each with the name after its colon, or nothing."""
    return re.findall(
        r"`((?:config|ticketing|reservations|sessions_app|realtime|base|tests)/[\w/]+\.py)(?::(\w+))?", text
    )


def defines(module: Path, name: str) -> bool:
    written = {
        each
        for node in ast.parse(module.read_text()).body
        for each in [getattr(node, "name", ""), *(ast.unparse(target) for target in getattr(node, "targets", []))]
    }
    return not name or name in written


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_modules_and_functions_that_a_document_names_exist(document: Path) -> None:
    named = modules_named(document.read_text())
    missing = [(path, name) for path, name in named if not ((ROOT / path).exists() and defines(ROOT / path, name))]
    assert missing == []


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_decision_fits_a_page(record: Path) -> None:
    assert len(record.read_text().split()) <= 300


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_decision_has_context_decision_and_consequences(record: Path) -> None:
    headings = re.findall(r"^## (.+)$", record.read_text(), flags=re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences"]


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_decision_states_its_status_and_date_below_its_title(record: Path) -> None:
    title, blank, status = record.read_text().splitlines()[:3]
    number = int(record.name[:4])
    assert title.startswith(f"# {number}. ")
    assert blank == ""
    assert re.fullmatch(r"Status: accepted, \d{4}-\d{2}-\d{2}", status)


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


def test_the_readme_fits_a_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= SCREEN_AND_A_HALF
