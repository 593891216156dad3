"""Hook into MkDocs: make the site of the README, the pages in docs/ and the decisions in docs/adr/, unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig, **_named: Any) -> Files:
    """Add the README as the first page, and a list of the decisions."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text()))
    files.append(File.generated(config, "decisions.md", content=decisions()))
    for file in files:
        if file.src_uri.startswith("adr/"):
            file.inclusion = file.inclusion.NOT_IN_NAV
    return files


def decisions() -> str:
    """Return a page that lists the decisions by their titles."""
    listed = []
    for file in sorted((ROOT / "docs" / "adr").glob("*.md")):
        title = file.read_text().splitlines()[0].removeprefix("# ")
        listed.append(f"- [{title}](adr/{file.name})")
    return "# Decisions\n\n" + "\n".join(listed) + "\n"


def on_page_markdown(markdown: str, *, page: Any, **_named: Any) -> str:
    """Name the file if a link leads out of docs/: the site does not know where its readers have the repository."""
    here = Path() if page.file.src_uri == "index.md" else Path("docs") / Path(page.file.src_uri).parent

    def pointed(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = _plain(here / target)
        if path.startswith("docs/"):
            inside = path.removeprefix("docs/")
            depth = 0 if page.file.src_uri in {"index.md", "decisions.md"} else page.file.src_uri.count("/")
            return f"[{text}]({'../' * depth}{inside}{anchor})"
        if path == "README.md":
            return f"[{text}]({'../' * page.file.src_uri.count('/')}index.md{anchor})"
        return text if path in text else f"{text} (`{path}`)"

    return LINK.sub(pointed, markdown)


def _plain(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
