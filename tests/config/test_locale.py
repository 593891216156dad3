"""Check that the pages' Portuguese is complete, and that the compiled catalogue matches the source."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

FOLDER = Path(settings.LOCALE_PATHS[0]) / "pt_BR" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w+\}")


def entries() -> Iterator[tuple[str, list[str]]]:
    """Yield each message of the catalogue: its key, and its translations (several for plurals)."""
    for block in (FOLDER / "django.po").read_text().split("\n\n")[1:]:
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if found := re.match(r'(msg\w+(?:\[\d\])?) (".*")$', line):
                name = found[1]
                fields[name] = ast.literal_eval(found[2])
            elif line.startswith('"'):
                fields[name] += ast.literal_eval(line)
        if "msgid" in fields:
            context = f"{fields['msgctxt']}\x04" if "msgctxt" in fields else ""
            yield context + fields["msgid"], [text for key, text in fields.items() if key.startswith("msgstr")]


def test_every_message_is_translated() -> None:
    assert [message for message, texts in entries() if not all(texts)] == []


def test_nothing_is_a_guess() -> None:
    assert "fuzzy" not in (FOLDER / "django.po").read_text()


def test_the_compiled_catalogue_is_the_written_one() -> None:
    with (FOLDER / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    stale = [message for message, texts in entries() if len(texts) == 1 and look_up(compiled, message) != texts[0]]
    assert stale == [], "compile it: msgfmt -o django.mo django.po"


def look_up(compiled: gettext.GNUTranslations, message: str) -> str:
    context, _separator, text = message.rpartition("\x04")
    return compiled.pgettext(context, text) if context else compiled.gettext(text)


def test_translations_name_the_facts_that_the_message_names() -> None:
    wrong = [
        message
        for message, texts in entries()
        if len(texts) == 1 and sorted(PLACEHOLDER.findall(message)) != sorted(PLACEHOLDER.findall(texts[0]))
    ]
    assert wrong == []
