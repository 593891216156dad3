"""Read the fenced blocks of the documents."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Hold a block. `info` is the text after the fence: a language, and ` no-run:` or ` substituted:` with a reason."""

    document: Path
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def is_run(self) -> bool:
        return self.info == "sh"

    @property
    def is_substituted(self) -> bool:
        return self.info.startswith("sh substituted: ")

    @property
    def commands(self) -> list[list[str]]:
        """Return the commands of the block, word by word, without comments."""
        return [words for line in self.text.splitlines() if (words := shlex.split(line, comments=True))]

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(*documents: Path) -> Iterator[Block]:
    for document in documents or DOCUMENTS:
        text = document.read_text()
        for found in BLOCK.finditer(text):
            yield Block(document, text.count("\n", 0, found.start()) + 1, found["info"].strip(), found["text"])
